use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use longshore_core::{
    Clock, Expect, KvCapabilities, KvEntry, KvEvent, KvRange, KvStore, KvWatch, Lease, LeaseId,
    PutOptions, Result, Revision, Timestamp, TransactionOp,
};
use tokio::sync::watch;

mod history;
#[cfg(feature = "raft")]
mod image;
mod leases;
mod state;

pub(crate) use history::Told;
#[cfg(feature = "raft")]
pub(crate) use image::Image;
pub(crate) use state::State;

/// How much a [`MemoryKv`] holds at most.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct KvLimits {
    /// Bytes of keys and values.
    pub bytes: usize,
    /// Changes that are remembered for watches, in half of `bytes` at most; who is further behind
    /// must read again.
    pub history: usize,
    /// Leases at a time.
    pub leases: usize,
}

impl Default for KvLimits {
    /// 256 MiB, 10,000 changes, 65,536 leases.
    fn default() -> Self {
        Self {
            bytes: 256 << 20,
            history: 10_000,
            leases: 65_536,
        }
    }
}

impl KvLimits {
    /// Sets the bytes of keys and values.
    #[must_use]
    pub fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Sets how many changes are remembered.
    #[must_use]
    pub fn with_history(mut self, changes: usize) -> Self {
        self.history = changes;
        self
    }

    /// Sets how many leases there may be.
    #[must_use]
    pub fn with_leases(mut self, leases: usize) -> Self {
        self.leases = leases;
        self
    }
}

/// A [`KvStore`] in memory: for tests, simulations and a control plane without replicas. Clones are
/// clients of the same store. Nothing survives the process.
#[derive(Clone, Debug)]
pub struct MemoryKv {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Counts calls that may have changed something; watches wait for it.
    changes: watch::Sender<u64>,
}

impl MemoryKv {
    /// An empty store, whose leases follow this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(clock, KvLimits::default())
    }

    /// An empty store with other limits.
    pub fn with_limits(clock: Arc<dyn Clock>, limits: KvLimits) -> Self {
        let state = Mutex::new(State::new(limits));
        Self {
            shared: Arc::new(Shared {
                clock,
                state,
                changes: watch::Sender::new(0),
            }),
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Steps check everything before they change anything, so a panic elsewhere leaves it sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the state as it is now.
    fn read<R>(&self, look: impl FnOnce(&State) -> R) -> R {
        let now = self.clock.now();
        let mut state = self.lock();
        state.expire(now);
        look(&state)
    }

    /// Changes the state as it is now, and wakes watches.
    fn write<R>(&self, step: impl FnOnce(&mut State, Timestamp) -> Result<R>) -> Result<R> {
        let now = self.clock.now();
        let result = {
            let mut state = self.lock();
            state.expire(now);
            step(&mut state, now)
        };
        self.changes.send_modify(|count| *count += 1);
        result
    }
}

#[async_trait]
impl KvStore for MemoryKv {
    fn capabilities(&self) -> KvCapabilities {
        state::capabilities()
    }

    fn describe(&self) -> String {
        "memory://".to_owned()
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        Ok(self.shared.read(|state| state.get(key)))
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        let step = TransactionOp::put(key, value, options);
        self.shared
            .write(|state, _| state.apply(vec![step]).map(|done| done.revision))
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        let step = TransactionOp::delete(key, expect);
        self.shared
            .write(|state, _| state.apply(vec![step]).map(|done| done.deleted > 0))
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        Ok(self.shared.read(|state| state.range(prefix, after, limit)))
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        self.shared
            .write(|state, _| state.apply(steps).map(|done| done.revision))
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.shared.write(|state, now| state.grant(ttl, now))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.shared.write(|state, now| state.keep_alive(lease, now))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.shared.write(|state, _| {
            state.revoke(lease);
            Ok(())
        })
    }

    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        let follower = Follower {
            changes: self.shared.changes.subscribe(),
            behind: from.unwrap_or_else(|| self.shared.read(State::revision)),
            shared: self.shared.clone(),
            prefix: prefix.to_owned(),
            due: VecDeque::new(),
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await;
            Some((Ok(event), follower))
        })
        .boxed()
    }
}

/// One watch: a place in the history. It holds a few events at most, so a slow reader costs nothing;
/// one that falls behind the history is told to read again.
struct Follower {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    prefix: String,
    /// Everything up to here was told or is due.
    behind: Revision,
    due: VecDeque<KvEvent>,
}

impl Follower {
    async fn next(&mut self) -> KvEvent {
        loop {
            if let Some(event) = self.due.pop_front() {
                return event;
            }
            self.changes.mark_unchanged();
            let (told, expiry) = self.shared.read(|state| {
                (
                    state.changes_after(self.behind, &self.prefix),
                    state.next_deadline(),
                )
            });
            match told {
                Told::Events { events, up_to } => {
                    self.due = events;
                    self.behind = up_to;
                }
                Told::Forgotten { now_at } => {
                    self.behind = now_at;
                    self.due.push_back(KvEvent::Resync(now_at));
                }
            }
            if !self.due.is_empty() {
                continue;
            }
            // `self.shared` holds the sender, so the wait for a change only ends with one.
            match expiry {
                None => drop(self.changes.changed().await),
                Some(at) => tokio::select! {
                    _ = self.changes.changed() => {}
                    () = self.shared.clock.sleep_until(at) => {}
                },
            }
        }
    }
}
