//! By which name the next life of this manager knows the exec sessions of this one.
//!
//! A name that two managers share would have each end the other's live sessions, so none is guessed:
//! it is a random word in a locked file, or it was typed.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
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
    /// Locked, where the name is kept in a file.
    _held: Option<File>,
}

impl GatewayName {
    pub fn name(&self) -> &str {
        &self.name
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
            let (word, held) = word(folder, &OsRandom)?;
            let machine = machine(Path::new("/etc/machine-id"));
            let advertise = args.advertise.as_deref().unwrap_or_default();
            tracing::info!(
                "exec sessions of an earlier life are known by {}",
                folder.display()
            );
            Ok(Some(GatewayName {
                name: name(&word, &machine, advertise, &args.host),
                _held: Some(held),
            }))
        }
        (typed, _) => {
            tracing::info!(
                "exec sessions of an earlier life are known by the name {typed:?}, which must be this \
                 manager's alone"
            );
            Ok(Some(GatewayName {
                name: typed.to_owned(),
                _held: None,
            }))
        }
    }
}

/// The random word alone would go along with a copy of the folder. Each of the others only ever makes
/// another name of it.
fn name(word: &str, machine: &str, advertise: &str, hosts: &[String]) -> String {
    format!("{word}\n{machine}\n{advertise}\n{}", hosts.join("\n"))
}

/// What machine-id(5) says; empty where there is none.
fn machine(path: &Path) -> String {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_string(&mut text));
    read.map_or_else(|_| String::new(), |_| text.trim().to_owned())
}

/// The word of a folder, made with its first use, and the lock on it.
fn word(folder: &Path, random: &dyn Random) -> Result<(String, File)> {
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
    let mut text = String::new();
    let read = (&mut file).take(LONGEST).read_to_string(&mut text);
    match read {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::InvalidData => text = "?\n".to_owned(),
        Err(error) => return Err(failed("read", error)),
    }
    match text.strip_suffix('\n') {
        Some(word) if is_word(word) => return Ok((word.to_owned(), file)),
        Some(_) => {
            let error = Error::invalid(
                "the file of this manager's exec gateway holds something else: delete it, and what an \
                 earlier life left is not looked for",
            );
            return Err(error.with_context("file", path.display()));
        }
        // Empty, or torn while it was written for the first time: no session was ever of it.
        None => {}
    }
    let word = random.hex(WORD);
    let writing = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(format!("{word}\n").as_bytes()))
        .and_then(|()| file.sync_all())
        .and_then(|()| File::open(folder)?.sync_all());
    writing.map_err(|error| failed("write", error))?;
    Ok((word, file))
}

fn is_word(text: &str) -> bool {
    let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    text.len() == WORD * 2 && text.bytes().all(hex)
}

const FILE: &str = "exec-gateway";
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
        let (first, held) = word(&folder, &OsRandom).expect("it is made");
        assert!(is_word(&first));
        let error = word(&folder, &OsRandom).expect_err("it is held");
        assert_eq!(error.kind(), longshore::ErrorKind::AlreadyExists);
        assert!(error.chain().contains(&folder.display().to_string()));
        drop(held);
        assert_eq!(word(&folder, &OsRandom).expect("again").0, first);
        let elsewhere = tempfile::tempdir().expect("a folder");
        assert_ne!(word(elsewhere.path(), &OsRandom).expect("made").0, first);
    }

    #[test]
    fn a_torn_file_is_written_anew_and_a_foreign_one_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        for torn in ["", "0123456789abcdef"] {
            fs::write(&path, torn).expect("written");
            let (word, held) = word(folder.path(), &OsRandom).expect("anew");
            assert_eq!(fs::read_to_string(&path).expect("it"), format!("{word}\n"));
            drop(held);
        }
        for foreign in [&b"word\n"[..], b"\xff\xff\n"] {
            fs::write(&path, foreign).expect("written");
            let error = word(folder.path(), &OsRandom).expect_err("not ours");
            assert_eq!(error.kind(), longshore::ErrorKind::InvalidInput);
            assert_eq!(fs::read(&path).expect("it"), foreign);
        }
    }

    #[test]
    fn a_copy_of_the_folder_elsewhere_is_another_name() {
        let hosts = |text: &str| vec![text.to_owned()];
        let own = name("word", "machine", "a:1", &hosts("tcp://a:1"));
        assert_eq!(own, name("word", "machine", "a:1", &hosts("tcp://a:1")));
        for other in [
            name("other", "machine", "a:1", &hosts("tcp://a:1")),
            name("word", "clone", "a:1", &hosts("tcp://a:1")),
            name("word", "machine", "b:1", &hosts("tcp://a:1")),
            name("word", "machine", "a:1", &hosts("tcp://b:1")),
        ] {
            assert_ne!(own, other);
        }
    }

    #[test]
    fn a_machine_without_an_id_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("machine-id");
        assert_eq!(machine(&path), "");
        fs::write(&path, "0123abcd\n").expect("written");
        assert_eq!(machine(&path), "0123abcd");
    }
}
