use std::time::Duration;

use longshore_core::{Error, Result};

/// What a candidate does when it is elected on a store that knows of no leader before it: either
/// nobody ever was, or the store was wiped while somebody is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum NewStore {
    /// Waits one time to live before it acts, in which a leader from before the wipe has stepped
    /// down. The very first election on a store then takes so long.
    #[default]
    Wait,
    /// Acts at once. Right only where the store can't be wiped without stopping every candidate,
    /// as in one process.
    ActAtOnce,
}

/// How to take part in an election.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ElectionOptions {
    /// The lock. Swarm's is `<prefix>/docker/swarm/leader`. The token stands beside it, at the same
    /// key with `-token` behind it; nothing else may begin with this key.
    pub key: String,
    /// What others learn about this candidate when it leads: its advertised address. Each
    /// candidate needs its own. `None` only observes.
    pub advertise: Option<String>,
    /// How long a leadership lasts without renewal; the same for all candidates. Swarm's
    /// `--replication-ttl`, 20 s.
    pub ttl: Duration,
    /// What part of the time to live a leader steps down ahead of its lease's end, from 0 to 0.5:
    /// for clocks that run unequally, and for what is still under way. A tenth by default.
    pub margin: f64,
    /// What to do on a store without a past.
    pub new_store: NewStore,
}

impl ElectionOptions {
    /// A candidate under Swarm's key below `prefix`, which may be empty.
    pub fn candidate(prefix: &str, advertise: impl Into<String>) -> Self {
        Self {
            advertise: Some(advertise.into()),
            ..Self::observer(prefix)
        }
    }

    /// Learns who leads, and never does.
    pub fn observer(prefix: &str) -> Self {
        let prefix = prefix.trim_matches('/');
        let key = match prefix {
            "" => LOCK.to_owned(),
            prefix => format!("{prefix}/{LOCK}"),
        };
        Self {
            key,
            advertise: None,
            ttl: Duration::from_secs(20),
            margin: 0.1,
            new_store: NewStore::default(),
        }
    }

    /// Sets the lock's key.
    #[must_use]
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// Sets the time to live.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Sets how far ahead of its lease's end a leader steps down.
    #[must_use]
    pub fn with_margin(mut self, part: f64) -> Self {
        self.margin = part;
        self
    }

    /// Sets what to do on a store without a past.
    #[must_use]
    pub fn with_new_store(mut self, what: NewStore) -> Self {
        self.new_store = what;
        self
    }

    /// Where the token stands.
    pub(super) fn token_key(&self) -> String {
        format!("{}-token", self.key)
    }

    pub(super) fn check(&self, shortest: Duration) -> Result<()> {
        if self.key.is_empty() || self.key.len() > LONGEST || self.key.contains('\0') {
            return Err(Error::invalid(format!(
                "the election's key must have 1 to {LONGEST} bytes and no NUL"
            )));
        }
        if let Some(address) = &self.advertise
            && (address.is_empty() || address.len() > LONGEST)
        {
            return Err(Error::invalid(format!(
                "a candidate's address must have 1 to {LONGEST} bytes"
            )));
        }
        let least = shortest.max(SHORTEST);
        if self.ttl < least {
            return Err(Error::invalid(format!(
                "the leader's time to live must be at least {least:?} on this store, not {:?}",
                self.ttl
            )));
        }
        if !(0.0..=0.5).contains(&self.margin) {
            return Err(Error::invalid(format!(
                "the leader's margin must be from 0 to 0.5, not {}",
                self.margin
            )));
        }
        Ok(())
    }
}

const LOCK: &str = "docker/swarm/leader";
const LONGEST: usize = 512;
/// Below, a leader does little but renew.
const SHORTEST: Duration = Duration::from_millis(100);
