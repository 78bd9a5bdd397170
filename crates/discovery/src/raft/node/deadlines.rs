//! When leases end, as the leader counts. Each new leader counts anew.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use longshore_core::{LeaseId, Timestamp};

#[derive(Debug, Default)]
pub(super) struct Deadlines {
    /// Whether everything before our term is applied.
    begun: bool,
    ends: HashMap<LeaseId, (Duration, Timestamp)>,
    by_end: BTreeSet<(Timestamp, LeaseId)>,
}

impl Deadlines {
    /// All of them live for their whole time from now on.
    pub(super) fn begin(
        &mut self,
        leases: impl Iterator<Item = (LeaseId, Duration)>,
        now: Timestamp,
    ) {
        *self = Self {
            begun: true,
            ..Self::default()
        };
        for (lease, ttl) in leases {
            self.set(lease, ttl, now);
        }
    }

    pub(super) fn grant(&mut self, lease: LeaseId, ttl: Duration, now: Timestamp) {
        if self.begun && !self.ends.contains_key(&lease) {
            self.set(lease, ttl, now);
        }
    }

    /// Whether the lease lives on; not when its end is decided.
    pub(super) fn keep(&mut self, lease: LeaseId, now: Timestamp) -> bool {
        match self.ends.get(&lease).copied() {
            Some((ttl, end)) if end > now => {
                self.by_end.remove(&(end, lease));
                self.set(lease, ttl, now);
                true
            }
            _ => false,
        }
    }

    pub(super) fn remove(&mut self, leases: &[LeaseId]) {
        for lease in leases {
            if let Some((_, end)) = self.ends.remove(lease) {
                self.by_end.remove(&(end, *lease));
            }
        }
    }

    /// Leases whose time is over, each once.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Vec<LeaseId> {
        let mut due = Vec::new();
        while due.len() < MOST_AT_ONCE
            && let Some((end, lease)) = self.by_end.first().copied()
            && end <= now
        {
            self.by_end.pop_first();
            self.ends.remove(&lease);
            due.push(lease);
        }
        due
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(end, _)| *end)
    }

    fn set(&mut self, lease: LeaseId, ttl: Duration, now: Timestamp) {
        let end = now.after(ttl);
        self.ends.insert(lease, (ttl, end));
        self.by_end.insert((end, lease));
    }
}

/// Leases that one command ends.
const MOST_AT_ONCE: usize = 256;
