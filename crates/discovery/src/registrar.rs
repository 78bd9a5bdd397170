use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{StreamExt, stream::FuturesUnordered};
use longshore_core::{
    Announcement, Clock, ClockExt, Discovery, Endpoint, Error, ErrorKind, Random, Registration,
    Result, Shutdown, Timestamp,
};
use tokio::sync::watch;

mod options;
mod schedule;

pub use options::RegistrarOptions;
use schedule::{Order, Schedule};

/// How the registrations of a [`Registrar`] stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistrarState {
    /// How many nodes are registered, as far as is known.
    pub registered: usize,
    /// How many nodes' last request failed.
    pub failing: usize,
    /// When a request last succeeded.
    pub last_success: Option<Timestamp>,
    /// Why the last failed request did, and when.
    pub last_error: Option<(String, Timestamp)>,
}

/// How one node's registration stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeartbeatState {
    /// Whether others see it, as far as is known.
    pub registered: bool,
    /// When its last request succeeded.
    pub last_success: Option<Timestamp>,
    /// Why its last failed request did, and when.
    pub last_error: Option<(String, Timestamp)>,
}

/// Keeps nodes registered: announces each, renews it every heartbeat with ±10 % jitter, tries again
/// when that fails, and takes all back at the end.
///
/// One registrar holds as many nodes as its request rate can renew, and never asks the backend more
/// often than that: also not when ten thousand nodes are added, or expire, at once. A failed
/// heartbeat is logged once, and so is the recovery.
///
/// Clones are the same registrar.
///
/// ```
/// # use std::{sync::Arc, time::Duration};
/// # use longshore_core::{Announcement, Discovery, OsRandom, Shutdown, SystemClock};
/// use longshore_discovery::{MemoryDiscovery, Registrar, RegistrarOptions};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> longshore_core::Result<()> {
/// let clock = Arc::new(SystemClock::new());
/// let discovery = Arc::new(MemoryDiscovery::new(clock.clone()));
/// let options = RegistrarOptions::default();
/// let registrar = Registrar::new(discovery.clone(), options, clock.clone(), Arc::new(OsRandom))?;
/// registrar.add(Announcement::new("10.0.0.1:2375".parse()?))?;
///
/// let shutdown = Shutdown::new();
/// let (keeper, until) = (registrar.clone(), shutdown.clone());
/// shutdown.spawn(async move { keeper.run(&until).await });
/// # tokio::time::sleep(Duration::from_secs(1)).await;
/// assert_eq!(discovery.list().await?.nodes.len(), 1);
///
/// shutdown.finish(&*clock, Duration::from_secs(10)).await; // deregisters
/// assert_eq!(discovery.list().await?.nodes.len(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Registrar {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    discovery: Arc<dyn Discovery>,
    options: RegistrarOptions,
    clock: Arc<dyn Clock>,
    schedule: Mutex<Schedule>,
    /// Counts what was added and removed.
    changes: watch::Sender<u64>,
    state: watch::Sender<RegistrarState>,
}

impl Registrar {
    /// A registrar without nodes.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`], at once, when nodes can't register with this backend;
    /// [`ErrorKind::InvalidInput`] for a time to live that is not longer than the heartbeat.
    pub fn new(
        discovery: Arc<dyn Discovery>,
        options: RegistrarOptions,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self> {
        if !discovery.capabilities().register {
            return Err(Error::unsupported(
                "nodes can't register with this discovery service (not implemented): list them \
                 there by hand, or let their agents dial the control plane",
            )
            .with_context("discovery", discovery.describe()));
        }
        options.check()?;
        Ok(Self {
            shared: Arc::new(Shared {
                discovery,
                schedule: Mutex::new(Schedule::new(options.clone(), random)),
                options,
                clock,
                changes: watch::Sender::new(0),
                state: watch::Sender::new(RegistrarState::default()),
            }),
        })
    }

    /// Keeps this node registered from now on. A node with the same endpoint is replaced.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`] when the request rate has no room for one more.
    pub fn add(&self, node: Announcement) -> Result<()> {
        let now = self.shared.clock.now();
        self.shared.lock().add(&node, now)?;
        self.shared.tell();
        Ok(())
    }

    /// Takes this node's registration back and forgets the node.
    pub fn remove(&self, endpoint: &Endpoint) {
        let now = self.shared.clock.now();
        self.shared.lock().remove(endpoint, now);
        self.shared.tell();
    }

    /// How all stand together.
    pub fn state(&self) -> RegistrarState {
        self.shared.lock().state()
    }

    /// How one node's registration stands; `None` when it is not kept.
    pub fn state_of(&self, endpoint: &Endpoint) -> Option<HeartbeatState> {
        self.shared.lock().state_of(endpoint)
    }

    /// Waits for a state that fulfils the condition. Cancel safe.
    pub async fn wait_for(&self, condition: impl Fn(&RegistrarState) -> bool) -> RegistrarState {
        let mut state = self.shared.state.subscribe();
        loop {
            let now = state.borrow_and_update().clone();
            if condition(&now) {
                return now;
            }
            // `self` holds the sender, so this only ends with a change.
            let _ = state.changed().await;
        }
    }

    /// Registers and renews until the shutdown, then takes everything back.
    ///
    /// # Cancel safety
    /// Dropping the future leaves registrations to their time to live; another run goes on with
    /// them.
    pub async fn run(&self, shutdown: &Shutdown) {
        let shared = &self.shared;
        tracing::info!(
            "Registering on the discovery service every {:?}...",
            shared.options.heartbeat
        );
        let mut requests = FuturesUnordered::new();
        let mut changes = shared.changes.subscribe();
        let mut farewell = None;
        loop {
            while let Some(order) = shared.poll() {
                requests.push(shared.perform(order));
            }
            let (deadline, empty) = {
                let schedule = shared.lock();
                (schedule.next_deadline(), schedule.is_empty())
            };
            if farewell.is_some() && empty && requests.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = shutdown.requested(), if farewell.is_none() => {
                    let now = shared.clock.now();
                    farewell = Some(now.after(shared.options.farewell));
                    shared.lock().remove_all(now);
                }
                () = sleep(&*shared.clock, farewell) => {
                    tracing::warn!("not all nodes were deregistered; they leave with their leases");
                    return;
                }
                Some((order, result)) = requests.next() => shared.take(&order, result),
                () = sleep(&*shared.clock, deadline) => {}
                _ = changes.changed() => {}
            }
        }
    }
}

async fn sleep(clock: &dyn Clock, until: Option<Timestamp>) {
    match until {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Schedule> {
        self.schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    fn poll(&self) -> Option<Order> {
        let now = self.clock.now();
        self.lock().poll(now)
    }

    async fn perform(&self, order: Order) -> (Order, Result<Registration>) {
        let (discovery, ttl) = (&self.discovery, self.options.ttl);
        let call = async {
            match &order {
                Order::Register(node) => discovery.register(node, ttl).await,
                Order::Renew(registration) => discovery.renew(registration).await,
                Order::Deregister(registration) => {
                    let done = discovery.deregister(registration).await;
                    done.map(|()| registration.clone())
                }
            }
        };
        let result = self.clock.timeout(ttl / 4, "the heartbeat", call).await;
        let result = result.and_then(|result| result);
        (order, result)
    }

    fn take(&self, order: &Order, result: Result<Registration>) {
        let now = self.clock.now();
        let failure = result.as_ref().err().map(Error::chain);
        let expected = matches!(&result, Err(error) if error.kind() == ErrorKind::NotFound);
        let state = {
            let mut schedule = self.lock();
            schedule.answer(order, result, now);
            schedule.state()
        };
        self.state.send_if_modified(|before| {
            match (before.failing, state.failing, failure) {
                (0, 1.., Some(error)) if !expected => {
                    tracing::error!(error, endpoint = %order.endpoint(), "a heartbeat failed");
                }
                (1.., 0, _) => tracing::info!("all heartbeats succeed again"),
                _ => {}
            }
            let changed = *before != state;
            *before = state;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
