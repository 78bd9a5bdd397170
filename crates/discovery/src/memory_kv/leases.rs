//! Which keys live until when. Pure.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use longshore_core::{Error, ErrorKind, Lease, LeaseId, Result, Timestamp};

/// The shortest lease; what is shorter is rounded up.
pub(super) const SHORTEST: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Leases {
    held: BTreeMap<LeaseId, Held>,
    /// The same leases by their end.
    by_end: BTreeSet<(Timestamp, LeaseId)>,
    /// The last handle given out; each is given once.
    last: u128,
}

#[derive(Debug)]
struct Held {
    ttl: Duration,
    ends: Timestamp,
    keys: BTreeSet<String>,
}

impl Leases {
    pub(super) fn grant(&mut self, ttl: Duration, now: Timestamp, most: usize) -> Result<Lease> {
        if ttl.is_zero() {
            return Err(Error::invalid("a lease needs a time to live above zero"));
        }
        if self.held.len() >= most {
            let message = format!("the store has {most} leases already");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        self.last += 1;
        let (id, ttl) = (LeaseId(self.last), ttl.max(SHORTEST));
        let ends = now.after(ttl);
        self.held.insert(
            id,
            Held {
                ttl,
                ends,
                keys: BTreeSet::new(),
            },
        );
        self.by_end.insert((ends, id));
        Ok(Lease::new(id, ttl))
    }

    pub(super) fn keep_alive(&mut self, id: LeaseId, now: Timestamp) -> Result<()> {
        let Some(held) = self.held.get_mut(&id) else {
            return Err(ended(id));
        };
        self.by_end.remove(&(held.ends, id));
        held.ends = now.after(held.ttl);
        self.by_end.insert((held.ends, id));
        Ok(())
    }

    pub(super) fn check(&self, id: LeaseId) -> Result<()> {
        if self.held.contains_key(&id) {
            Ok(())
        } else {
            Err(ended(id))
        }
    }

    #[cfg(feature = "raft")]
    pub(super) fn restore(last: u128, granted: Vec<(LeaseId, Duration)>) -> Self {
        let mut leases = Self {
            last,
            ..Self::default()
        };
        for (id, ttl) in granted {
            let (ends, keys) = (Timestamp::ZERO.after(ttl), BTreeSet::new());
            leases.held.insert(id, Held { ttl, ends, keys });
            leases.by_end.insert((ends, id));
        }
        leases
    }

    /// The last handle given out.
    #[cfg(feature = "raft")]
    pub(super) fn last(&self) -> u128 {
        self.last
    }

    /// All that live, with their time to live.
    #[cfg(feature = "raft")]
    pub(super) fn granted(&self) -> impl Iterator<Item = (LeaseId, Duration)> {
        self.held.iter().map(|(id, held)| (*id, held.ttl))
    }

    /// Ends a lease; gives its keys.
    pub(super) fn end(&mut self, id: LeaseId) -> BTreeSet<String> {
        let Some(held) = self.held.remove(&id) else {
            return BTreeSet::new();
        };
        self.by_end.remove(&(held.ends, id));
        held.keys
    }

    /// One lease that has ended by now.
    pub(super) fn next_ended(&self, now: Timestamp) -> Option<LeaseId> {
        self.by_end
            .first()
            .filter(|(ends, _)| *ends <= now)
            .map(|(_, id)| *id)
    }

    /// When the next lease ends.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(ends, _)| *ends)
    }

    pub(super) fn tie(&mut self, id: LeaseId, key: &str) {
        if let Some(held) = self.held.get_mut(&id) {
            held.keys.insert(key.to_owned());
        }
    }

    pub(super) fn untie(&mut self, id: LeaseId, key: &str) {
        if let Some(held) = self.held.get_mut(&id) {
            held.keys.remove(key);
        }
    }
}

fn ended(id: LeaseId) -> Error {
    Error::not_found("the lease has ended").with_context("lease", id.0)
}
