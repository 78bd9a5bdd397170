use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::stream;
use longshore_core::{BoxStream, Clock, Timestamp};
use tokio::sync::watch;

use super::{
    ClusterEvent,
    ring::{Limits, Ring},
};

/// The last events of the cluster. Readers keep their own position, so a slow one costs no memory:
/// it finds out that it lost some.
#[derive(Clone, Debug)]
pub(crate) struct EventLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    ring: Mutex<Ring>,
    /// The number of the next event; wakes the readers.
    next: watch::Sender<u64>,
}

impl EventLog {
    /// A log of at most so many events, and of at most about so many bytes.
    pub(crate) fn new(clock: Arc<dyn Clock>, events: usize, bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                ring: Mutex::new(Ring::new(Limits { events, bytes })),
                next: watch::Sender::new(0),
            }),
        }
    }

    pub(crate) fn push(&self, event: ClusterEvent) {
        // The time is read under the lock, so that the ring is in order of time.
        let mut ring = self.shared.lock();
        ring.push(event, self.shared.clock.now());
        self.shared.next.send_replace(ring.next());
    }

    /// Events recorded at or after `since`, as far as they are kept, then new ones. `None` means
    /// new ones only. The stream ends when the log does.
    pub(crate) fn read(&self, since: Option<Timestamp>) -> BoxStream<ClusterEvent> {
        let updates = self.shared.next.subscribe();
        let position = {
            let ring = self.shared.lock();
            since.map_or(ring.next(), |since| ring.since(since))
        };
        let reader = Reader {
            shared: Arc::downgrade(&self.shared),
            updates,
            position,
        };
        Box::pin(stream::unfold(reader, |mut reader| async move {
            let event = reader.next().await?;
            Some((event, reader))
        }))
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Reader {
    /// Weak: readers do not keep the log alive, so streams end with the control plane.
    shared: std::sync::Weak<Shared>,
    updates: watch::Receiver<u64>,
    /// The number of the event that comes next.
    position: u64,
}

impl Reader {
    async fn next(&mut self) -> Option<ClusterEvent> {
        loop {
            {
                let shared = self.shared.upgrade()?;
                let ring = shared.lock();
                let found = ring.from(self.position);
                let number = found.as_ref().map_or(ring.next(), |(number, _)| *number);
                let lost = number - self.position;
                self.position = number;
                if lost > 0 {
                    return Some(ClusterEvent::Lost(lost));
                }
                if let Some((_, event)) = found {
                    drop(ring);
                    self.position += 1;
                    return Some(Arc::unwrap_or_clone(event));
                }
            }
            self.updates.changed().await.ok()?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::{FutureExt, StreamExt};
    use longshore_core::testkit::ManualClock;

    use super::*;

    const BYTES: usize = 1 << 20;

    fn alarm(number: u64) -> ClusterEvent {
        ClusterEvent::Alarm {
            at: Timestamp::ZERO,
            reason: number.to_string(),
        }
    }

    fn drain(stream: &mut BoxStream<ClusterEvent>) -> Vec<ClusterEvent> {
        let mut events = Vec::new();
        while let Some(Some(event)) = stream.next().now_or_never() {
            events.push(event);
        }
        events
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_what_it_lost() {
        let log = EventLog::new(Arc::new(ManualClock::default()), 3, BYTES);
        let mut stream = log.read(None);
        for number in 0..5 {
            log.push(alarm(number));
        }
        assert_eq!(
            drain(&mut stream),
            [ClusterEvent::Lost(2), alarm(2), alarm(3), alarm(4)]
        );
        log.push(alarm(5));
        assert_eq!(drain(&mut stream), [alarm(5)]);
    }

    #[tokio::test]
    async fn since_replays_what_is_kept() {
        let clock = ManualClock::default();
        let log = EventLog::new(Arc::new(clock.clone()), 10, BYTES);
        log.push(alarm(0));
        clock.advance(Duration::from_secs(1));
        let since = clock.now();
        log.push(alarm(1));
        log.push(alarm(2));
        assert_eq!(drain(&mut log.read(Some(since))), [alarm(1), alarm(2)]);
        assert_eq!(drain(&mut log.read(None)), []);
    }

    #[tokio::test]
    async fn asking_for_more_than_is_kept_says_so() {
        let clock = ManualClock::default();
        let log = EventLog::new(Arc::new(clock.clone()), 2, BYTES);
        for number in 0..4 {
            log.push(alarm(number));
        }
        let events = drain(&mut log.read(Some(Timestamp::ZERO)));
        assert_eq!(events, [ClusterEvent::Lost(2), alarm(2), alarm(3)]);
    }

    #[tokio::test]
    async fn a_slow_reader_holds_no_bytes() {
        let log = EventLog::new(Arc::new(ManualClock::default()), 1000, 1000);
        let mut stream = log.read(None);
        for _ in 0..100 {
            log.push(ClusterEvent::Alarm {
                at: Timestamp::ZERO,
                reason: "x".repeat(900),
            });
        }
        let read = drain(&mut stream);
        assert_eq!(read[0], ClusterEvent::Lost(99));
        assert_eq!(read.len(), 2);
    }

    #[tokio::test]
    async fn streams_end_with_the_log() {
        let log = EventLog::new(Arc::new(ManualClock::default()), 2, BYTES);
        let mut stream = log.read(None);
        drop(log);
        assert_eq!(stream.next().await, None);
    }
}
