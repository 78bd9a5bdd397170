use std::{collections::HashMap, sync::Arc};

use longshore_core::{Identity, Result, SessionId, Timestamp};

use crate::session::{
    HubLimits,
    limits::{Census, Full},
    shared::Shared,
    user::{Accounts, Share},
};

/// The sessions of a hub, and who has how many.
#[derive(Debug, Default)]
pub(super) struct Places {
    sessions: HashMap<SessionId, Entry>,
    census: Census,
    accounts: Accounts,
    /// How many have ended.
    ended: u64,
}

#[derive(Debug)]
struct Entry {
    shared: Arc<Shared>,
    /// When it ended, as a number among the others.
    ended: Option<u64>,
    /// Whether it still has a place in the census.
    counted: bool,
    /// Its part in its user's account.
    share: Option<Share>,
}

/// A place for a session that is not there yet.
#[derive(Debug)]
pub(super) struct Entered {
    /// Its part in its user's account.
    pub(super) share: Option<Share>,
    /// Sessions that were given up for it.
    pub(super) given_up: Vec<Arc<Shared>>,
}

impl Places {
    /// Makes room by giving up sessions that have ended and are only kept.
    ///
    /// # Errors
    /// There is no room, or the user has used up his time.
    pub(super) fn enter(
        &mut self,
        who: &Identity,
        limits: &HubLimits,
        now: Timestamp,
    ) -> Result<Entered> {
        self.accounts.allow(who, now)?;
        let mut given_up = Vec::new();
        loop {
            let Err(full) = self.census.enter(who, limits) else {
                let share = self.accounts.join(who, limits, now);
                return Ok(Entered { share, given_up });
            };
            let kept = self.sessions.values_mut().filter(|entry| entry.counted);
            let kept = kept.filter(|entry| match full {
                Full::User(_) => entry.shared.who == *who,
                Full::All(_) => true,
            });
            let oldest = kept
                .filter_map(|entry| Some((entry.ended?, entry)))
                .min_by_key(|(ended, _)| *ended);
            let Some((_, oldest)) = oldest else {
                return Err(full.into());
            };
            oldest.counted = false;
            self.census.leave(&oldest.shared.who);
            given_up.push(Arc::clone(&oldest.shared));
        }
    }

    pub(super) fn add(&mut self, shared: Arc<Shared>, share: Option<Share>) {
        if share.is_some() {
            // The user's time is used up sooner than the others were told.
            let others = self.sessions.values();
            others
                .filter(|entry| entry.shared.who == shared.who)
                .for_each(|entry| entry.shared.driver.notify_one());
        }
        let entry = Entry {
            shared: Arc::clone(&shared),
            ended: None,
            counted: true,
            share,
        };
        self.sessions.insert(shared.id.clone(), entry);
    }

    /// It has ended, and is kept.
    pub(super) fn ended(&mut self, session: &SessionId, now: Timestamp) {
        self.ended += 1;
        if let Some(entry) = self.sessions.get_mut(session) {
            entry.ended = Some(self.ended);
            if let Some(share) = &entry.share {
                share.stop(now);
            }
        }
    }

    pub(super) fn remove(&mut self, session: &SessionId, now: Timestamp) {
        let Some(entry) = self.sessions.remove(session) else {
            return;
        };
        if entry.counted {
            self.census.leave(&entry.shared.who);
        }
        if let Some(share) = &entry.share {
            self.accounts.leave(&entry.shared.who, share, now);
        }
    }

    pub(super) fn find(&self, session: &SessionId) -> Option<&Arc<Shared>> {
        self.sessions.get(session).map(|entry| &entry.shared)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Shared>> {
        self.sessions.values().map(|entry| &entry.shared)
    }
}
