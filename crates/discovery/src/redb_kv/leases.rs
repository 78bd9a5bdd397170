//! Which leases live until when. In memory: a restart counts them anew.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_core::{Error, LeaseId, Result, Timestamp};

#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    leases: HashMap<LeaseId, (Duration, Timestamp)>,
    by_end: BTreeSet<(Timestamp, LeaseId)>,
}

impl Leases {
    pub(super) fn new(granted: Vec<(LeaseId, Duration)>, now: Timestamp) -> Self {
        let this = Self::default();
        for (id, ttl) in granted {
            this.insert(id, ttl, now);
        }
        this
    }

    pub(super) fn insert(&self, id: LeaseId, ttl: Duration, now: Timestamp) {
        let mut held = self.lock();
        let ends = now.after(ttl);
        held.leases.insert(id, (ttl, ends));
        held.by_end.insert((ends, id));
    }

    pub(super) fn remove(&self, id: LeaseId) {
        let mut held = self.lock();
        if let Some((_, ends)) = held.leases.remove(&id) {
            held.by_end.remove(&(ends, id));
        }
    }

    pub(super) fn keep_alive(&self, id: LeaseId, now: Timestamp) -> Result<()> {
        let mut held = self.lock();
        let Some((ttl, ends)) = held.leases.get(&id).copied() else {
            return Err(ended(id));
        };
        // Its end may be on its way to the disk.
        if ends <= now {
            return Err(ended(id));
        }
        held.by_end.remove(&(ends, id));
        let ends = now.after(ttl);
        held.by_end.insert((ends, id));
        held.leases.insert(id, (ttl, ends));
        Ok(())
    }

    /// Whether a lease lives.
    pub(super) fn check(&self, id: LeaseId, now: Timestamp) -> Result<()> {
        match self.lock().leases.get(&id) {
            Some((_, ends)) if *ends > now => Ok(()),
            _ => Err(ended(id)),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.lock().leases.len()
    }

    /// The leases that have ended by now.
    pub(super) fn due(&self, now: Timestamp) -> Vec<LeaseId> {
        let held = self.lock();
        held.by_end
            .iter()
            .take_while(|(ends, _)| *ends <= now)
            .map(|(_, id)| *id)
            .collect()
    }

    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.next_deadline().is_some_and(|ends| ends <= now)
    }

    /// When the next lease ends.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.lock().by_end.first().map(|(ends, _)| *ends)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        // Every change is one step, so a panic elsewhere leaves it sound.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended(id: LeaseId) -> Error {
    Error::not_found("the lease has ended")
        .with_context("lease", id.0)
        .with_backend("redb")
}
