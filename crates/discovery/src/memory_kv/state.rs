//! The store as a pure state machine: every call is a step at a given time.

use std::{collections::BTreeMap, ops::Bound, time::Duration};

use longshore_core::{
    Error, ErrorKind, Expect, KvCapabilities, KvEntry, KvEvent, KvRange, Lease, LeaseId, Result,
    Revision, Timestamp, TransactionOp,
};

use super::{
    KvLimits,
    history::{History, Told},
    leases::{Leases, SHORTEST},
};
use crate::kv_step;

#[derive(Debug)]
pub(crate) struct State {
    limits: KvLimits,
    pub(super) revision: Revision,
    pub(super) entries: BTreeMap<String, KvEntry>,
    /// Of keys and values.
    pub(super) bytes: usize,
    pub(super) leases: Leases,
    pub(super) history: History,
}

/// What steps did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) revision: Revision,
    pub(crate) deleted: usize,
}

impl State {
    pub(crate) fn new(limits: KvLimits) -> Self {
        Self {
            limits,
            revision: Revision(0),
            entries: BTreeMap::new(),
            bytes: 0,
            leases: Leases::default(),
            history: History::new(limits.history, limits.bytes / 2),
        }
    }

    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// Ends the leases whose time is over.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while let Some(lease) = self.leases.next_ended(now) {
            self.revoke(lease);
        }
    }

    /// When the state changes by itself.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.leases.next_deadline()
    }

    pub(crate) fn get(&self, key: &str) -> Option<KvEntry> {
        self.entries.get(key).cloned()
    }

    pub(crate) fn range(&self, prefix: &str, after: &str, limit: usize) -> KvRange {
        let start = match after >= prefix {
            true => Bound::Excluded(after),
            false => Bound::Included(prefix),
        };
        let mut under = self
            .entries
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(_, entry)| entry)
            .take_while(|entry| entry.key.starts_with(prefix));
        let entries = under.by_ref().take(limit).cloned().collect();
        KvRange::new(entries, self.revision, under.next().is_some())
    }

    pub(crate) fn changes_after(&self, from: Revision, prefix: &str) -> Told {
        self.history.after(from, prefix, self.revision)
    }

    pub(crate) fn grant(&mut self, ttl: Duration, now: Timestamp) -> Result<Lease> {
        self.leases.grant(ttl, now, self.limits.leases)
    }

    pub(super) fn keep_alive(&mut self, lease: LeaseId, now: Timestamp) -> Result<()> {
        self.leases.keep_alive(lease, now)
    }

    pub(crate) fn revoke(&mut self, lease: LeaseId) {
        for key in self.leases.end(lease) {
            self.remove(&key);
        }
    }

    /// All steps or none: everything is checked before anything is done.
    pub(crate) fn apply(&mut self, steps: Vec<TransactionOp>) -> Result<Done> {
        kv_step::check(&steps, &capabilities())?;
        let mut growth = 0usize;
        for step in &steps {
            match step {
                TransactionOp::Put {
                    key,
                    value,
                    options,
                } => {
                    self.check_condition(key, options.expect)?;
                    if let Some(lease) = options.lease {
                        self.leases.check(lease)?;
                    }
                    let replaced = self.entries.get(key).map_or(0, size);
                    growth += (key.len() + value.len()).saturating_sub(replaced);
                }
                TransactionOp::Delete { key, expect } | TransactionOp::Check { key, expect } => {
                    self.check_condition(key, *expect)?;
                }
                _ => return Err(Error::unsupported("a step that this store does not know")),
            }
        }
        if growth > 0 && self.bytes.saturating_add(growth) > self.limits.bytes {
            let message = format!(
                "the store is full: it holds at most {} bytes",
                self.limits.bytes
            );
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        let mut deleted = 0;
        for step in steps {
            match step {
                TransactionOp::Put {
                    key,
                    value,
                    options,
                } => {
                    let mut entry = KvEntry::new(key, value, self.next_revision());
                    entry.lease = options.lease;
                    self.insert(entry);
                }
                TransactionOp::Delete { key, .. } => deleted += usize::from(self.remove(&key)),
                _ => {}
            }
        }
        Ok(Done {
            revision: self.revision,
            deleted,
        })
    }

    fn check_condition(&self, key: &str, expect: Expect) -> Result<()> {
        let found = self.entries.get(key).map(|entry| entry.revision);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Revision(wanted) => found == Some(wanted),
        };
        if holds {
            return Ok(());
        }
        let found = found.map_or("absent".to_owned(), |revision| {
            format!("revision {}", revision.0)
        });
        Err(
            Error::new(ErrorKind::Conflict, "the key is not as expected")
                .with_context("key", key.escape_debug())
                .with_context("found", found),
        )
    }

    fn next_revision(&mut self) -> Revision {
        self.revision = Revision(self.revision.0 + 1);
        self.revision
    }

    fn insert(&mut self, entry: KvEntry) {
        if let Some(lease) = entry.lease {
            self.leases.tie(lease, &entry.key);
        }
        self.bytes += size(&entry);
        self.history
            .push(entry.revision, KvEvent::Put(entry.clone()));
        let lease = entry.lease;
        if let Some(replaced) = self.entries.insert(entry.key.clone(), entry) {
            self.bytes -= size(&replaced);
            if let Some(old) = replaced.lease.filter(|old| Some(*old) != lease) {
                self.leases.untie(old, &replaced.key);
            }
        }
    }

    /// Says whether there was such a key.
    fn remove(&mut self, key: &str) -> bool {
        let Some(entry) = self.entries.remove(key) else {
            return false;
        };
        self.bytes -= size(&entry);
        if let Some(lease) = entry.lease {
            self.leases.untie(lease, key);
        }
        let revision = self.next_revision();
        self.history.push(
            revision,
            KvEvent::Deleted {
                key: entry.key,
                revision,
            },
        );
        true
    }
}

pub(super) fn size(entry: &KvEntry) -> usize {
    entry.key.len() + entry.value.len()
}

pub(super) fn capabilities() -> KvCapabilities {
    KvCapabilities::volatile(SHORTEST)
}

#[cfg(test)]
mod tests;
