use bytes::Bytes;
use longshore_core::{Error, OutputKind, Result, SessionId, Timestamp};

use super::{
    ENDED, ERROR_OUTPUT, FRONT, FULL, HASH, HIT, Head, INPUT, INPUT_HIDDEN, INTERRUPTED, LONGEST,
    LogDecoder, OPENED, OUTPUT, RESIZE,
};
use crate::session::RecordEvent;

/// Writes a log. It moves on when [`accept`](Self::accept) says that the bytes are safe.
#[derive(Clone, Debug)]
pub struct LogEncoder {
    head: Head,
}

impl LogEncoder {
    /// A new log, and the bytes it begins with.
    pub fn new(session: &SessionId) -> (Self, Vec<u8>) {
        let (bytes, head) = Head::of(session);
        (Self { head }, bytes)
    }

    /// Goes on behind everything that a decoder has read.
    pub fn resume(decoder: &LogDecoder) -> Self {
        Self {
            head: decoder.head(),
        }
    }

    /// The end of the log.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The bytes of an event, and the head behind it. Long output becomes several records.
    ///
    /// # Errors
    /// The event is longer than a record may be.
    pub fn encode(&self, at: Timestamp, event: &RecordEvent) -> Result<(Vec<u8>, Head)> {
        let mut head = self.head;
        let mut out = Vec::new();
        match event {
            RecordEvent::Output {
                offset,
                kind,
                bytes,
            } => {
                let mut offset = *offset;
                for piece in bytes.chunks(PIECE) {
                    let kind = match kind {
                        OutputKind::Stderr => ERROR_OUTPUT,
                        OutputKind::Stdout => OUTPUT,
                    };
                    put(
                        &mut out,
                        &mut head,
                        kind,
                        at,
                        &[&offset.to_be_bytes(), piece],
                    )?;
                    offset += piece.len() as u64;
                }
            }
            event => {
                let (kind, body) = body(event)?;
                put(&mut out, &mut head, kind, at, &[&body])?;
            }
        }
        Ok((out, head))
    }

    /// What was encoded is in its place.
    pub fn accept(&mut self, head: Head) {
        self.head = head;
    }
}

fn body(event: &RecordEvent) -> Result<(u8, Bytes)> {
    Ok(match event {
        RecordEvent::Opened(about) => (OPENED, json(about)?),
        RecordEvent::Hit(hit) => (HIT, json(hit)?),
        RecordEvent::Ended(end) => (ENDED, json(end)?),
        RecordEvent::Input(bytes) => (INPUT, bytes.clone()),
        RecordEvent::InputHidden => (INPUT_HIDDEN, Bytes::new()),
        RecordEvent::Full => (FULL, Bytes::new()),
        RecordEvent::Interrupted => (INTERRUPTED, Bytes::new()),
        RecordEvent::Resize(size) => {
            let [a, b] = size.columns.to_be_bytes();
            let [c, d] = size.rows.to_be_bytes();
            (RESIZE, Bytes::copy_from_slice(&[a, b, c, d]))
        }
        RecordEvent::Output { bytes, .. } => (OUTPUT, bytes.clone()),
    })
}

fn put(out: &mut Vec<u8>, head: &mut Head, kind: u8, at: Timestamp, body: &[&[u8]]) -> Result<()> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    if length > LONGEST {
        return Err(Error::invalid(format!(
            "an event of {length} bytes is longer than the {LONGEST} that a record may hold"
        )));
    }
    let start = out.len();
    out.reserve(FRONT + length + HASH);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    out.push(kind);
    out.extend_from_slice(&at.as_micros().to_be_bytes());
    body.iter().for_each(|part| out.extend_from_slice(part));
    *head = head.then(&out[start..]);
    out.extend_from_slice(&head.hash);
    Ok(())
}

fn json(value: &impl serde::Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec(value);
    let text = text
        .map_err(|error| Error::internal("an event can't be written as JSON").with_source(error))?;
    Ok(Bytes::from(text))
}

/// The most output in one record.
const PIECE: usize = 64 << 10;
