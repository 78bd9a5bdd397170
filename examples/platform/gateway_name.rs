//! By which name the next life of this manager knows the exec sessions of this one.
//!
//! A name that two managers share would have each end the other's live sessions, so none is guessed:
//! it is a random word in a locked file, or it was typed. Locks are lost: on file systems that have none,
//! and by a machine that slept while another took over. So each life also writes into the file that it
//! is the one, and reads that again before it ends anything.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use longshore::{
    Error, Result,
    core::{OsRandom, Random},
};

use crate::cli::Manage;

/// A name, held for as long as this is.
#[derive(Debug)]
pub struct GatewayName {
    name: String,
    /// Where the name is kept in a file.
    held: Option<Arc<Held>>,
}

/// The file of a name, while this life has it.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    word: String,
    /// What this life wrote behind the word.
    life: String,
    /// Locked.
    file: File,
    /// That another has it now was logged.
    told: AtomicBool,
}

impl GatewayName {
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the name is still this life's, as far as its file says; if not, nothing may be taken for
    /// left behind. The log says so, once.
    ///
    /// # Errors
    /// Another life has the name, or its file can't be read.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn check(&self) -> Result<()> {
        let Some(held) = self.held.clone() else {
            return Ok(());
        };
        // The file may lie on a server that does not answer.
        let checked = tokio::task::spawn_blocking(move || held.check()).await;
        checked.map_err(|error| Error::internal("the check stopped").with_source(error))?
    }
}

impl Held {
    fn check(&self) -> Result<()> {
        // By its name: what a descriptor shows may be a file that was replaced since.
        let read = File::open(&self.path).and_then(|file| read(&file));
        let text = read.map_err(|error| {
            Error::io("cannot read the file of this manager's exec gateway", error)
                .with_context("file", self.path.display())
        });
        let text = text.inspect_err(|error| self.tell(&error.chain()))?;
        if text == format!("{}\n{}\n", self.word, self.life) {
            return Ok(());
        }
        let error = Error::new(
            longshore::ErrorKind::AlreadyExists,
            "another manager has taken this one's --state folder over: each needs one of its own",
        );
        let error = error.with_context("file", self.path.display());
        self.tell(&error.chain());
        Err(error)
    }

    fn tell(&self, why: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!("no exec sessions are taken for left behind: {why}");
        }
    }
}

/// The name, and in the log what it is, or why there is none.
///
/// # Errors
/// The folder can't be used, or another manager uses it.
pub fn find(args: &Manage) -> Result<Option<GatewayName>> {
    let without = "what exec sessions leave behind when this manager is killed is not looked for";
    match (args.exec_gateway.as_str(), &args.state) {
        ("none", _) => {
            tracing::info!("{without}, as --exec-gateway none says");
            Ok(None)
        }
        ("auto", None) => {
            tracing::info!("{without}: --state DIR has it known again");
            Ok(None)
        }
        ("auto", Some(folder)) => {
            let held = hold(folder, &OsRandom)?;
            let known = held.file.metadata();
            let inode = known.map_or_else(|_| String::new(), |known| known.ino().to_string());
            let machine = [MACHINE, HOST].map(|path| line(Path::new(path)));
            let advertise = args.advertise.as_deref().unwrap_or_default();
            tracing::info!(
                "exec sessions of an earlier life are known by {}",
                folder.display()
            );
            Ok(Some(GatewayName {
                name: name(&held.word, &machine, &inode, advertise, &args.host),
                held: Some(Arc::new(held)),
            }))
        }
        (typed, _) => {
            tracing::info!(
                "exec sessions of an earlier life are known by the name {typed:?}, which must be this \
                 manager's alone"
            );
            Ok(Some(GatewayName {
                name: typed.to_owned(),
                held: None,
            }))
        }
    }
}

/// The random word alone would go along with a copy of the folder. Each of the others only ever makes
/// another name of it. Containers mostly have no machine id, and a host name of their own; the copy of a
/// file has another inode.
fn name(
    word: &str,
    machine: &[String; 2],
    inode: &str,
    advertise: &str,
    hosts: &[String],
) -> String {
    let [id, host] = machine;
    let hosts = hosts.join("\n");
    format!("{word}\n{id}\n{host}\n{inode}\n{advertise}\n{hosts}")
}

/// What a file of one line says; empty where there is none.
fn line(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LONGEST).read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text.trim().to_owned())
}

/// What is in the file of a name; of another file some text that is not.
fn read(file: &File) -> std::io::Result<String> {
    let mut text = String::new();
    match file.take(LONGEST).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == ErrorKind::InvalidData => Ok("?\n".to_owned()),
        Err(error) => Err(error),
    }
}

/// Takes the word of a folder, made with its first use, for this life.
fn hold(folder: &Path, random: &dyn Random) -> Result<Held> {
    let path = folder.join(FILE);
    let failed = |what: &str, error| {
        let what = format!("cannot {what} the file of this manager's exec gateway");
        Error::io(what, error).with_context("file", path.display())
    };
    let mut folders = DirBuilder::new();
    let made = folders.recursive(true).mode(0o700).create(folder);
    made.map_err(|error| failed("make the folder of", error))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.mode(0o600).open(&path);
    let mut file = file.map_err(|error| failed("open", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let error = Error::new(
                longshore::ErrorKind::AlreadyExists,
                "another manager uses this --state folder: each needs one of its own",
            );
            return Err(error.with_context("folder", folder.display()));
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
    }
    let text = read(&file).map_err(|error| failed("read", error))?;
    let word = match text.split_once('\n') {
        // Behind it, whole or torn, is the life before.
        Some((word, behind)) if is_word(word) && is_life(behind) => word.to_owned(),
        Some(_) => {
            let error = Error::invalid(
                "the file of this manager's exec gateway holds something else: delete it, and what an \
                 earlier life left is not looked for",
            );
            return Err(error.with_context("file", path.display()));
        }
        // Empty, or torn while it was written for the first time: no session was ever of it.
        None => random.hex(WORD),
    };
    let life = random.hex(WORD);
    let lines = format!("{word}\n{life}\n");
    let writing = file
        .rewind()
        // The word is there already, mostly, and never is not.
        .and_then(|()| file.write_all(lines.as_bytes()))
        .and_then(|()| file.set_len(lines.len() as u64))
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder)?.sync_all());
    writing.map_err(|error| failed("write", error))?;
    Ok(Held {
        path,
        word,
        life,
        file,
        told: AtomicBool::new(false),
    })
}

fn is_word(text: &str) -> bool {
    text.len() == WORD * 2 && text.bytes().all(is_hex)
}

fn is_life(text: &str) -> bool {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.len() <= WORD * 2 && text.bytes().all(is_hex)
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

const FILE: &str = "exec-gateway";
/// machine-id(5).
const MACHINE: &str = "/etc/machine-id";
const HOST: &str = "/proc/sys/kernel/hostname";
/// Bytes of randomness.
const WORD: usize = 16;
const LONGEST: u64 = 256;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_has_one_word_for_ever_and_one_holder_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("deep/er");
        let first = hold(&folder, &OsRandom).expect("it is made");
        assert!(is_word(&first.word));
        let error = hold(&folder, &OsRandom).expect_err("it is held");
        assert_eq!(error.kind(), longshore::ErrorKind::AlreadyExists);
        assert!(error.chain().contains(&folder.display().to_string()));
        let word = first.word.clone();
        drop(first);
        assert_eq!(hold(&folder, &OsRandom).expect("again").word, word);
        let elsewhere = tempfile::tempdir().expect("a folder");
        assert_ne!(hold(elsewhere.path(), &OsRandom).expect("made").word, word);
    }

    #[test]
    fn a_torn_file_is_written_anew_and_a_foreign_one_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        for torn in ["", "0123456789abcdef"] {
            fs::write(&path, torn).expect("written");
            let held = hold(folder.path(), &OsRandom).expect("anew");
            assert_ne!(held.word, torn);
            held.check().expect("it is there");
        }
        let word = "0123456789abcdef".repeat(2);
        for life in ["", "0123", "fedcba9876543210fedcba9876543210\n"] {
            fs::write(&path, format!("{word}\n{life}")).expect("written");
            let held = hold(folder.path(), &OsRandom).expect("ours");
            assert_eq!(held.word, word);
            held.check().expect("it is there");
        }
        let longer = format!("{word}\n{word}{word}\n");
        for foreign in [&b"word\n"[..], b"\xff\xff\n", longer.as_bytes()] {
            fs::write(&path, foreign).expect("written");
            let error = hold(folder.path(), &OsRandom).expect_err("not ours");
            assert_eq!(error.kind(), longshore::ErrorKind::InvalidInput);
            assert_eq!(fs::read(&path).expect("it"), foreign);
        }
    }

    /// A lock that was lost: each of the others writes that it is the one.
    #[tokio::test]
    async fn a_life_whose_name_another_took_knows_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let named = |held| GatewayName {
            name: "name".to_owned(),
            held: Some(Arc::new(held)),
        };
        let old = named(hold(folder.path(), &OsRandom).expect("it is made"));
        old.check().await.expect("it is its own");
        // As where locks are none: by a file that is not the locked one.
        let path = folder.path().join(FILE);
        let text = fs::read(&path).expect("it");
        fs::remove_file(&path).expect("removed");
        assert!(old.check().await.is_err(), "nobody knows");
        fs::write(&path, text).expect("written");
        old.check().await.expect("it is its own");
        let new = named(hold(folder.path(), &OsRandom).expect("no lock is in the way"));
        for _ in 0..2 {
            let error = old.check().await.expect_err("another has it");
            assert_eq!(error.kind(), longshore::ErrorKind::AlreadyExists);
        }
        new.check().await.expect("it is its own");
        let typed = GatewayName {
            name: "typed".to_owned(),
            held: None,
        };
        typed.check().await.expect("it is whoever typed it");
    }

    #[test]
    fn a_copy_of_the_folder_elsewhere_is_another_name() {
        let hosts = |text: &str| vec![text.to_owned()];
        let place = |id: &str, host: &str| [id.to_owned(), host.to_owned()];
        let here = place("id", "host");
        let own = name("word", &here, "1", "a:1", &hosts("tcp://a:1"));
        assert_eq!(own, name("word", &here, "1", "a:1", &hosts("tcp://a:1")));
        for other in [
            name("other", &here, "1", "a:1", &hosts("tcp://a:1")),
            name(
                "word",
                &place("clone", "host"),
                "1",
                "a:1",
                &hosts("tcp://a:1"),
            ),
            name(
                "word",
                &place("id", "clone"),
                "1",
                "a:1",
                &hosts("tcp://a:1"),
            ),
            name("word", &here, "2", "a:1", &hosts("tcp://a:1")),
            name("word", &here, "1", "b:1", &hosts("tcp://a:1")),
            name("word", &here, "1", "a:1", &hosts("tcp://b:1")),
        ] {
            assert_ne!(own, other);
        }
    }

    #[test]
    fn a_machine_without_an_id_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("machine-id");
        assert_eq!(line(&path), "");
        fs::write(&path, "0123abcd\n").expect("written");
        assert_eq!(line(&path), "0123abcd");
    }
}
