use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{BoxStream, Error, Result, SessionId, Timestamp};

use super::{
    CommandGuess, CommandQuery, SessionQuery, SessionSummary,
    log::{Head, LogDecoder, LogEntry},
};
use crate::session::{RecordEvent, RecordedOutput, Recorder, RecordingSource, RecordingStream};

/// A record, event by event.
pub type EventStream = BoxStream<Result<LogEntry>>;

/// What a check of a log has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Its end.
    pub head: Head,
    /// Whether its last record says that nothing follows.
    pub is_complete: bool,
    /// Bytes of output.
    pub output: u64,
}

/// Keeps records of sessions and finds them again.
///
/// Rules held by the conformance suite in this crate's tests: what was recorded is read back byte
/// for byte, in order, with its times; an event of a session that was not opened, or has ended, is
/// refused; the index is searchable as [`SessionQuery`] says; bounds hold, and nothing is removed
/// unless that was asked for.
#[async_trait]
pub trait RecordStore: Recorder + RecordingSource {
    /// The sessions that a query asks for, newest first.
    ///
    /// # Cancel safety
    /// Safe.
    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>>;

    /// One session.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) when there is none.
    async fn session(&self, session: &SessionId) -> Result<SessionSummary>;

    /// The commands that a query asks for, newest first.
    ///
    /// # Cancel safety
    /// Safe.
    async fn commands(&self, query: &CommandQuery) -> Result<Vec<CommandGuess>>;

    /// A record from its beginning to what is there now. Every event is checked against the chain
    /// before it is given; an error is the last item.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) when there is none.
    ///
    /// # Cancel safety
    /// Safe.
    async fn events(&self, session: &SessionId) -> Result<EventStream>;

    /// Checks a whole log: its chain, the end that the index knows, and the one given, which is to
    /// be kept outside of the store.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](longshore_core::ErrorKind::Protocol), saying where it was changed or
    /// that its end is missing.
    ///
    /// # Cancel safety
    /// Safe.
    async fn verify(&self, session: &SessionId, head: Option<&Head>) -> Result<Verified>;
}

/// The output of a record, for a [`RecordingSource`]. Times count from the opening.
pub fn recorded_output(events: EventStream) -> RecordingStream {
    let mut start = None;
    Box::pin(events.filter_map(move |entry| {
        let piece = match entry {
            Err(error) => Some(Err(error)),
            Ok(entry) => {
                let start: Timestamp = *start.get_or_insert(entry.at);
                match entry.event {
                    RecordEvent::Output { kind, bytes, .. } => Some(Ok(RecordedOutput {
                        at: entry.at.since(start),
                        kind,
                        bytes,
                    })),
                    _ => None,
                }
            }
        };
        std::future::ready(piece)
    }))
}

/// Follows a log to its end and compares it with what is known of it.
#[derive(Debug)]
pub(super) struct Check {
    wanted: Vec<(u64, String)>,
}

impl Check {
    pub(super) fn new(summary: &SessionSummary, head: Option<&Head>) -> Self {
        let mut wanted = Vec::new();
        // A session that is just being opened has no records yet.
        if summary.records > 0 {
            wanted.push((summary.records, summary.head.clone()));
        }
        wanted.extend(head.map(|head| (head.records, head.hash())));
        Self { wanted }
    }

    /// After each entry that was read.
    pub(super) fn look(&mut self, decoder: &LogDecoder) -> Result<()> {
        let head = decoder.head();
        let mut rewritten = false;
        self.wanted.retain(|(records, hash)| {
            let is_here = *records == head.records;
            rewritten |= is_here && *hash != head.hash();
            !is_here
        });
        if rewritten {
            return Err(Error::protocol(format!(
                "the record was rewritten: its first {} events are not those that were written",
                head.records
            )));
        }
        Ok(())
    }

    pub(super) fn finish(self, decoder: &LogDecoder) -> Result<Verified> {
        let head = decoder.head();
        if let Some((records, _)) = self.wanted.iter().max_by_key(|(records, _)| *records) {
            return Err(Error::protocol(format!(
                "the record was cut: {records} events were written, {} are there",
                head.records
            )));
        }
        if decoder.torn() > 0 && decoder.is_complete() {
            return Err(Error::protocol("something follows the end of the record"));
        }
        Ok(Verified {
            head,
            is_complete: decoder.is_complete(),
            output: decoder.output(),
        })
    }
}

/// What takes time, where it holds no other task up.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("the recorder stopped").with_source(error))?
}
