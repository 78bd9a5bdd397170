//! What a user's sessions may take together.

mod account;
mod share;
mod shared_rate;
mod time;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use longshore_core::{Error, ErrorKind, Identity, Result, Timestamp};

use self::account::Account;
pub(super) use self::share::Share;
use super::HubLimits;

/// The accounts of users who have sessions, and of those whose account is not even yet.
///
/// Only who has opened a session has one. Those without a session are forgotten as soon as a new
/// account would say the same, and at the latest when there are too many of them.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    users: HashMap<Identity, Arc<Mutex<Account>>>,
}

impl Accounts {
    /// Whether the user may open another session.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`]: the user's sessions have run for as long as they may.
    pub(super) fn allow(&self, who: &Identity, now: Timestamp) -> Result<()> {
        let Some(account) = self.users.get(who) else {
            return Ok(());
        };
        let Some((limit, next)) = lock(account).refusal(now) else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::ResourceExhausted,
            format!(
                "this user's sessions have run for {:?} together, which is all they may within \
                 {:?}: try again in {} s",
                limit.time,
                limit.every,
                next.since(now).as_secs() + 1
            ),
        ))
    }

    /// Counts one more session of the user; `None` where users have no limits but their number of
    /// sessions.
    pub(super) fn join(
        &mut self,
        who: &Identity,
        limits: &HubLimits,
        now: Timestamp,
    ) -> Option<Share> {
        if !Account::is_needed(limits) {
            return None;
        }
        let most = limits.sessions.saturating_add(MOST_REMEMBERED);
        if self.users.len() >= most && !self.users.contains_key(who) {
            self.forget(most, now);
        }
        let account = self
            .users
            .entry(who.clone())
            .or_insert_with(|| Arc::new(Mutex::new(Account::new(limits, now))));
        Some(Share::new(Arc::clone(account), now))
    }

    /// A session is not kept any more.
    pub(super) fn leave(&mut self, who: &Identity, share: &Share, now: Timestamp) {
        share.leave(now);
        if self
            .users
            .get(who)
            .is_some_and(|account| lock(account).is_even(now))
        {
            self.users.remove(who);
        }
    }

    /// Makes room: accounts that say nothing go first, then an eighth of those without a session,
    /// the least used before the others.
    fn forget(&mut self, most: usize, now: Timestamp) {
        self.users.retain(|_, account| !lock(account).is_even(now));
        if self.users.len() < most {
            return;
        }
        let mut idle: Vec<_> = self
            .users
            .iter()
            .filter_map(|(who, account)| Some((lock(account).used_without_session()?, who.clone())))
            .collect();
        idle.sort_by_key(|(used, _)| *used);
        let gone = (idle.len() / 8).max(1);
        for (_, who) in idle.into_iter().take(gone) {
            self.users.remove(&who);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }
}

fn lock(account: &Mutex<Account>) -> std::sync::MutexGuard<'_, Account> {
    account.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How many accounts there may be beyond the number of sessions. Each takes a few hundred bytes.
const MOST_REMEMBERED: usize = 10_000;

#[cfg(test)]
mod tests;
