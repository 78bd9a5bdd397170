use bytes::Bytes;
use longshore_core::{Error, OutputKind, Result, SessionId, Timestamp};

use super::{
    ENDED, ERROR_OUTPUT, FRONT, FULL, Form, HIT, Head, INPUT, INPUT_HIDDEN, INTERRUPTED, LONGEST,
    LogDecoder, OFFSET, OPENED, OUTPUT, Pieces, RESIZE,
};
use crate::session::RecordEvent;

/// Writes a log. It moves on when [`accept`](Self::accept) says that the bytes are safe.
#[derive(Clone, Debug)]
pub struct LogEncoder {
    head: Head,
}

impl LogEncoder {
    /// A new log of the newest version, and the bytes it begins with.
    pub fn new(session: &SessionId) -> (Self, Vec<u8>) {
        Self::of(session, Form::NEWEST)
    }

    pub(super) fn of(session: &SessionId, form: Form) -> (Self, Vec<u8>) {
        let (bytes, head) = Head::of(session, form);
        (Self { head }, bytes)
    }

    /// Goes on behind everything that a decoder has read, in the version of that log.
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
        let mut pieces = Pieces::default();
        let head = self.add(&mut pieces, at, event)?;
        let mut all = Vec::with_capacity(pieces.len());
        pieces.append_to(&mut all);
        Ok((all, head))
    }

    /// As [`encode`](Self::encode), behind what is in `pieces` already.
    pub(in crate::record) fn add(
        &self,
        pieces: &mut Pieces,
        at: Timestamp,
        event: &RecordEvent,
    ) -> Result<Head> {
        let mut head = self.head;
        let RecordEvent::Output {
            offset,
            kind,
            bytes,
        } = event
        else {
            let (kind, body) = body(event)?;
            put(pieces, &mut head, kind, at, None, body)?;
            return Ok(head);
        };
        let kind = match kind {
            OutputKind::Stderr => ERROR_OUTPUT,
            OutputKind::Stdout => OUTPUT,
        };
        let (mut offset, mut rest) = (*offset, bytes.clone());
        while !rest.is_empty() {
            let piece = rest.split_to(rest.len().min(PIECE));
            let next = offset + piece.len() as u64;
            put(pieces, &mut head, kind, at, Some(offset), piece)?;
            offset = next;
        }
        Ok(head)
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

fn put(
    pieces: &mut Pieces,
    head: &mut Head,
    kind: u8,
    at: Timestamp,
    offset: Option<u64>,
    content: Bytes,
) -> Result<()> {
    let length = content.len() + offset.map_or(0, |_| OFFSET);
    if length > LONGEST {
        return Err(Error::invalid(format!(
            "an event of {length} bytes is longer than the {LONGEST} that a record may hold"
        )));
    }
    let mut lead = Vec::with_capacity(FRONT + OFFSET);
    lead.extend_from_slice(&(length as u32).to_be_bytes());
    lead.push(kind);
    lead.extend_from_slice(&at.as_micros().to_be_bytes());
    lead.extend(offset.iter().flat_map(|offset| offset.to_be_bytes()));
    *head = head.then(&lead, &content);
    pieces.put(&lead);
    pieces.put_shared(content);
    pieces.put(&head.hash);
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
