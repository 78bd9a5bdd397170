use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::stream;
use longshore_core::{BoxStream, Clock, Timestamp};
use tokio::sync::watch;

use super::ClusterEvent;

/// The last events of the cluster. Readers keep their own position, so a slow one costs no memory:
/// it finds out that it lost some.
#[derive(Clone, Debug)]
pub(crate) struct EventLog {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    capacity: usize,
    ring: Mutex<Ring>,
    /// The number of the next event; wakes the readers.
    next: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<(Timestamp, Arc<ClusterEvent>)>,
    /// The number of the first event in the ring, which is how many were dropped.
    first: u64,
    /// When the last dropped event was recorded.
    dropped_at: Option<Timestamp>,
}

impl EventLog {
    pub(crate) fn new(clock: Arc<dyn Clock>, capacity: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                capacity: capacity.max(1),
                ring: Mutex::default(),
                next: watch::Sender::new(0),
            }),
        }
    }

    pub(crate) fn push(&self, event: ClusterEvent) {
        // The time is read under the lock, so that the ring is in order of time.
        let mut ring = self.shared.lock();
        let now = self.shared.clock.now();
        if ring.events.len() == self.shared.capacity {
            if let Some((at, _)) = ring.events.pop_front() {
                ring.dropped_at = Some(at);
            }
            ring.first += 1;
        }
        ring.events.push_back((now, Arc::new(event)));
        let next = ring.first + ring.events.len() as u64;
        self.shared.next.send_replace(next);
    }

    /// Events recorded at or after `since`, as far as they are kept, then new ones. `None` means
    /// new ones only. The stream ends when the log does.
    pub(crate) fn read(&self, since: Option<Timestamp>) -> BoxStream<ClusterEvent> {
        let updates = self.shared.next.subscribe();
        let (position, lost) = {
            let ring = self.shared.lock();
            match since {
                None => (ring.first + ring.events.len() as u64, 0),
                Some(since) => {
                    let skip = ring.events.partition_point(|(at, _)| *at < since);
                    let lost = match ring.dropped_at {
                        Some(at) if at >= since => ring.first,
                        _ => 0,
                    };
                    (ring.first + skip as u64, lost)
                }
            }
        };
        let reader = Reader {
            shared: Arc::downgrade(&self.shared),
            updates,
            position,
            lost,
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
    position: u64,
    lost: u64,
}

impl Reader {
    async fn next(&mut self) -> Option<ClusterEvent> {
        loop {
            if self.lost > 0 {
                return Some(ClusterEvent::Lost(std::mem::take(&mut self.lost)));
            }
            {
                let shared = self.shared.upgrade()?;
                let ring = shared.lock();
                if self.position < ring.first {
                    self.lost = ring.first - self.position;
                    self.position = ring.first;
                    continue;
                }
                let index = usize::try_from(self.position - ring.first).ok()?;
                if let Some((_, event)) = ring.events.get(index) {
                    self.position += 1;
                    return Some(ClusterEvent::clone(event));
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
        let log = EventLog::new(Arc::new(ManualClock::default()), 3);
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
        let log = EventLog::new(Arc::new(clock.clone()), 10);
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
        let log = EventLog::new(Arc::new(clock.clone()), 2);
        for number in 0..4 {
            log.push(alarm(number));
        }
        let events = drain(&mut log.read(Some(Timestamp::ZERO)));
        assert_eq!(events, [ClusterEvent::Lost(2), alarm(2), alarm(3)]);
    }

    #[tokio::test]
    async fn streams_end_with_the_log() {
        let log = EventLog::new(Arc::new(ManualClock::default()), 2);
        let mut stream = log.read(None);
        drop(log);
        assert_eq!(stream.next().await, None);
    }
}
