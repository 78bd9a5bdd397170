use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt, stream};
use longshore_core::{
    Announcement, Clock, Discovery, DiscoveryCapabilities, Error, Membership, MembershipEvent,
    MembershipStream, OsRandom, Random, Registration, Result, Timestamp, WatchMode,
};
use tokio::{net::UdpSocket, sync::watch, task::AbortHandle};

use crate::diff::{Nodes, news};

mod config;
mod driver;
mod id_map;
mod machine;
mod member;
mod options;
mod own;
mod seal;
#[cfg(test)]
mod sim;
mod view;
mod wire;

pub use config::GossipTimes;
pub use options::GossipOptions;
pub use seal::GossipKey;

use machine::Machine;
use own::Own;
use seal::Sealer;
use view::View;

/// A cluster without any store: its members tell each other who is there, encrypted and
/// authenticated with a key that they share.
///
/// `gossip://seed:7946,seed:7946` names members to call first; any that is up will do. Options:
/// `gossip.keyfile` or `gossip.key` (64 hexadecimal digits), `gossip.bind` (`0.0.0.0:7946`),
/// `gossip.advertise` (where others reach this one).
///
/// A member that dies is suspected, and missed after 12 to 72 s in a cluster of a thousand, the
/// sooner the more others find it; one that says goodbye, at once. A registration lives in the member that made it: it ends with its time to
/// live or with that process, whichever comes first. Views are eventually consistent: two members
/// may differ for seconds. The departure of more than half of the nodes, at once or within a grace
/// period, is held for a grace period, as it is what a member sees that was cut off.
///
/// # Why a protocol of its own crate
///
/// `chitchat` was considered, and read, not measured. It opens each exchange with a digest that
/// lists every node it knows, so its messages grow with the cluster; its UDP transport lets them
/// reach 64 KiB, which leaves it to the network to take them apart. And its failure detector asks
/// the standard library for the time, where everything here takes a [`Clock`]. SWIM's messages are
/// bounded whatever the cluster's size, and as a pure state machine a thousand members are
/// simulated in one process. The protocol's sources are named in `machine.rs`; the cryptography is
/// `ring`'s.
#[derive(Clone)]
pub struct GossipDiscovery {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    /// Not yet a tokio socket, which needs a runtime.
    socket: Mutex<Option<std::net::UdpSocket>>,
    task: OnceLock<AbortHandle>,
    describe: String,
}

/// What the task shares.
#[derive(Debug)]
struct Core {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    state: Mutex<State>,
    /// Counts changes; watches wait for it.
    changes: watch::Sender<u64>,
    /// Wakes the task: there is something to send.
    work: tokio::sync::Notify,
}

#[derive(Debug)]
struct State {
    machine: Machine,
    sealer: Sealer,
    own: Own,
    view: View,
}

impl GossipDiscovery {
    /// Binds the socket. The first call starts a task, that lives as long as the clones of this.
    ///
    /// # Errors
    /// The address can't be bound, or nobody could reach the one that would be advertised.
    pub fn new(options: GossipOptions, clock: Arc<dyn Clock>) -> Result<Self> {
        let bound = std::net::UdpSocket::bind(options.bind).and_then(|socket| {
            socket.set_nonblocking(true)?;
            Ok((socket.local_addr()?, socket))
        });
        let (local, socket) = bound.map_err(|error| {
            Error::io("gossip can't listen", error).with_context("address", options.bind)
        })?;
        let advertise = options.advertise.unwrap_or(local);
        if advertise.ip().is_unspecified() || advertise.port() == 0 {
            return Err(Error::invalid(
                "gossip listens everywhere, so say where others reach it: --discovery-opt \
                 gossip.advertise=host:port",
            ));
        }
        let random: Arc<dyn Random> = Arc::new(OsRandom);
        let seeds = options.seeds.iter().map(ToString::to_string);
        let describe = format!("gossip://{}", seeds.collect::<Vec<_>>().join(","));
        let machine = Machine::new(
            options.times,
            random.next_u64(),
            advertise,
            options.seeds,
            random.clone(),
            clock.now(),
        );
        let state = State {
            machine,
            sealer: Sealer::new(options.key, &*random)?,
            own: Own::default(),
            view: View::new(options.grace),
        };
        Ok(Self {
            shared: Arc::new(Shared {
                core: Arc::new(Core {
                    clock,
                    random,
                    state: Mutex::new(state),
                    changes: watch::Sender::new(0),
                    work: tokio::sync::Notify::new(),
                }),
                socket: Mutex::new(Some(socket)),
                task: OnceLock::new(),
                describe,
            }),
        })
    }

    /// Says goodbye, so that others need not find out. Registrations end.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the farewell unsaid; the others find out then.
    pub async fn leave(&self) -> Result<()> {
        self.shared.start()?;
        self.shared.core.lock().machine.leave();
        self.shared.core.work.notify_one();
        // The task sends what is queued before it waits for anything else.
        tokio::task::yield_now().await;
        Ok(())
    }
}

impl Shared {
    fn start(&self) -> Result<()> {
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = socket.take() {
            let socket = UdpSocket::from_std(socket)
                .map_err(|error| Error::io("gossip can't listen", error))?;
            let task = tokio::spawn(driver::run(self.core.clone(), socket));
            let _ = self.task.set(task.abort_handle());
        }
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step on what is registered here, and what follows from it.
    fn step<R>(&self, step: impl FnOnce(&mut Own, Timestamp) -> Result<R>) -> Result<R> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.own.expire(now);
        let result = step(&mut state.own, now);
        let payload = state.own.payload();
        state.machine.set_payload(payload);
        drop(state);
        self.tell();
        result
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count += 1);
        self.work.notify_one();
    }
}

#[async_trait]
impl Discovery for GossipDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::registering(WatchMode::Push).with_metadata()
    }

    fn describe(&self) -> String {
        self.shared.describe.clone()
    }

    async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration> {
        self.shared.start()?;
        let core = &self.shared.core;
        core.step(|own, now| own.register(node, ttl, &*core.random, now))
    }

    async fn renew(&self, registration: &Registration) -> Result<Registration> {
        self.shared.start()?;
        self.shared
            .core
            .step(|own, now| own.renew(registration, now))
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        self.shared.start()?;
        self.shared.core.step(|own, _| {
            own.deregister(registration);
            Ok(())
        })
    }

    /// Who is there as far as this member knows, without a grace period.
    async fn list(&self) -> Result<Membership> {
        self.shared.start()?;
        let core = &self.shared.core;
        core.step(|_, _| Ok(()))?;
        let (nodes, problems) = view::nodes(&core.lock().machine);
        let problems = problems.into_iter().map(Error::protocol).collect();
        Ok(Membership::new(nodes.into_values().collect(), problems))
    }

    fn watch(&self) -> MembershipStream {
        let follower = Follower {
            changes: self.shared.core.changes.subscribe(),
            shared: self.shared.clone(),
            due: VecDeque::new(),
            told: None,
            standing: Vec::new(),
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await;
            Some((event, follower))
        })
        .boxed()
    }
}

impl fmt::Debug for GossipDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipDiscovery({})", self.shared.describe)
    }
}

/// One watch. It compares sets instead of queueing events, so a slow reader costs nothing.
struct Follower {
    shared: Arc<Shared>,
    changes: watch::Receiver<u64>,
    due: VecDeque<MembershipEvent>,
    told: Option<Nodes>,
    standing: Vec<String>,
}

impl Follower {
    async fn next(&mut self) -> MembershipEvent {
        loop {
            if let Some(event) = self.due.pop_front() {
                return event;
            }
            if let Err(error) = self.shared.start() {
                return MembershipEvent::Problem(error);
            }
            self.changes.mark_unchanged();
            let held_until = self.look();
            if !self.due.is_empty() {
                continue;
            }
            // `self.shared` holds the sender, so the wait for a change only ends with one.
            match held_until {
                None => drop(self.changes.changed().await),
                Some(at) => tokio::select! {
                    _ = self.changes.changed() => {}
                    () = self.shared.core.clock.sleep_until(at) => {}
                },
            }
        }
    }

    fn look(&mut self) -> Option<Timestamp> {
        let now = self.shared.core.clock.now();
        let mut state = self.shared.core.lock();
        let State { machine, view, .. } = &mut *state;
        let (nodes, held_until) = view.look(machine, now);
        let problems = view.problems().to_vec();
        drop(state);
        self.due.extend(news(self.told.as_ref(), &nodes));
        self.told = Some(nodes);
        let before = std::mem::replace(&mut self.standing, problems.clone());
        let new = problems.into_iter().filter(|text| !before.contains(text));
        self.due
            .extend(new.map(|text| MembershipEvent::Problem(Error::protocol(text))));
        held_until
    }
}
