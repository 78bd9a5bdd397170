//! A clock that moves only when it is told to.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{Clock, Timestamp};

/// A [`Clock`] that stands still until [`advance`](Self::advance). Clones share the time.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<watch::Sender<Timestamp>>);

impl ManualClock {
    /// Starts at this time.
    pub fn new(start: Timestamp) -> Self {
        Self(Arc::new(watch::Sender::new(start)))
    }

    /// Moves on and wakes who waited for it.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|now| *now = now.after(by));
    }
}

/// Starts in 2026, so that times look real.
impl Default for ManualClock {
    fn default() -> Self {
        Self::new(Timestamp::from_secs(1_790_000_000))
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.borrow()
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let mut time = self.0.subscribe();
        // The sender lives in `self`, so the wait only ends with the deadline.
        let _ = time.wait_for(|now| *now >= deadline).await;
    }
}
