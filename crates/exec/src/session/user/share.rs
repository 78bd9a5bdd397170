use std::sync::{Arc, Mutex, MutexGuard};

use longshore_core::Timestamp;

use super::account::Account;
use crate::session::SessionEnd;

/// A session's part in its user's account.
#[derive(Clone, Debug)]
pub(in crate::session) struct Share {
    account: Arc<Mutex<Account>>,
    number: u64,
    counts_activity: bool,
}

impl Share {
    pub(super) fn new(account: Arc<Mutex<Account>>, now: Timestamp) -> Self {
        let mut state = super::lock(&account);
        let number = state.join(now);
        let counts_activity = state.has_idle();
        drop(state);
        Self {
            account,
            number,
            counts_activity,
        }
    }

    /// As many of these bytes as may go now, or when some may.
    pub(in crate::session) fn take(&self, want: usize, now: Timestamp) -> Result<usize, Timestamp> {
        let mut account = self.lock();
        let Some(rate) = account.rate() else {
            return Ok(want);
        };
        match rate.take(self.number, want, now) {
            0 => Err(rate.next_room(self.number)),
            granted => Ok(granted),
        }
    }

    /// Bytes that were taken and did not go.
    pub(in crate::session) fn give_back(&self, bytes: usize) {
        if bytes > 0
            && let Some(rate) = self.lock().rate()
        {
            rate.give_back(self.number, bytes);
        }
    }

    /// Something came in or out.
    pub(in crate::session) fn touch(&self, now: Timestamp) {
        if self.counts_activity {
            self.lock().touch(now);
        }
    }

    /// Why the session has to end now, for what all of its user's have done.
    pub(in crate::session) fn verdict(&self, now: Timestamp) -> Option<SessionEnd> {
        self.lock().verdict(now)
    }

    /// When there may be a verdict; others may bring it nearer by joining only.
    pub(in crate::session) fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        self.lock().deadline(now)
    }

    /// The session has ended.
    pub(in crate::session) fn stop(&self, now: Timestamp) {
        self.lock().stop(self.number, now);
    }

    pub(super) fn leave(&self, now: Timestamp) {
        self.lock().leave(self.number, now);
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        super::lock(&self.account)
    }
}
