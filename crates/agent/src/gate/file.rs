//! The highest token on the disk: one small file, replaced as a whole.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use longshore_core::{Error, Result};

#[derive(Clone, Debug)]
pub(super) struct TokenFile {
    directory: PathBuf,
}

impl TokenFile {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(NAME)
    }

    /// Makes the directory where there is none, and reads what a run before left in it.
    ///
    /// # Errors
    /// It can't be made or read, or holds something else.
    pub(super) fn open(&self) -> Result<Option<u64>> {
        let path = self.path();
        fs::create_dir_all(&self.directory).map_err(|error| {
            at(
                &self.directory,
                "the agent's directory can't be made",
                error,
            )
        })?;
        let file = match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => {
                opened.map_err(|error| at(&path, "the leader's token can't be read", error))?
            }
        };
        let mut text = Vec::new();
        file.take(LONGEST)
            .read_to_end(&mut text)
            .map_err(|error| at(&path, "the leader's token can't be read", error))?;
        let number = std::str::from_utf8(&text).ok();
        let number = number.and_then(|text| text.trim_end().parse().ok());
        number.map(Some).ok_or_else(|| {
            Error::invalid(
                "the file does not hold a leader's fencing token; delete it once no old manager runs",
            )
            .with_context("file", path.display())
        })
    }

    /// Blocks for as long as the disk takes. What was there stays until the new one is on the disk.
    pub(super) fn write(&self, token: u64) -> Result<()> {
        let (path, new) = (self.path(), self.directory.join(format!("{NAME}.new")));
        let written = || -> io::Result<()> {
            let mut file = File::create(&new)?;
            file.write_all(format!("{token}\n").as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &path)?;
            File::open(&self.directory)?.sync_all()
        };
        written().map_err(|error| at(&path, "the leader's token can't be kept", error))
    }
}

fn at(path: &Path, what: &'static str, error: io::Error) -> Error {
    Error::io(what, error).with_context("file", path.display())
}

const NAME: &str = "leader-token";
/// No number is longer.
const LONGEST: u64 = 64;
