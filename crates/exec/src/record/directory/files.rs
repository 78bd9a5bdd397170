use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use longshore_core::{Error, ErrorKind, Result, SessionId};

use crate::record::{CommandGuess, SessionSummary};

/// The files of a directory of records.
#[derive(Debug)]
pub(super) struct Files {
    root: PathBuf,
}

impl Files {
    pub(super) fn new(root: &Path) -> Result<Self> {
        let mut builder = DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder
            .create(root)
            .map_err(|error| failed("make", root, error))?;
        #[cfg(unix)]
        if let Ok(known) = fs::metadata(root)
            && std::os::unix::fs::PermissionsExt::mode(&known.permissions()) & 0o077 != 0
        {
            tracing::warn!(path = %root.display(), "others may look into the directory of records");
        }
        Ok(Self {
            root: root.to_owned(),
        })
    }

    pub(super) fn lock(&self) -> Result<File> {
        let path = self.root.join("lock");
        let file = private().append(true).create(true).open(&path);
        let file = file.map_err(|error| failed("open", &path, error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(Error::new(
                ErrorKind::AlreadyExists,
                "another process has the directory of records open",
            )
            .with_context("path", self.root.display())),
            Err(TryLockError::Error(error)) => Err(failed("lock", &path, error)),
        }
    }

    /// Every session that has a log.
    pub(super) fn sessions(&self) -> Result<Vec<SessionId>> {
        let reading = |error| failed("read", &self.root, error);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(reading)? {
            let name = entry.map_err(reading)?.file_name();
            let id = name.to_str().and_then(|name| name.strip_suffix(".log"));
            let id = id.and_then(|id| SessionId::new(id).ok());
            found.extend(id.filter(is_name));
        }
        Ok(found)
    }

    pub(super) fn log(&self, session: &SessionId) -> Result<File> {
        let path = self.path(session, "log")?;
        File::open(&path).map_err(|error| failed("open", &path, error))
    }

    pub(super) fn new_log(&self, session: &SessionId) -> Result<File> {
        let path = self.path(session, "log")?;
        let file = private().append(true).create_new(true).open(&path);
        file.map_err(|error| failed("make", &path, error))
    }

    pub(super) fn old_log(&self, session: &SessionId) -> Result<File> {
        let path = self.path(session, "log")?;
        let file = private().read(true).append(true).open(&path);
        file.map_err(|error| failed("open", &path, error))
    }

    /// The directory's own entries are on the disk.
    pub(super) fn sync(&self) -> Result<()> {
        let synced = File::open(&self.root).and_then(|root| root.sync_all());
        synced.map_err(|error| failed("sync", &self.root, error))
    }

    pub(super) fn write_summary(&self, summary: &SessionSummary) -> Result<()> {
        let path = self.path(&summary.session, "json")?;
        let new = self.path(&summary.session, "json.new")?;
        let text = serde_json::to_vec(summary).map_err(|error| {
            Error::internal("a summary can't be written as JSON").with_source(error)
        })?;
        let written = || {
            let mut file = private()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&new)?;
            file.write_all(&text)?;
            file.sync_data()?;
            fs::rename(&new, &path)
        };
        written().map_err(|error| failed("write", &path, error))
    }

    /// A summary, if there is one that can be read.
    pub(super) fn read_summary(&self, session: &SessionId) -> Option<SessionSummary> {
        let bytes = bounded(&self.path(session, "json").ok()?, LONGEST_SUMMARY)?;
        let summary: SessionSummary = serde_json::from_slice(&bytes).ok()?;
        (summary.session == *session).then_some(summary)
    }

    pub(super) fn add_command(&self, command: &CommandGuess) -> Result<()> {
        let path = self.path(&command.session, "commands")?;
        let mut line = serde_json::to_vec(command).map_err(|error| {
            Error::internal("a command can't be written as JSON").with_source(error)
        })?;
        line.push(b'\n');
        let file = private().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(&line));
        written.map_err(|error| failed("write", &path, error))
    }

    /// The commands of a session; what can't be read (a torn last line) is left out.
    pub(super) fn read_commands(&self, session: &SessionId) -> Result<Vec<CommandGuess>> {
        let bytes = bounded(&self.path(session, "commands")?, LONGEST_COMMANDS).unwrap_or_default();
        let lines = bytes.split(|&byte| byte == b'\n');
        Ok(lines
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect())
    }

    pub(super) fn remove(&self, session: &SessionId) {
        // The log last: without it the others mean nothing.
        for kind in ["json.new", "commands", "json", "log"] {
            let Ok(path) = self.path(session, kind) else {
                return;
            };
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a record could not be removed");
            }
        }
    }

    fn path(&self, session: &SessionId, kind: &str) -> Result<PathBuf> {
        if !is_name(session) {
            return Err(
                Error::invalid("the session's id can't be the name of a file")
                    .with_context("session", session),
            );
        }
        Ok(self.root.join(format!("{session}.{kind}")))
    }
}

/// Letters, digits, `-` and `_`: nothing that a path means something by.
fn is_name(session: &SessionId) -> bool {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    session.as_ref().bytes().all(known)
}

fn bounded(path: &Path, longest: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path).ok()?;
    file.take(longest).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn failed(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("cannot {what} what records are kept in"), error)
        .with_context("path", path.display())
}

const LONGEST_SUMMARY: u64 = 1 << 20;
const LONGEST_COMMANDS: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_can_t_be_made_is_told_by_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"").unwrap();
        let error = Files::new(&file.join("records")).err().unwrap();
        assert_eq!(error.message(), "cannot make what records are kept in");
        let path = error.context("path").unwrap();
        assert!(path.ends_with("file/records"), "{path}");
    }
}
