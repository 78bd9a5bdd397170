use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{BoxStream, Result};

/// A point in a store's history. Every change has a larger one than the change before, except that
/// the steps of one transaction may share theirs; it is comparable within one store only.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// A store's handle of a lease: wide enough for the session UUIDs of Consul.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u128);

/// A span of life that keys can be tied to: when it ends, they are deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The handle.
    pub id: LeaseId,
    /// How long one keep-alive lasts, as granted (a store may round the request).
    pub ttl: Duration,
}

impl Lease {
    /// What a store hands out.
    pub fn new(id: LeaseId, ttl: Duration) -> Self {
        Self { id, ttl }
    }
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvEntry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Bytes,
    /// When the key was last written.
    pub revision: Revision,
    /// The lease that it lives by.
    pub lease: Option<LeaseId>,
}

impl KvEntry {
    /// An entry without a lease.
    pub fn new(key: impl Into<String>, value: impl Into<Bytes>, revision: Revision) -> Self {
        Self {
            key: key.into(),
            value: value.into(),
            revision,
            lease: None,
        }
    }
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Expect {
    /// Anything.
    #[default]
    Any,
    /// The key does not exist.
    Absent,
    /// The key was last written at this revision.
    Revision(Revision),
}

/// How to put.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct PutOptions {
    /// The condition.
    pub expect: Expect,
    /// The lease to tie the key to.
    pub lease: Option<LeaseId>,
}

impl PutOptions {
    /// Under a condition.
    #[must_use]
    pub fn with_expect(mut self, expect: Expect) -> Self {
        self.expect = expect;
        self
    }

    /// Tied to a lease.
    #[must_use]
    pub fn with_lease(mut self, lease: LeaseId) -> Self {
        self.lease = Some(lease);
        self
    }
}

/// The keys under a prefix.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct KvRange {
    /// In key order.
    pub entries: Vec<KvEntry>,
    /// The store's revision when it was read: watch from here to miss nothing.
    pub revision: Revision,
    /// Whether the limit cut the answer short; read on from behind the last key.
    pub more: bool,
}

impl KvRange {
    /// What a store hands out.
    pub fn new(entries: Vec<KvEntry>, revision: Revision, more: bool) -> Self {
        Self {
            entries,
            revision,
            more,
        }
    }
}

/// One change under a watched prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KvEvent {
    /// A key was written.
    Put(KvEntry),
    /// A key was deleted or its lease ended.
    Deleted {
        /// The key.
        key: String,
        /// When.
        revision: Revision,
    },
    /// Changes may have been missed (compaction, session expiry): read the range again, and begin a
    /// new watch at that reading's revision. This watch goes on behind its own revision, and where
    /// changes of a key are told as one ([`KvCapabilities::every_change`]) it never mentions a key
    /// that came after it and went before its next look, even if the reading saw it.
    Resync(Revision),
}

/// The stream of a watch: in order, without gaps. It ends only with the store's client: an error
/// (the store can't be reached) is told once per outage, and the watch goes on behind it by itself.
pub type KvWatch = BoxStream<Result<KvEvent>>;

/// One step of a transaction.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TransactionOp {
    /// Write a key under a condition.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: Bytes,
        /// Condition and lease.
        options: PutOptions,
    },
    /// Delete a key under a condition.
    Delete {
        /// The key.
        key: String,
        /// The condition.
        expect: Expect,
    },
    /// Leave a key as it is, and all other steps undone unless its condition holds: so a write can
    /// depend on a key that it does not change.
    Check {
        /// The key.
        key: String,
        /// The condition.
        expect: Expect,
    },
}

impl TransactionOp {
    /// Writes a key under a condition.
    pub fn put(key: impl Into<String>, value: impl Into<Bytes>, options: PutOptions) -> Self {
        Self::Put {
            key: key.into(),
            value: value.into(),
            options,
        }
    }

    /// Deletes a key under a condition.
    pub fn delete(key: impl Into<String>, expect: Expect) -> Self {
        Self::Delete {
            key: key.into(),
            expect,
        }
    }

    /// Leaves a key as it is, if its condition holds.
    pub fn check(key: impl Into<String>, expect: Expect) -> Self {
        Self::Check {
            key: key.into(),
            expect,
        }
    }
}

/// What a store can do, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KvCapabilities {
    /// Several keys in one atomic step.
    pub transactions: bool,
    /// Survives a restart of the process or server.
    pub durable: bool,
    /// The shortest lease that it can keep.
    pub shortest_lease: Duration,
    /// Whether a watch tells every change. Stores without a history (Consul, ZooKeeper) tell the
    /// newest state of each key: of changes in quick succession the last one.
    pub every_change: bool,
    /// The largest value, in bytes; at most 1 MiB.
    pub largest_value: usize,
    /// The most steps of one transaction; at most 128.
    pub most_steps: usize,
}

impl KvCapabilities {
    /// A volatile store with transactions and a history, and the largest values and transactions.
    pub fn volatile(shortest_lease: Duration) -> Self {
        Self {
            transactions: true,
            durable: false,
            shortest_lease,
            every_change: true,
            largest_value: 1 << 20,
            most_steps: 128,
        }
    }

    /// As [`volatile`](Self::volatile), but what was acknowledged survives.
    pub fn durable(shortest_lease: Duration) -> Self {
        Self {
            durable: true,
            ..Self::volatile(shortest_lease)
        }
    }

    /// Says that watches tell the newest state of each key, not every change.
    #[must_use]
    pub fn without_history(mut self) -> Self {
        self.every_change = false;
        self
    }

    /// Sets the largest value, in bytes.
    #[must_use]
    pub fn with_largest_value(mut self, bytes: usize) -> Self {
        self.largest_value = bytes;
        self
    }

    /// Sets the most steps of one transaction.
    #[must_use]
    pub fn with_most_steps(mut self, steps: usize) -> Self {
        self.most_steps = steps;
        self
    }
}

/// A small, strongly consistent key-value store: under key-value discovery, leader election and
/// the control plane's state.
///
/// Keys are UTF-8 without NUL, 1 byte to 1 KiB; values at most
/// [`KvCapabilities::largest_value`] bytes; both refused beyond with
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput).
///
/// Rules held by the conformance suite: reads see all acknowledged writes; of several writers under
/// the same condition exactly one wins, the others get
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict); revisions grow; a range is sorted and
/// consistent; a watch from a revision gives every later change under the prefix once, in order, or
/// says [`KvEvent::Resync`] (without [`KvCapabilities::every_change`], the last of several changes of
/// a key stands for all of them); keys vanish with their lease and not before; an ended lease can't
/// be kept alive.
#[async_trait]
pub trait KvStore: Debug + Send + Sync + 'static {
    /// What this store can do.
    fn capabilities(&self) -> KvCapabilities;

    /// The store for people, as a URL without secrets.
    fn describe(&self) -> String;

    /// Reads a key. Cancel safe.
    async fn get(&self, key: &str) -> Result<Option<KvEntry>>;

    /// Writes a key and says at which revision.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the condition does not hold,
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when the lease has ended.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may or may not have written.
    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision>;

    /// Deletes a key; says whether there was one.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) when the condition does not hold.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may or may not have deleted.
    async fn delete(&self, key: &str, expect: Expect) -> Result<bool>;

    /// Reads up to `limit` keys that begin with `prefix` and come after `after` (exclusive; empty
    /// for the start). Cancel safe.
    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange>;

    /// Does all steps or none: at most [`KvCapabilities::most_steps`] of them, no key twice, whether
    /// it is written or checked. Says at which revision the last one was done, or, where nothing was
    /// written, one at which all conditions held.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) without
    /// [`KvCapabilities::transactions`],
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a key twice or too many steps;
    /// else as for the single steps.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may or may not have been carried out, never half.
    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision>;

    /// Starts a lease.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for a lease of no time.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may leave an unused lease, which ends by itself.
    async fn grant(&self, ttl: Duration) -> Result<Lease>;

    /// Extends a lease by its time to live. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) when it has ended.
    async fn keep_alive(&self, lease: LeaseId) -> Result<()>;

    /// Ends a lease and deletes its keys. Ending it twice is no error.
    async fn revoke(&self, lease: LeaseId) -> Result<()>;

    /// Changes under `prefix` after `from` (exclusive), or from now on. Dropping the stream ends
    /// the watch.
    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch;
}
