//! Reading the file, bounded. Blocking.

use std::{fs::File, io, io::Read, path::Path};

use longshore_core::{Error, Result};

/// The file's text.
///
/// # Errors
/// `failed to read '<path>': …`, retryable: the file may come or be mended.
pub(super) fn text(path: &Path, max_bytes: u64) -> Result<String> {
    read(path, max_bytes).map_err(|error| failure(path, error))
}

fn read(path: &Path, max_bytes: u64) -> io::Result<String> {
    // Asked before opening: to open a pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(io::Error::other(format!(
            "it is larger than {max_bytes} bytes"
        )));
    }
    if bytes.contains(&0) {
        return Err(io::Error::other(
            "it is a binary file, not a list of addresses",
        ));
    }
    String::from_utf8(bytes).map_err(|_| io::Error::other("it is not UTF-8 text"))
}

fn failure(path: &Path, error: io::Error) -> Error {
    let message = format!("failed to read '{}': {error}", path.display());
    let kind = Error::io("", error).kind();
    Error::new(kind, message)
        .with_backend("file")
        .with_retryable(true)
}
