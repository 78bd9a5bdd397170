use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_core::{Clock, Timestamp};
use tokio::sync::Notify;

use super::GatewayOptions;

/// Whether a client lives: it answers pings, or says anything else.
///
/// It is dead when it was silent for so many pings as it may miss, of which the last has half the
/// time between two of them for its answer. So one that vanishes right behind an answer is found after
/// 3.5 intervals for three pings, also while nothing can be sent to it any more.
#[derive(Debug)]
pub(super) struct Liveness {
    silence: Mutex<Silence>,
    changed: Notify,
}

#[derive(Debug)]
struct Silence {
    limit: Duration,
    /// When something was heard; while nobody listens, when that began does not count.
    heard: Timestamp,
    listens: bool,
}

impl Liveness {
    /// Of a client that was heard now.
    pub(super) fn new(options: &GatewayOptions, now: Timestamp) -> Self {
        let every = options.ping;
        let limit = every
            .saturating_mul(options.missed)
            .saturating_add(every / 2);
        Self {
            silence: Mutex::new(Silence {
                limit,
                heard: now,
                listens: true,
            }),
            changed: Notify::new(),
        }
    }

    pub(super) fn heard(&self, now: Timestamp) {
        self.lock().heard = now;
    }

    /// Whether what the client says is read. While it is not, silence says nothing.
    pub(super) fn set_listening(&self, listens: bool, now: Timestamp) {
        let mut silence = self.lock();
        if silence.listens != listens {
            (silence.listens, silence.heard) = (listens, now);
            self.changed.notify_one();
        }
    }

    pub(super) fn listens(&self) -> bool {
        self.lock().listens
    }

    /// When it is dead unless it is heard of; `None` while nobody listens.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.lock().deadline()
    }

    pub(super) fn is_dead(&self, now: Timestamp) -> bool {
        let is_dead = self.deadline().is_some_and(|deadline| deadline <= now);
        if is_dead {
            tracing::debug!("a client does not answer any more");
        }
        is_dead
    }

    /// Waits until the client is dead. Cancel safe; one caller at a time.
    pub(super) async fn lapsed(&self, clock: &dyn Clock) {
        while !self.is_dead(clock.now()) {
            match self.deadline() {
                Some(at) => clock.sleep_until(at).await,
                None => self.changed.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Silence> {
        self.silence.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Silence {
    fn deadline(&self) -> Option<Timestamp> {
        self.listens.then(|| self.heard.after(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(at: u64) -> Timestamp {
        Timestamp::ZERO.after(Duration::from_secs(at))
    }

    #[test]
    fn three_pings_and_a_half_are_35_seconds() {
        let life = Liveness::new(&GatewayOptions::default(), seconds(1));
        assert_eq!(life.lock().deadline(), Some(seconds(36)));
        life.heard(seconds(20));
        assert_eq!(life.lock().deadline(), Some(seconds(55)));
    }

    #[test]
    fn a_client_that_is_never_asked_is_never_dead() {
        let options = GatewayOptions::default().with_ping(Duration::MAX, 3);
        let life = Liveness::new(&options, seconds(1));
        assert!(life.lock().deadline() > Some(seconds(1 << 40)));
    }

    #[test]
    fn silence_counts_only_while_somebody_listens() {
        let life = Liveness::new(&GatewayOptions::default(), seconds(0));
        life.set_listening(false, seconds(10));
        assert_eq!(life.lock().deadline(), None);
        life.set_listening(true, seconds(100));
        assert_eq!(life.lock().deadline(), Some(seconds(135)));
        // Saying so again is no sign of life.
        life.set_listening(true, seconds(120));
        assert_eq!(life.lock().deadline(), Some(seconds(135)));
    }
}
