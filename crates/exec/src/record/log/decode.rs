use bytes::{Buf, Bytes, BytesMut};
use longshore_core::{Error, OutputKind, Result, SessionId, TerminalSize, Timestamp};
use serde::de::DeserializeOwned;

use super::{
    ENDED, ERROR_OUTPUT, FRONT, FULL, Form, HASH, HIT, Head, INPUT, INPUT_HIDDEN, INTERRUPTED,
    LONGEST, LogEntry, OFFSET, OPENED, OUTPUT, RESIZE,
};
use crate::session::RecordEvent;

/// Reads a log of any version from bytes as they come, and checks every record. It holds no more than one record
/// and what was pushed last.
#[derive(Debug)]
pub struct LogDecoder {
    session: SessionId,
    buffer: BytesMut,
    head: Head,
    /// The file's head was read.
    begun: bool,
    /// Bytes of whole records.
    whole: u64,
    at: Timestamp,
    /// The offset of the next output.
    output: u64,
    complete: bool,
    broken: bool,
}

impl LogDecoder {
    /// Reads the log of this session, from its first byte.
    pub fn new(session: &SessionId) -> Self {
        Self {
            session: session.clone(),
            buffer: BytesMut::new(),
            head: Head::of(session, Form::NEWEST).1,
            begun: false,
            whole: 0,
            at: Timestamp::ZERO,
            output: 0,
            complete: false,
            broken: false,
        }
    }

    /// More of the file. Take all entries before the next push.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next entry; `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](longshore_core::ErrorKind::Protocol), naming the first record that
    /// was changed, removed, added or moved; nothing is read behind it.
    pub fn next_entry(&mut self) -> Result<Option<LogEntry>> {
        if self.broken {
            return Err(self.fault("it was broken before"));
        }
        let entry = self.read();
        self.broken = entry.is_err();
        entry
    }

    /// What was read so far.
    pub fn head(&self) -> Head {
        self.head
    }

    /// Bytes of whole records, with the file's head.
    pub fn whole(&self) -> u64 {
        self.whole
    }

    /// Bytes behind the last whole record.
    pub fn torn(&self) -> u64 {
        self.buffer.len() as u64
    }

    /// Whether what is behind the last whole record is nothing but zeros: a file system may leave
    /// such an end after a power failure.
    pub fn is_torn_blank(&self) -> bool {
        self.buffer.iter().all(|&byte| byte == 0)
    }

    /// Bytes of output so far.
    pub fn output(&self) -> u64 {
        self.output
    }

    /// The time of the last entry.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether the last record says that nothing comes behind it.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    fn read(&mut self) -> Result<Option<LogEntry>> {
        if !self.begun && !self.begin()? {
            return Ok(None);
        }
        if self.buffer.len() < FRONT {
            return Ok(None);
        }
        let length = u32::from_be_bytes([
            self.buffer[0],
            self.buffer[1],
            self.buffer[2],
            self.buffer[3],
        ]) as usize;
        if length > LONGEST {
            return Err(self.fault("its length is impossible"));
        }
        let size = FRONT + length + HASH;
        if self.buffer.len() < size {
            return Ok(None);
        }
        let lead = match self.buffer[4] {
            OUTPUT | ERROR_OUTPUT => FRONT + length.min(OFFSET),
            _ => FRONT,
        };
        let (lead, content) = self.buffer[..FRONT + length].split_at(lead);
        let head = self.head.then(lead, content);
        if head.hash != self.buffer[FRONT + length..size] {
            return Err(self.fault("it, or a record before it, was changed, removed or moved"));
        }
        let mut record = self.buffer.split_to(size).freeze();
        let kind = record[4];
        let mut body = record.slice(FRONT..FRONT + length);
        record.advance(5);
        let at = Timestamp::from_micros(record.get_u64());
        let event = self.event(kind, &mut body)?;
        if self.complete {
            return Err(self.fault("something follows the end"));
        }
        if matches!(event, RecordEvent::Opened(_)) != (self.head.records == 0) {
            return Err(self.fault("the opening must come first, and once"));
        }
        self.complete = matches!(event, RecordEvent::Ended(_) | RecordEvent::Interrupted);
        let sequence = self.head.records;
        self.head = head;
        self.whole += size as u64;
        self.at = at;
        Ok(Some(LogEntry {
            sequence,
            at,
            event,
        }))
    }

    fn begin(&mut self) -> Result<bool> {
        let buffer = &self.buffer[..];
        let heads = Form::ALL.map(|form| Head::of(&self.session, form));
        let fits = heads.into_iter().find(|(bytes, _)| {
            let known = buffer.len().min(bytes.len());
            buffer[..known] == bytes[..known]
        });
        let Some((bytes, head)) = fits else {
            let is_known = |form: Form| buffer.starts_with(form.magic());
            return Err(Error::protocol(if Form::ALL.into_iter().any(is_known) {
                "this is the record of another session"
            } else if buffer.starts_with(Form::NAME) {
                "this is a session's record of a version that is not known here"
            } else {
                "this is not a session's record"
            })
            .with_context("session", &self.session));
        };
        if buffer.len() < bytes.len() {
            return Ok(false);
        }
        self.buffer.advance(bytes.len());
        self.head = head;
        self.whole = bytes.len() as u64;
        self.begun = true;
        Ok(true)
    }

    fn event(&mut self, kind: u8, body: &mut Bytes) -> Result<RecordEvent> {
        Ok(match kind {
            OPENED => RecordEvent::Opened(Box::new(self.json(body)?)),
            HIT => RecordEvent::Hit(self.json(body)?),
            ENDED => RecordEvent::Ended(self.json(body)?),
            OUTPUT | ERROR_OUTPUT if body.len() > OFFSET => {
                let offset = body.get_u64();
                if offset < self.output {
                    return Err(self.fault("its output was there before"));
                }
                self.output = offset.saturating_add(body.len() as u64);
                RecordEvent::Output {
                    offset,
                    kind: match kind {
                        OUTPUT => OutputKind::Stdout,
                        _ => OutputKind::Stderr,
                    },
                    bytes: body.clone(),
                }
            }
            INPUT if !body.is_empty() => RecordEvent::Input(body.clone()),
            RESIZE if body.len() == 4 => {
                RecordEvent::Resize(TerminalSize::new(body.get_u16(), body.get_u16()))
            }
            INPUT_HIDDEN if body.is_empty() => RecordEvent::InputHidden,
            FULL if body.is_empty() => RecordEvent::Full,
            INTERRUPTED if body.is_empty() => RecordEvent::Interrupted,
            _ => return Err(self.fault("its content is malformed")),
        })
    }

    fn json<T: DeserializeOwned>(&self, body: &Bytes) -> Result<T> {
        serde_json::from_slice(body)
            .map_err(|error| self.fault("its content is malformed").with_source(error))
    }

    fn fault(&self, what: &str) -> Error {
        Error::protocol(format!(
            "the record is broken at {}: {what}",
            self.head.records
        ))
        .with_context("session", &self.session)
    }
}
