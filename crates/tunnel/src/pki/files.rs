use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use longshore_core::{Error, OsRandom, Random, Result};

/// Writes a file that only its owner may read, as a whole or not at all: a new file beside it is
/// written, synced, and renamed over it. Blocks the thread.
///
/// # Errors
/// The directory does not exist or can't be written. What stood there before is untouched then.
pub fn write_private_file(path: &Path, contents: &[u8]) -> Result<()> {
    let failed =
        |error: io::Error| Error::io(format!("cannot write {}: {error}", path.display()), error);
    let name = path.file_name().ok_or_else(|| {
        Error::invalid(format!(
            "cannot write {}: it is no file name",
            path.display()
        ))
    })?;
    let mut temporary = std::ffi::OsString::from(".");
    temporary.push(name);
    temporary.push(format!(".{}", OsRandom.hex(6)));
    let temporary = path.with_file_name(temporary);
    let written = write_new(&temporary, contents).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = written {
        let _ = fs::remove_file(&temporary);
        return Err(failed(error));
    }
    let directory = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    // The rename itself lasts only once the directory is on disk.
    File::open(directory.unwrap_or(Path::new(".")))
        .and_then(|dir| dir.sync_all())
        .map_err(failed)
}

/// Reads a small text file. Blocks the thread.
///
/// # Errors
/// It can't be opened or read, is larger than 1 MiB, or is no text.
pub fn read_file(path: &Path) -> Result<String> {
    let open = |error: io::Error| {
        Error::io(
            format!("open {}: {}", path.display(), describe(&error)),
            error,
        )
    };
    let mut text = String::new();
    let file = File::open(path).map_err(open)?;
    file.take(MAX_FILE + 1)
        .read_to_string(&mut text)
        .map_err(open)?;
    if text.len() as u64 > MAX_FILE {
        return Err(Error::invalid(format!(
            "{} is larger than 1 MiB",
            path.display()
        )));
    }
    Ok(text)
}

fn write_new(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(contents)?;
    file.sync_all()
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::InvalidData => "it is no text".to_owned(),
        _ => error.to_string(),
    }
}

const MAX_FILE: u64 = 1024 * 1024;
