use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;

use crate::{Error, ErrorKind, Result, Timestamp};

/// Time, injected. Everything in longshore that waits or compares times takes one.
///
/// Rules held by the conformance suite: [`now`](Self::now) never runs backwards; after
/// [`sleep_until`](Self::sleep_until) returns, `now` is not before the deadline; a deadline in the
/// past returns at once.
#[async_trait]
pub trait Clock: Debug + Send + Sync + 'static {
    /// The present.
    fn now(&self) -> Timestamp;

    /// Waits until `deadline`.
    ///
    /// # Cancel safety
    /// Dropping the future stops the wait and has no other effect.
    async fn sleep_until(&self, deadline: Timestamp);
}

/// Conveniences over any [`Clock`].
#[async_trait]
pub trait ClockExt: Clock {
    /// Waits for `duration`. Cancel safe like [`Clock::sleep_until`].
    async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now().after(duration)).await;
    }

    /// Runs `future`, for at most `limit`.
    ///
    /// # Errors
    /// [`ErrorKind::Timeout`], naming `what`, when the limit passes first. The future is dropped
    /// then, so it must be cancel safe.
    async fn timeout<F>(&self, limit: Duration, what: &'static str, future: F) -> Result<F::Output>
    where
        F: Future + Send,
        F::Output: Send,
    {
        let deadline = self.now().after(limit);
        tokio::select! {
            biased;
            output = future => Ok(output),
            () = self.sleep_until(deadline) => Err(Error::new(
                ErrorKind::Timeout,
                format!("{what} took longer than {limit:?}"),
            )),
        }
    }
}

impl<C: Clock + ?Sized> ClockExt for C {}

/// The machine's clock: wall time read once, then counted on by tokio's monotonic timer, so that
/// it never runs backwards and follows tokio's paused time in tests.
///
/// Wall time that is set while the process runs is not followed; records may then be off by the
/// amount of the change until a restart.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    wall: Timestamp,
    start: tokio::time::Instant,
}

impl SystemClock {
    /// Reads the wall clock.
    pub fn new() -> Self {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Self {
            wall: Timestamp::ZERO.after(wall),
            start: tokio::time::Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.wall.after(self.start.elapsed())
    }

    async fn sleep_until(&self, deadline: Timestamp) {
        let wait = deadline.since(self.now());
        if !wait.is_zero() {
            // Rounded up: a deadline is never reported as reached before it is.
            tokio::time::sleep(wait + Duration::from_micros(1)).await;
        }
    }
}
