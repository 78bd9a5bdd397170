//! Opening a file that is as it was written.

use std::{
    fs::OpenOptions,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use longshore_core::{Error, Result};
use redb::Database;

use super::failure;

/// Opens a file, or makes one for its owner alone, and reads what `load` takes out of it. All of it is
/// checked first: the library checks its sums behind a crash only; otherwise it reads a changed byte
/// as something else, or panics.
///
/// # Errors
/// It can't be made or opened, is in use, or is damaged; the last with what to do, `remedy`.
pub(crate) fn open<T>(
    path: &Path,
    remedy: &str,
    load: impl FnOnce(Database) -> Result<T>,
) -> Result<T> {
    let shown = path.display();
    make(path).map_err(|error| Error::io(format!("cannot open the store {shown}"), error))?;
    let damaged = || {
        let text = format!("the file {shown} is damaged: {remedy}");
        Error::invalid(text).with_backend("redb")
    };
    let opened = catch_unwind(AssertUnwindSafe(|| {
        let mut database =
            Database::create(path).map_err(|error| failure::of_open(&shown.to_string(), error))?;
        match database.check_integrity() {
            Ok(true) => load(database),
            Ok(false) => Err(damaged()),
            Err(error) => Err(damaged().with_source(error)),
        }
    }));
    opened.unwrap_or_else(|_| Err(damaged()))
}

fn make(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
