use std::{
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use longshore_core::{AuditEvent, AuditReceipt, AuditSink, Error, ErrorKind, Result};
use tokio::sync::Mutex;

use super::{
    AuditRecord,
    chain::{ChainCheck, Head},
};

/// An audit chain in a file: one JSON object per line, only ever appended to, on disk before a
/// record is receipted.
///
/// The chain shows that a record was changed, removed or moved. It can't show by itself that its
/// end was cut off, or that all of it was written anew: keep a receipt elsewhere from time to time,
/// and give it to [`verify`](Self::verify).
#[derive(Clone, Debug)]
pub struct FileAudit {
    log: Arc<Mutex<Log>>,
}

#[derive(Debug)]
struct Log {
    file: File,
    path: PathBuf,
    head: Head,
    /// Bytes of whole records.
    length: u64,
    /// What was cut off when the file was opened.
    torn: u64,
    /// The end of the file is unknown: nothing may be appended any more.
    broken: bool,
}

impl FileAudit {
    /// Opens a log, making it (mode 0600) if it is missing, and checks its whole chain.
    ///
    /// A last line without its newline was being written when the machine stopped. It was not
    /// receipted, so it is cut off, with a warning.
    ///
    /// # Errors
    /// The file can't be read or written; [`ErrorKind::AlreadyExists`] when another process has it
    /// open; [`ErrorKind::Protocol`] when the chain is broken: nothing is appended to such a log.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let failed = |what: &str, error| {
            Error::io(format!("cannot {what} the audit log"), error)
                .with_context("path", path.display())
        };
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| failed("open", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    "another process has the audit log open",
                )
                .with_context("path", path.display()));
            }
            Err(std::fs::TryLockError::Error(error)) => return Err(failed("lock", error)),
        }
        let read = read(&file, None).map_err(|error| error.with_context("path", path.display()))?;
        if read.torn > 0 {
            tracing::warn!(
                path = %path.display(),
                bytes = read.torn,
                "the last record of the audit log was torn and is cut off"
            );
            file.set_len(read.length)
                .and_then(|()| file.sync_all())
                .map_err(|error| failed("repair", error))?;
        }
        Ok(Self {
            log: Arc::new(Mutex::new(Log {
                file,
                path: path.to_owned(),
                head: read.head,
                length: read.length,
                torn: read.torn,
                broken: false,
            })),
        })
    }

    /// Checks a log on disk, also one that is in use, and says how many records it has. A torn last
    /// line does not count. With the receipt of a record that is known to exist, a log whose end
    /// was cut off before it is found out.
    ///
    /// # Errors
    /// As [`verify_chain`](crate::verify_chain), or the file can't be read.
    pub fn verify(path: impl AsRef<Path>, receipt: Option<&AuditReceipt>) -> Result<u64> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| {
            Error::io("cannot open the audit log", error).with_context("path", path.display())
        })?;
        let read =
            read(&file, receipt).map_err(|error| error.with_context("path", path.display()))?;
        Ok(read.head.next)
    }

    /// How many bytes of a torn last record were cut off when the log was opened.
    pub async fn torn(&self) -> u64 {
        self.log.lock().await.torn
    }
}

#[async_trait]
impl AuditSink for FileAudit {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        // The guard goes with the write: a caller that leaves does not leave half a record.
        let mut log = Arc::clone(&self.log).lock_owned().await;
        tokio::task::spawn_blocking(move || log.append(event))
            .await
            .map_err(|error| Error::internal("the audit writer stopped").with_source(error))?
    }
}

impl Log {
    fn append(&mut self, event: AuditEvent) -> Result<AuditReceipt> {
        if self.broken {
            return Err(Error::unavailable(
                "the audit log could not be repaired after a failed write",
            )
            .with_context("path", self.path.display()));
        }
        let record = self.head.follow(event)?;
        let mut line = serde_json::to_vec(&record).map_err(|error| {
            Error::internal("an audit record can't be written as JSON").with_source(error)
        })?;
        line.push(b'\n');
        if line.len() as u64 > LINE_LIMIT {
            return Err(Error::invalid(format!(
                "an audit record of {} bytes is longer than the {LINE_LIMIT} allowed",
                line.len()
            )));
        }
        let written = self
            .file
            .write_all(&line)
            .and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // Part of the line may be there: it was not receipted, so it goes.
            self.broken = self.file.set_len(self.length).is_err();
            return Err(Error::io("cannot write the audit log", error)
                .with_context("path", self.path.display()));
        }
        self.length += line.len() as u64;
        self.head.accept(&record)?;
        Ok(record.receipt())
    }
}

struct ReadLog {
    head: Head,
    length: u64,
    torn: u64,
}

/// Reads and checks a log from its beginning.
fn read(file: &File, receipt: Option<&AuditReceipt>) -> Result<ReadLog> {
    let failed = |error| Error::io("cannot read the audit log", error);
    let mut reader = BufReader::new(file);
    reader.seek(SeekFrom::Start(0)).map_err(failed)?;
    let mut check = ChainCheck::new(receipt.cloned());
    let (mut length, mut number, mut line) = (0, 0u64, Vec::new());
    loop {
        line.clear();
        let count = reader
            .by_ref()
            .take(LINE_LIMIT + 1)
            .read_until(b'\n', &mut line)
            .map_err(failed)? as u64;
        let broken = |reason: String| {
            Error::protocol(format!(
                "the audit log is broken at record {number}: {reason}"
            ))
        };
        if count > LINE_LIMIT {
            return Err(broken(format!("it is longer than {LINE_LIMIT} bytes")));
        }
        if line.last() != Some(&b'\n') {
            return Ok(ReadLog {
                head: check.finish()?,
                length,
                torn: count,
            });
        }
        let record: AuditRecord =
            serde_json::from_slice(&line).map_err(|error| broken(error.to_string()))?;
        check.accept(&record)?;
        length += count;
        number += 1;
    }
}

/// A record is never longer than this.
const LINE_LIMIT: u64 = 1 << 20;

#[cfg(test)]
mod tests;
