use std::{fmt, sync::Arc};

use longshore_core::{Clock, Error, ErrorKind, Result, Timestamp};
use tokio::sync::watch;

use super::{ElectionState, FencingToken};

/// One term as leader. It ends once and never returns; the next one has a larger token.
///
/// Its end comes by itself: [`is_valid`](Self::is_valid) asks the clock, so it is also seen by a
/// program that was stopped for a while and goes on too late.
#[derive(Clone)]
pub struct Leadership {
    token: FencingToken,
    clock: Arc<dyn Clock>,
    state: watch::Receiver<ElectionState>,
}

impl Leadership {
    pub(super) fn new(
        token: FencingToken,
        clock: Arc<dyn Clock>,
        state: watch::Receiver<ElectionState>,
    ) -> Self {
        Self {
            token,
            clock,
            state,
        }
    }

    /// What every write by this leader carries.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// Until when it lasts unless renewed, by this process' clock; `None` when it has ended.
    pub fn valid_until(&self) -> Option<Timestamp> {
        let now = self.clock.now();
        self.state.borrow().leading_until(self.token, now)
    }

    /// Whether this is the leader now.
    pub fn is_valid(&self) -> bool {
        self.valid_until().is_some()
    }

    /// The token, for one more act as leader.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] when the leadership has ended.
    pub fn check(&self) -> Result<FencingToken> {
        if self.is_valid() {
            return Ok(self.token);
        }
        Err(
            Error::new(ErrorKind::Stale, "this leadership has ended: step down")
                .with_context("token", self.token),
        )
    }

    /// Waits for its end. Cancel safe.
    pub async fn ended(&self) {
        let mut state = self.state.clone();
        loop {
            let now = self.clock.now();
            let Some(until) = state.borrow_and_update().leading_until(self.token, now) else {
                return;
            };
            tokio::select! {
                changed = state.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.clock.sleep_until(until) => {}
            }
        }
    }
}

impl fmt::Debug for Leadership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leadership")
            .field("token", &self.token)
            .field("valid_until", &self.valid_until())
            .finish()
    }
}
