//! A store as the machine sees it, independent of the one that ships.

use std::collections::BTreeMap;

use longshore_core::{
    Error, ErrorKind, Expect, KvEntry, Lease, LeaseId, Random, Result, Revision, Timestamp,
};

use super::super::{
    call::{Answer, Call},
    options::ElectionOptions,
};

#[derive(Default)]
pub(super) struct Store {
    keys: BTreeMap<String, KvEntry>,
    leases: BTreeMap<LeaseId, Timestamp>,
    revision: u64,
    /// Counts changes and wipes, for watches.
    pub(super) changes: u64,
    pub(super) wipes: u64,
}

impl Store {
    /// A record that a leader of long ago left behind, backed by no lease.
    pub(super) fn leave_ghost(&mut self, key: &str) {
        self.write(key, b"ghost:1".to_vec(), None);
    }

    pub(super) fn wipe(&mut self) {
        *self = Self {
            changes: self.changes + 1,
            wipes: self.wipes + 1,
            ..Self::default()
        };
    }

    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        self.leases.values().min().copied()
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let ended = self.leases.iter().filter(|(_, end)| **end <= now);
        let ended: Vec<LeaseId> = ended.map(|(id, _)| *id).collect();
        for id in ended {
            self.end(id);
        }
    }

    fn end(&mut self, id: LeaseId) {
        self.leases.remove(&id);
        let before = self.keys.len();
        self.keys.retain(|_, entry| entry.lease != Some(id));
        self.changes += u64::from(self.keys.len() != before);
    }

    pub(super) fn apply(
        &mut self,
        call: &Call,
        options: &ElectionOptions,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<Answer> {
        self.expire(now);
        match call {
            Call::ReadLock => Ok(Answer::Lock(self.keys.get(&options.key).cloned())),
            Call::ReadToken => Ok(Answer::Token(self.keys.get(&options.token_key()).cloned())),
            Call::Grant => {
                let id = LeaseId(random.next_u64());
                self.leases.insert(id, now.after(options.ttl));
                Ok(Answer::Granted(Lease::new(id, options.ttl)))
            }
            Call::TakeLock { lease, expect } => {
                self.live(*lease)?;
                self.expect(&options.key, *expect)?;
                let address = options.advertise.clone().unwrap();
                self.write(&options.key, address.into_bytes(), Some(*lease));
                Ok(Answer::Taken)
            }
            Call::WriteToken { token, expect } => {
                self.expect(&options.token_key(), *expect)?;
                self.write(&options.token_key(), token.to_string().into_bytes(), None);
                Ok(Answer::TokenWritten)
            }
            Call::KeepAlive(lease) => {
                self.live(*lease)?;
                self.leases.insert(*lease, now.after(options.ttl));
                Ok(Answer::KeptAlive)
            }
            Call::Revoke(lease) => {
                self.end(*lease);
                Ok(Answer::Revoked)
            }
        }
    }

    fn live(&self, lease: LeaseId) -> Result<()> {
        match self.leases.contains_key(&lease) {
            true => Ok(()),
            false => Err(Error::not_found("the lease has ended")),
        }
    }

    fn expect(&self, key: &str, expect: Expect) -> Result<()> {
        let found = self.keys.get(key).map(|entry| entry.revision);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => found.is_none(),
            Expect::Revision(revision) => found == Some(revision),
        };
        match holds {
            true => Ok(()),
            false => Err(Error::new(ErrorKind::Conflict, "not as expected")),
        }
    }

    fn write(&mut self, key: &str, value: Vec<u8>, lease: Option<LeaseId>) {
        self.revision += 1;
        self.changes += 1;
        let mut entry = KvEntry::new(key, value, Revision(self.revision));
        entry.lease = lease;
        self.keys.insert(key.to_owned(), entry);
    }
}
