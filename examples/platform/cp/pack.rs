//! A file or folder as an archive.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::Path,
};

use tar::{Builder, EntryType, Header};

use super::Report;

/// Packs what is at a path under this name. Symlinks stay symlinks; owner is the container's root, as
/// with `docker cp`.
///
/// # Errors
/// Names the path that can't be read. The archive is cut off then, so that nobody takes it for whole.
pub fn pack(path: &Path, name: &OsStr, to: impl Write) -> io::Result<Report> {
    let mut builder = Builder::new(to);
    let mut report = Report::default();
    add(&mut builder, path, Path::new(name), &mut report)?;
    builder.into_inner()?.flush()?;
    Ok(report)
}

fn add(
    builder: &mut Builder<impl Write>,
    path: &Path,
    name: &Path,
    report: &mut Report,
) -> io::Result<()> {
    let named = |error: io::Error| match error.kind() {
        io::ErrorKind::BrokenPipe => error,
        kind => io::Error::new(kind, format!("{}: {error}", path.display())),
    };
    let found = fs::symlink_metadata(path).map_err(named)?;
    let mut header = header(&found);
    if found.is_dir() {
        header.set_entry_type(EntryType::Directory);
        builder
            .append_data(&mut header, name, io::empty())
            .map_err(named)?;
        let mut entries: Vec<_> = fs::read_dir(path)
            .map_err(named)?
            .collect::<io::Result<_>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            add(
                builder,
                &entry.path(),
                &name.join(entry.file_name()),
                report,
            )?;
        }
    } else if found.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        let target = fs::read_link(path).map_err(named)?;
        builder
            .append_link(&mut header, name, target)
            .map_err(named)?;
        report.files += 1;
    } else if found.file_type().is_file() {
        header.set_size(found.len());
        let mut file = Exactly {
            file: File::open(path).map_err(named)?,
            left: found.len(),
        };
        builder
            .append_data(&mut header, name, &mut file)
            .map_err(named)?;
        report.files += 1;
        report.bytes += found.len();
    } else {
        let kind = match found.file_type() {
            kind if kind.is_socket() => "a socket",
            kind if kind.is_fifo() => "a pipe",
            _ => "a device",
        };
        return Err(named(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("{kind} can't be copied"),
        )));
    }
    Ok(())
}

fn header(found: &Metadata) -> Header {
    let mut header = Header::new_gnu();
    header.set_mode(found.mode() & 0o7777);
    header.set_mtime(u64::try_from(found.mtime()).unwrap_or(0));
    header.set_size(0);
    header
}

/// A file that grows or shrinks meanwhile must not make the rest of the archive unreadable.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it became shorter meanwhile",
            ));
        }
        self.left -= count as u64;
        Ok(count)
    }
}
