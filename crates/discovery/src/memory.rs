use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use longshore_core::{
    Announcement, Clock, Discovery, DiscoveryCapabilities, Error, Membership, MembershipEvent,
    MembershipStream, Registration, Result, Timestamp, WatchMode,
};
use tokio::sync::watch;

use crate::diff::{Nodes, news};

mod registry;

use registry::Registry;

/// Discovery within one process: for tests, simulations and a control plane with its nodes in one
/// binary. Clones are clients of the same cluster.
#[derive(Clone, Debug)]
pub struct MemoryDiscovery {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Counts changes; watches wait for it.
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    registry: Registry,
    unreachable: bool,
}

impl MemoryDiscovery {
    /// An empty cluster, whose leases follow this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = Mutex::new(State::default());
        Self {
            shared: Arc::new(Shared {
                clock,
                state,
                changes: watch::Sender::new(0),
            }),
        }
    }

    /// Plays an outage: while unreachable, every call fails and watches tell of a problem. Leases
    /// run on.
    pub fn set_reachable(&self, reachable: bool) {
        self.shared.lock().unreachable = !reachable;
        self.shared.tell();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change of the state is one step, so a panic elsewhere leaves it sound.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// One step on the registry as it is now, unless there is an outage.
    fn step<R>(&self, step: impl FnOnce(&mut Registry, Timestamp) -> Result<R>) -> Result<R> {
        let now = self.clock.now();
        let mut state = self.lock();
        if state.unreachable {
            return Err(
                Error::unavailable("the cluster in memory is out of reach").with_backend("memory")
            );
        }
        state.registry.expire(now);
        step(&mut state.registry, now)
    }
}

#[async_trait]
impl Discovery for MemoryDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::registering(WatchMode::Push).with_metadata()
    }

    fn describe(&self) -> String {
        "memory://".to_owned()
    }

    async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration> {
        let done = self
            .shared
            .step(|registry, now| registry.register(node, ttl, now))?;
        self.shared.tell();
        Ok(done)
    }

    async fn renew(&self, registration: &Registration) -> Result<Registration> {
        self.shared
            .step(|registry, now| registry.renew(registration, now))
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        self.shared.step(|registry, _| {
            registry.deregister(registration);
            Ok(())
        })?;
        self.shared.tell();
        Ok(())
    }

    async fn list(&self) -> Result<Membership> {
        let nodes = self.shared.step(|registry, _| Ok(registry.nodes()))?;
        Ok(Membership::new(nodes.into_values().collect(), Vec::new()))
    }

    fn watch(&self) -> MembershipStream {
        let follower = Follower {
            changes: self.shared.changes.subscribe(),
            shared: self.shared.clone(),
            due: VecDeque::new(),
            told: None,
            cut_off: false,
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await;
            Some((event, follower))
        })
        .boxed()
    }
}

/// One watch. It compares sets instead of queueing events, so a slow reader costs nothing.
struct Follower {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    due: VecDeque<MembershipEvent>,
    told: Option<Nodes>,
    cut_off: bool,
}

impl Follower {
    async fn next(&mut self) -> MembershipEvent {
        loop {
            if let Some(event) = self.due.pop_front() {
                return event;
            }
            self.changes.mark_unchanged();
            let expiry = self.look();
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

    /// Notes what changed; says when the next lease ends.
    fn look(&mut self) -> Option<Timestamp> {
        let found = self
            .shared
            .step(|registry, _| Ok((registry.nodes(), registry.next_deadline())));
        match found {
            Ok((nodes, expiry)) => {
                let recovered = std::mem::take(&mut self.cut_off);
                let told = self.told.as_ref().filter(|_| !recovered);
                self.due.extend(news(told, &nodes));
                self.told = Some(nodes);
                expiry
            }
            Err(error) => {
                if !std::mem::replace(&mut self.cut_off, true) {
                    self.due.push_back(MembershipEvent::Problem(error));
                }
                None
            }
        }
    }
}
