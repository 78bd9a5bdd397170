//! An engine's events: the last ones are remembered, new ones are told as they come.

use std::sync::Arc;

use longshore_core::{EngineEvent, EngineEvents, Error, ErrorKind, Timestamp};
use tokio::sync::watch;

use crate::journal::{Journal, Read};

/// The events of one engine.
#[derive(Debug)]
pub(crate) struct EventLog {
    journal: Arc<Journal<EngineEvent>>,
    /// Counts up when all streams must end, because the engine went away.
    connection: watch::Sender<u64>,
}

impl EventLog {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            journal: Arc::new(Journal::new(capacity)),
            connection: watch::Sender::new(0),
        }
    }

    pub(crate) fn push(&self, event: EngineEvent) {
        self.journal.push(event, 1);
    }

    /// Ends all streams.
    pub(crate) fn disconnect(&self) {
        self.connection.send_modify(|count| *count += 1);
    }

    /// The events kept since that time, if one is given, then new ones.
    pub(crate) fn stream(&self, since: Option<Timestamp>) -> EngineEvents {
        let place = match since {
            None => self.journal.end(),
            Some(_) => self.journal.kept().0,
        };
        let state = Tail {
            journal: Arc::clone(&self.journal),
            connection: Some(self.connection.subscribe()),
            since: since.unwrap_or(Timestamp::ZERO),
            place,
        };
        Box::pin(futures::stream::unfold(state, Tail::next))
    }
}

struct Tail {
    journal: Arc<Journal<EngineEvent>>,
    /// `None` after an error was told.
    connection: Option<watch::Receiver<u64>>,
    since: Timestamp,
    place: u64,
}

impl Tail {
    async fn next(mut self) -> Option<(longshore_core::Result<EngineEvent>, Self)> {
        loop {
            let connection = self.connection.as_mut()?;
            // An error means that the engine is gone for good.
            if connection.has_changed().unwrap_or(true) {
                return None;
            }
            match self.journal.read(self.place) {
                Read::Item(event, next) => {
                    self.place = next;
                    if event.at >= self.since {
                        return Some((Ok(event), self));
                    }
                }
                Read::Missed(first) => {
                    let missed = first - self.place;
                    self.connection = None;
                    let error = Error::new(
                        ErrorKind::ResourceExhausted,
                        format!("{missed} events were missed: the reader is too slow"),
                    )
                    .with_retryable(true);
                    return Some((Err(error), self));
                }
                Read::End => {
                    tokio::select! {
                        () = self.journal.reach(self.place) => {}
                        _ = connection.changed() => return None,
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;
    use longshore_core::{EventAction, WorkloadId};

    use super::*;

    fn event(number: u64) -> EngineEvent {
        let id = WorkloadId::new(number.to_string()).unwrap();
        EngineEvent::workload(&id, EventAction::Start, Timestamp::from_secs(number))
    }

    #[tokio::test]
    async fn a_reader_that_is_too_slow_is_told_and_its_stream_ends() {
        let log = EventLog::new(4);
        let mut events = log.stream(None);
        for number in 0..10 {
            log.push(event(number));
        }
        let error = events.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
        assert!(events.next().await.is_none());
        let mut again = log.stream(Some(Timestamp::from_secs(8)));
        assert_eq!(again.next().await.unwrap().unwrap().actor, "8");
    }

    #[tokio::test]
    async fn a_disconnect_ends_old_streams_and_not_new_ones() {
        let log = EventLog::new(4);
        let mut old = log.stream(None);
        log.disconnect();
        let mut new = log.stream(None);
        log.push(event(1));
        assert!(old.next().await.is_none());
        assert_eq!(new.next().await.unwrap().unwrap().actor, "1");
    }
}
