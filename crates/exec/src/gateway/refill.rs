use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{OutputKind, Result, SessionId};
use tokio::sync::Notify;

use crate::{
    record::{EventStream, RecordStore},
    session::{GapCause, RecordEvent, ViewerEvent},
};

/// Output that is not in memory any more, out of the session's record.
pub(super) struct Refill {
    /// `None`: there is nothing more to be had.
    events: Option<EventStream>,
    next: u64,
    to: u64,
    piece: Option<(OutputKind, Bytes)>,
}

impl Refill {
    /// What lies between two offsets. The record is read from its beginning. Cancel safe.
    ///
    /// # Errors
    /// There is no record, or it can't be read.
    pub(super) async fn open(
        records: &dyn RecordStore,
        session: &SessionId,
        from: u64,
        to: u64,
    ) -> Result<Self> {
        Ok(Self {
            events: Some(records.events(session).await?),
            next: from,
            to,
            piece: None,
        })
    }

    /// The offset of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.next
    }

    /// The next piece of output, of at most so many bytes; a gap for what the record does not have;
    /// `None` at the end. Cancel safe.
    pub(super) async fn next(&mut self, most: usize) -> Option<ViewerEvent> {
        while self.next < self.to {
            if let Some((kind, mut bytes)) = self.piece.take() {
                let piece = bytes.split_to(bytes.len().min(most.max(1)));
                if !bytes.is_empty() {
                    self.piece = Some((kind, bytes));
                }
                let offset = self.next;
                self.next += piece.len() as u64;
                return Some(ViewerEvent::Output {
                    offset,
                    kind,
                    bytes: piece,
                });
            }
            let entry = match &mut self.events {
                Some(events) => events.next().await,
                None => None,
            };
            match entry {
                Some(Ok(entry)) => self.take(entry.event),
                other => {
                    if let Some(Err(error)) = other {
                        tracing::warn!(error = error.chain(), "a session's record can't be read");
                    }
                    return self.give_up();
                }
            }
        }
        None
    }

    fn take(&mut self, event: RecordEvent) {
        let RecordEvent::Output {
            offset,
            kind,
            bytes,
        } = event
        else {
            return;
        };
        if offset > self.next {
            // It is not what was said, so what follows is not believed.
            self.events = None;
            return;
        }
        let length = bytes.len() as u64;
        let start = (self.next - offset).min(length) as usize;
        let end = (self.to - offset).min(length) as usize;
        if start < end {
            self.piece = Some((kind, bytes.slice(start..end)));
        }
    }

    /// The rest is missing.
    pub(super) fn give_up(&mut self) -> Option<ViewerEvent> {
        if self.next == self.to {
            return None;
        }
        self.events = None;
        let (from, to) = (self.next, self.to);
        self.next = to;
        let cause = GapCause::Trimmed;
        Some(ViewerEvent::Gap { from, to, cause })
    }
}

/// Whether a connection takes what is not in memory any more from the session's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refills {
    /// It is told the gap.
    Never,
    /// The first time, and is told later gaps: the process waits for no onlooker, who would read the
    /// record from its beginning again and again.
    Once,
    Always,
}

impl Refills {
    /// Whether it does so now.
    pub(super) fn begin(&mut self) -> bool {
        let begins = *self != Self::Never;
        if *self == Self::Once {
            *self = Self::Never;
        }
        begins
    }
}

/// Up to where a client has acknowledged: what comes from a record passes the session's own window
/// by.
#[derive(Debug, Default)]
pub(super) struct Acknowledged {
    offset: AtomicU64,
    changed: Notify,
}

impl Acknowledged {
    pub(super) fn up_to(&self, offset: u64) {
        self.offset.fetch_max(offset, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether more may be sent from this offset on.
    pub(super) fn has_room(&self, offset: u64) -> bool {
        offset.saturating_sub(self.offset.load(Ordering::Relaxed)) < WINDOW
    }

    /// Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// How much of it is one event at most.
pub(super) const PIECE: usize = 64 << 10;
const WINDOW: u64 = 256 << 10;

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use longshore_core::Timestamp;

    use super::*;
    use crate::{record::log::LogEntry, session::RecordEvent};

    fn refill(from: u64, to: u64, recorded: &[(u64, &str)]) -> Vec<ViewerEvent> {
        let entries: Vec<_> = recorded
            .iter()
            .map(|(offset, text)| {
                Ok(LogEntry {
                    sequence: 0,
                    at: Timestamp::ZERO,
                    event: RecordEvent::Output {
                        offset: *offset,
                        kind: OutputKind::Stdout,
                        bytes: Bytes::copy_from_slice(text.as_bytes()),
                    },
                })
            })
            .collect();
        let mut refill = Refill {
            events: Some(Box::pin(futures::stream::iter(entries))),
            next: from,
            to,
            piece: None,
        };
        let mut told = Vec::new();
        while let Some(event) = refill.next(PIECE).now_or_never().expect("it is all there") {
            told.push(event);
        }
        assert_eq!(refill.offset(), to);
        told
    }

    fn output(offset: u64, text: &'static str) -> ViewerEvent {
        ViewerEvent::Output {
            offset,
            kind: OutputKind::Stdout,
            bytes: text.into(),
        }
    }

    fn gap(from: u64, to: u64) -> ViewerEvent {
        let cause = GapCause::Trimmed;
        ViewerEvent::Gap { from, to, cause }
    }

    #[test]
    fn exactly_what_is_missing_is_told_and_what_is_not_there_is_a_gap() {
        let record: &[_] = &[(0, "abcd"), (4, "ef"), (6, "ghij")];
        assert_eq!(
            refill(2, 8, record),
            [output(2, "cd"), output(4, "ef"), output(6, "gh")]
        );
        assert_eq!(refill(4, 6, record), [output(4, "ef")]);
        assert_eq!(refill(3, 3, record), []);
        assert_eq!(refill(8, 12, record), [output(8, "ij"), gap(10, 12)]);
        assert_eq!(refill(0, 3, &[]), [gap(0, 3)]);
        let with_a_hole: &[_] = &[(0, "ab"), (5, "fg")];
        assert_eq!(refill(0, 7, with_a_hole), [output(0, "ab"), gap(2, 7)]);
    }
}
