//! Changing the file, within one write transaction of redb: everything is checked before anything
//! is changed, so a step that is refused leaves no trace in the transaction that it shares.

use std::time::Duration;

use longshore_core::{
    Error, ErrorKind, Expect, Lease, LeaseId, Result, Revision, Timestamp, TransactionOp,
};
use redb::{
    Database, MultimapTable, ReadableDatabase, ReadableMultimapTable, ReadableTable, Table,
    WriteTransaction,
};

use super::{
    failure,
    leases::Leases,
    tables::{
        BYTES, DELETED, ENTRIES, FORGOTTEN, HISTORY, HISTORY_BYTES, LAST_LEASE, LAYOUT, LEASE_KEYS,
        LEASES, META, PUT, REVISION,
    },
};
use crate::{KvLimits, kv_step};

/// What steps did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) revision: Revision,
    pub(super) deleted: usize,
}

/// Makes the tables where they are missing; gives the leases that were granted.
pub(super) fn prepare(database: &Database) -> Result<Vec<(LeaseId, Duration)>> {
    let change = database.begin_write().map_err(failure::of)?;
    {
        let mut open = Open::new(&change)?;
        match open.number(LAYOUT)? {
            0 => open.set(LAYOUT, 1)?,
            1 => {}
            other => {
                return Err(Error::unsupported(format!(
                    "the store was written by a newer longshore (layout {other})"
                )));
            }
        }
    }
    change.commit().map_err(failure::of)?;
    let look = database.begin_read().map_err(failure::of)?;
    let leases = look.open_table(LEASES).map_err(failure::of)?;
    let mut granted = Vec::new();
    for pair in leases.iter().map_err(failure::of)? {
        let (id, ttl) = pair.map_err(failure::of)?;
        granted.push((LeaseId(id.value()), Duration::from_millis(ttl.value())));
    }
    Ok(granted)
}

/// The tables, open for one write transaction.
pub(super) struct Open<'a> {
    entries: Table<'a, &'static str, (u64, u128, &'static [u8])>,
    history: Table<'a, u64, (&'static str, u8, u128, &'static [u8])>,
    leases: Table<'a, u128, u64>,
    lease_keys: MultimapTable<'a, u128, &'static str>,
    meta: Table<'a, &'static str, u64>,
}

impl<'a> Open<'a> {
    pub(super) fn new(change: &'a WriteTransaction) -> Result<Self> {
        Ok(Self {
            entries: change.open_table(ENTRIES).map_err(failure::of)?,
            history: change.open_table(HISTORY).map_err(failure::of)?,
            leases: change.open_table(LEASES).map_err(failure::of)?,
            lease_keys: change
                .open_multimap_table(LEASE_KEYS)
                .map_err(failure::of)?,
            meta: change.open_table(META).map_err(failure::of)?,
        })
    }

    /// All steps or none.
    pub(super) fn apply(
        &mut self,
        steps: &[TransactionOp],
        leases: &Leases,
        limits: &KvLimits,
        now: Timestamp,
    ) -> Result<Done> {
        let mut growth = 0u64;
        for step in steps {
            let key = kv_step::key(step);
            let replaced = self.check(key, kv_step::expect(step))?;
            if let TransactionOp::Put { value, options, .. } = step {
                if let Some(lease) = options.lease {
                    leases.check(lease, now)?;
                }
                growth += ((key.len() + value.len()) as u64).saturating_sub(replaced);
            }
        }
        if growth > 0 && self.number(BYTES)? + growth > limits.bytes as u64 {
            let message = format!("the store is full: it holds at most {} bytes", limits.bytes);
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        let mut deleted = 0;
        for step in steps {
            match step {
                TransactionOp::Put {
                    key,
                    value,
                    options,
                } => self.put(key, value, options.lease)?,
                TransactionOp::Delete { key, .. } => deleted += usize::from(self.delete(key)?),
                TransactionOp::Check { .. } => {}
                _ => return Err(Error::unsupported("a step that this store does not know")),
            }
        }
        self.forget(limits)?;
        let revision = Revision(self.number(REVISION)?);
        Ok(Done { revision, deleted })
    }

    /// Notes a new lease.
    pub(super) fn grant(&mut self, ttl: Duration) -> Result<Lease> {
        let id = self.number(LAST_LEASE)? + 1;
        self.set(LAST_LEASE, id)?;
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        self.leases
            .insert(u128::from(id), millis)
            .map_err(failure::of)?;
        Ok(Lease::new(LeaseId(id.into()), ttl))
    }

    /// Ends a lease and deletes its keys.
    pub(super) fn revoke(&mut self, lease: LeaseId, limits: &KvLimits) -> Result<()> {
        self.leases.remove(lease.0).map_err(failure::of)?;
        let mut keys = Vec::new();
        for key in self.lease_keys.get(lease.0).map_err(failure::of)? {
            keys.push(key.map_err(failure::of)?.value().to_owned());
        }
        for key in keys {
            self.delete(&key)?;
        }
        self.forget(limits)
    }

    /// The size of what is there; an error when it is not as expected.
    fn check(&self, key: &str, expect: Expect) -> Result<u64> {
        let found = self.entries.get(key).map_err(failure::of)?;
        let found = found.map(|found| {
            let (revision, _, value) = found.value();
            (Revision(revision), (key.len() + value.len()) as u64)
        });
        let revision = found.map(|(revision, _)| revision);
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => revision.is_none(),
            Expect::Revision(wanted) => revision == Some(wanted),
        };
        if holds {
            return Ok(found.map_or(0, |(_, size)| size));
        }
        let shown = revision.map_or("absent".to_owned(), |at| format!("revision {}", at.0));
        Err(
            Error::new(ErrorKind::Conflict, "the key is not as expected")
                .with_context("key", key.escape_debug())
                .with_context("found", shown)
                .with_backend("redb"),
        )
    }

    fn put(&mut self, key: &str, value: &[u8], lease: Option<LeaseId>) -> Result<()> {
        let (revision, lease) = (self.next_revision()?, lease.map_or(0, |lease| lease.0));
        self.release(key)?;
        self.entries
            .insert(key, (revision, lease, value))
            .map_err(failure::of)?;
        if lease != 0 {
            self.lease_keys.insert(lease, key).map_err(failure::of)?;
        }
        let size = (key.len() + value.len()) as u64;
        self.add(BYTES, size)?;
        self.note(revision, (key, PUT, lease, value))
    }

    fn delete(&mut self, key: &str) -> Result<bool> {
        if !self.release(key)? {
            return Ok(false);
        }
        self.entries.remove(key).map_err(failure::of)?;
        let revision = self.next_revision()?;
        self.note(revision, (key, DELETED, 0, &[]))?;
        Ok(true)
    }

    /// Takes an entry off its lease and out of the sum; says whether there is one.
    fn release(&mut self, key: &str) -> Result<bool> {
        let found = self.entries.get(key).map_err(failure::of)?;
        let Some((lease, size)) = found.map(|found| {
            let (_, lease, value) = found.value();
            (lease, (key.len() + value.len()) as u64)
        }) else {
            return Ok(false);
        };
        if lease != 0 {
            self.lease_keys.remove(lease, key).map_err(failure::of)?;
        }
        let bytes = self.number(BYTES)?;
        self.set(BYTES, bytes.saturating_sub(size))?;
        Ok(true)
    }

    fn note(&mut self, revision: u64, change: (&str, u8, u128, &[u8])) -> Result<()> {
        self.add(HISTORY_BYTES, (change.0.len() + change.3.len()) as u64)?;
        self.history.insert(revision, change).map_err(failure::of)?;
        Ok(())
    }

    /// Drops the oldest changes until the history is within its bounds.
    fn forget(&mut self, limits: &KvLimits) -> Result<()> {
        let mut bytes = self.number(HISTORY_BYTES)?;
        let mut count = self.history_len()?;
        while count > limits.history as u64 || bytes > limits.bytes as u64 / 2 {
            let first = self.history.pop_first().map_err(failure::of)?;
            let Some((revision, size)) = first.map(|(at, change)| {
                let (key, _, _, value) = change.value();
                (at.value(), (key.len() + value.len()) as u64)
            }) else {
                break;
            };
            count -= 1;
            bytes = bytes.saturating_sub(size);
            self.set(FORGOTTEN, revision)?;
        }
        self.set(HISTORY_BYTES, bytes)
    }

    fn history_len(&self) -> Result<u64> {
        use redb::ReadableTableMetadata;
        self.history.len().map_err(failure::of)
    }

    fn next_revision(&mut self) -> Result<u64> {
        let revision = self.number(REVISION)? + 1;
        self.set(REVISION, revision)?;
        Ok(revision)
    }

    fn add(&mut self, name: &'static str, more: u64) -> Result<()> {
        let sum = self.number(name)? + more;
        self.set(name, sum)
    }

    fn number(&self, name: &'static str) -> Result<u64> {
        let found = self.meta.get(name).map_err(failure::of)?;
        Ok(found.map_or(0, |found| found.value()))
    }

    fn set(&mut self, name: &'static str, number: u64) -> Result<()> {
        self.meta.insert(name, number).map_err(failure::of)?;
        Ok(())
    }
}
