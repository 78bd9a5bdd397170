//! An archive as files, when nobody vouches for the archive.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read},
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::{Component, Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, fchmod, fstat, linkat, mkdirat, openat, symlinkat,
    unlinkat,
};
use tar::{Archive, Entry, EntryType};

use super::{Landing, Report};

/// Unpacks an archive with one file or folder in it below a folder, under a name of ours.
///
/// Nothing is written, linked or looked at outside: names with `..`, of another root or absolute are
/// errors; every folder on the way is opened without following symlinks; the archive's own symlinks
/// are made last, and only those that stay within the copy. Devices and pipes are left out. Owner,
/// set-user-id and the like are not taken over.
///
/// # Errors
/// Names the entry. What was written before stays.
pub fn unpack(archive: impl Read, landing: &Landing) -> io::Result<Report> {
    let base = openat(CWD, &landing.folder, FOLDER, Mode::empty())?;
    let mut unpacking = Unpacking {
        base,
        name: &landing.name,
        root: None,
        links: Vec::new(),
        report: Report::default(),
    };
    let mut archive = Archive::new(archive);
    let mut long = Long::default();
    // Raw, because long names would be read to their end, however long.
    for entry in archive.entries()?.raw(true) {
        let mut entry = entry?;
        if !long.take(&mut entry)? {
            let long = std::mem::take(&mut long);
            let name = long.name.unwrap_or_else(|| entry.path_bytes().into_owned());
            let link = long
                .link
                .or_else(|| entry.link_name_bytes().map(std::borrow::Cow::into_owned));
            let shown = String::from_utf8_lossy(&name).into_owned();
            let added = unpacking.add(&mut entry, &name, link.as_deref().unwrap_or_default());
            added.map_err(|error| {
                let shown = longshore::core::printable(&shown, 200).into_owned();
                io::Error::new(error.kind(), format!("{shown}: {error}"))
            })?;
        }
    }
    if unpacking.root.is_none() {
        return Err(bad("the archive is empty"));
    }
    unpacking.make_links()?;
    Ok(unpacking.report)
}

struct Unpacking<'a> {
    base: OwnedFd,
    name: &'a OsStr,
    /// The first part of every name in the archive.
    root: Option<OsString>,
    /// Symlinks, for the end: until then no name of the archive leads through one of them.
    links: Vec<(Vec<OsString>, PathBuf)>,
    report: Report,
}

impl Unpacking<'_> {
    fn add(&mut self, entry: &mut Entry<impl Read>, name: &[u8], link: &[u8]) -> io::Result<()> {
        let path = self.place(name)?;
        match entry.header().entry_type() {
            EntryType::Directory => {
                self.folder(&path)?;
            }
            EntryType::Regular | EntryType::Continuous => self.file(entry, &path)?,
            EntryType::Link => {
                let target = self.place(link)?;
                let (from, to) = (self.parent(&target)?, self.parent(&path)?);
                let (old, new) = (last(&target), last(&path));
                if path != target {
                    remove_file(&to, new)?;
                    linkat(&from, old, &to, new, AtFlags::empty())?;
                    self.report.files += 1;
                }
            }
            EntryType::Symlink => {
                self.parent(&path)?;
                self.links
                    .push((path, PathBuf::from(OsStr::from_bytes(link))));
                if self.links.len() > MOST_LINKS {
                    return Err(bad("more symlinks than are taken"));
                }
            }
            kind => self.skip(&path, &format!("nothing of this kind is copied ({kind:?})")),
        }
        Ok(())
    }

    /// The parts of a name, with the root under our name.
    fn place(&mut self, name: &[u8]) -> io::Result<Vec<OsString>> {
        let mut parts = Vec::new();
        for part in Path::new(OsStr::from_bytes(name)).components() {
            match part {
                Component::Normal(part) => parts.push(part.to_owned()),
                Component::CurDir => {}
                _ => return Err(bad("the name leads outside")),
            }
        }
        let first = parts
            .first_mut()
            .ok_or_else(|| bad("an entry without a name"))?;
        if self.root.get_or_insert_with(|| first.clone()) != first {
            return Err(bad(
                "the name is of another root than the rest of the archive",
            ));
        }
        self.name.clone_into(first);
        Ok(parts)
    }

    /// The folder at a place, made where it is missing.
    fn folder(&self, path: &[OsString]) -> io::Result<OwnedFd> {
        let mut at = self.base.try_clone()?;
        for part in path {
            match mkdirat(&at, part, Mode::from_raw_mode(0o777)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            at = openat(&at, part, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(|error| {
                let part = part.to_string_lossy();
                io::Error::new(
                    io::Error::from(error).kind(),
                    format!("{part} is in the way: a symlink or no folder"),
                )
            })?;
        }
        Ok(at)
    }

    fn parent(&self, path: &[OsString]) -> io::Result<OwnedFd> {
        self.folder(&path[..path.len() - 1])
    }

    fn file(&mut self, entry: &mut Entry<impl Read>, path: &[OsString]) -> io::Result<()> {
        let parent = self.parent(path)?;
        // Neither through a symlink nor into a pipe that somebody left there.
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = openat(&parent, last(path), flags, Mode::from_raw_mode(0o600))?;
        if FileType::from_raw_mode(fstat(&opened)?.st_mode) != FileType::RegularFile {
            return Err(bad("something that is no file is in the way"));
        }
        let mut file = File::from(opened);
        file.set_len(0)?;
        let copied = io::copy(entry, &mut file)?;
        let header = entry.header();
        if copied != header.size()? {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the archive broke off",
            ));
        }
        let mode = header.mode().unwrap_or(0o600) & 0o777 & !umask();
        fchmod(file.as_fd(), Mode::from_raw_mode(mode | 0o200))?;
        if let Ok(changed) = header.mtime() {
            // A time that can't be is no reason to lose the file.
            let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(changed));
            let _ = changed.map(|changed| file.set_modified(changed));
        }
        self.report.files += 1;
        self.report.bytes += copied;
        Ok(())
    }

    fn make_links(&mut self) -> io::Result<()> {
        for (path, target) in std::mem::take(&mut self.links) {
            if !stays_within(&path, &target) {
                self.skip(
                    &path,
                    &format!("a symlink that leads outside, to {}", target.display()),
                );
                continue;
            }
            // Links that were made before are in the way now, too, and are not followed.
            let parent = self.parent(&path)?;
            remove_file(&parent, last(&path))?;
            symlinkat(&target, &parent, last(&path))?;
            self.report.files += 1;
        }
        Ok(())
    }

    fn skip(&mut self, path: &[OsString], why: &str) {
        self.report.is_nothing |= path.len() == 1;
        let path: PathBuf = path.iter().collect();
        let text = format!("{}: {why}", path.display());
        if self.report.skipped.len() < MOST_SKIPPED {
            self.report
                .skipped
                .push(longshore::core::printable(&text, 400).into_owned());
        }
    }
}

/// Whether a symlink at this place stays below the copy's root, whatever other links there are: it
/// goes up only at its beginning.
fn stays_within(path: &[OsString], target: &Path) -> bool {
    let mut depth = path.len() - 1;
    let mut downwards = false;
    for part in target.components() {
        match part {
            // The root itself is one deep.
            Component::ParentDir if depth > 1 && !downwards => depth -= 1,
            Component::Normal(_) => downwards = true,
            Component::CurDir => {}
            _ => return false,
        }
    }
    path.len() > 1
}

/// What a long name or the like says of the entry behind it.
#[derive(Default)]
struct Long {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Long {
    /// Takes such an entry; says whether it was one.
    fn take(&mut self, entry: &mut Entry<impl Read>) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        let known = kind.is_gnu_longname()
            || kind.is_gnu_longlink()
            || kind.is_pax_local_extensions()
            || kind.is_pax_global_extensions();
        if !known {
            return Ok(false);
        }
        let mut text = Vec::new();
        entry.take(LONGEST + 1).read_to_end(&mut text)?;
        if text.len() as u64 > LONGEST {
            return Err(bad("a name in the archive is longer than any path"));
        }
        if kind.is_gnu_longname() || kind.is_gnu_longlink() {
            while text.last() == Some(&0) {
                text.pop();
            }
            let slot = if kind.is_gnu_longname() {
                &mut self.name
            } else {
                &mut self.link
            };
            *slot = Some(text);
        } else if kind.is_pax_local_extensions() {
            for extension in tar::PaxExtensions::new(&text) {
                let extension = extension?;
                match extension.key_bytes() {
                    b"path" => self.name = Some(extension.value_bytes().to_vec()),
                    b"linkpath" => self.link = Some(extension.value_bytes().to_vec()),
                    // Where the header can't say it either: the reader would lose its place.
                    b"size" => return Err(bad("a file of more than 8 GiB can't be copied")),
                    _ => {}
                }
            }
        }
        Ok(true)
    }
}

fn last(path: &[OsString]) -> &OsStr {
    path.last().map_or(OsStr::new(""), OsString::as_os_str)
}

/// A folder is not removed for a link.
fn remove_file(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn umask() -> u32 {
    // It can only be read by setting it.
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

fn bad(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);
const LONGEST: u64 = 64 << 10;
const MOST_LINKS: usize = 1 << 20;
const MOST_SKIPPED: usize = 1000;
