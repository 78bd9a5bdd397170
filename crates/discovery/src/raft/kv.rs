use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{
    Error, ErrorKind, Expect, KvCapabilities, KvEntry, KvRange, KvStore, KvWatch, Lease, LeaseId,
    PutOptions, Result, Revision, TransactionOp,
};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, mpsc},
    task::JoinHandle,
};

use super::{
    command::{Action, Outcome},
    core::HardState,
    disk::Disk,
    driver::{Driver, Shared},
    frame::LARGEST_COMMAND,
    identity::Identity,
    inbound::{Inbound, MOST_CLIENTS},
    network::RaftNetwork,
    node::{Loaded, Node, NodeOptions},
    options::RaftOptions,
    outbound::outbound,
    watch,
};

/// A [`KvStore`] that managers replicate among themselves by Raft: no etcd, Consul or ZooKeeper is
/// needed. Three stand the loss of one, five that of two.
///
/// Any member takes any call; changes go to the leader, and are acknowledged when a majority has
/// them on the disk. Reads are linearizable: a majority confirms the leader first. Leases end by a
/// decision of the leader, which counts from the last renewal that it confirmed; a new leader gives
/// every lease its whole time to live anew. Watches are told from what this member has applied,
/// without a gap, also after it was restarted; who is behind the last 10,000 changes is told to read
/// again. A watch without a revision begins at what this member has applied.
///
/// Without a majority every call is refused within [`RaftTimes::request`](crate::RaftTimes), reads
/// too, with a retryable error: [`ErrorKind::Unavailable`] when nothing happened,
/// [`ErrorKind::Timeout`] when a change may still take effect, once.
///
/// # Founding and losing members
///
/// The members are fixed. The first time all have to be there at once; the cluster is founded then,
/// and never again. A member whose directory is lost is filled by the others: all of them have to be
/// there until its word counts again. Lost directories of a majority are lost data.
///
/// The store and its history take up to 192 MiB of memory on each member. Clones are clients of the
/// same member, which ends with the last one.
#[derive(Clone, Debug)]
pub struct RaftKv {
    member: Arc<Member>,
}

#[derive(Debug)]
struct Member {
    shared: Arc<Shared>,
    names: Vec<String>,
    /// The driver first, which ends by itself; the others are cut off.
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.shared.end(ErrorKind::Closed, CLOSED);
        for task in self.take_tasks().iter().skip(1) {
            task.abort();
        }
    }
}

impl Member {
    fn take_tasks(&self) -> Vec<JoinHandle<()>> {
        let mut tasks = self
            .tasks
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::take(&mut *tasks)
    }
}

impl RaftKv {
    /// Starts a member. It looks for the others by itself; calls wait for a leader.
    ///
    /// Blocks for as long as the disk takes to be read.
    ///
    /// # Errors
    /// The directory can't be opened, is in use or belongs to another list of members; or there is no
    /// runtime of tokio.
    pub fn start(options: RaftOptions, network: Arc<dyn RaftNetwork>) -> Result<Self> {
        let runtime = Handle::try_current().map_err(|error| {
            Error::invalid("a manager's store needs a runtime of tokio").with_source(error)
        })?;
        let (clock, random) = (options.clock.clone(), options.random.clone());
        let now = clock.now();
        let fresh = Identity {
            me: options.name().to_owned(),
            names: options.names().join(","),
            nonce: random.next_u64(),
            incarnation: now.as_micros(),
            cluster: None,
            founders: Vec::new(),
            joining: None,
        };
        let (disk, loaded) = load(options.directory.as_deref(), fresh)?;
        let (me, names) = (options.index(), options.names().to_vec());
        let rules = NodeOptions {
            me,
            names: names.clone(),
            times: options.times,
            compaction: Default::default(),
        };
        let node = Node::new(rules, loaded, random.clone(), now)?;
        let describe = format!("raft://{}?self={}", names.join(","), names[me]);
        let shared = Arc::new(Shared::new(
            node,
            clock.clone(),
            (describe, disk.is_some()),
            options.times.request,
        ));
        let (letters, inbox) = mpsc::channel(MOST_LETTERS);
        let mut tasks = Vec::new();
        let mut peers = Vec::new();
        for (peer, name) in names.iter().enumerate() {
            if peer == me {
                peers.push(None);
                continue;
            }
            let (to, carrier) = outbound((&names[me], name), &network, &clock, &random);
            peers.push(Some(to));
            tasks.push(runtime.spawn(carrier.run()));
        }
        let inbound = Inbound {
            newest: Mutex::new(vec![None; names.len()]),
            greeting: Arc::default(),
            clients: Semaphore::new(MOST_CLIENTS),
            names: names.clone(),
            me,
            clock,
            letters,
            store: Arc::downgrade(&shared),
        };
        tasks.push(runtime.spawn(inbound.run(network)));
        let driver = Driver {
            shared: shared.clone(),
            disk,
            peers,
            letters: inbox,
        };
        tasks.insert(0, runtime.spawn(driver.run()));
        let tasks = Mutex::new(tasks);
        Ok(Self {
            member: Arc::new(Member {
                shared,
                names,
                tasks,
            }),
        })
    }

    /// The member that leads, as far as this one knows.
    pub fn leader(&self) -> Option<String> {
        let leader = self.member.shared.look(Node::leader)?;
        self.member.names.get(leader).cloned()
    }

    /// Ends this member for all its clients, and waits until its directory is free. Calls that wait
    /// are answered with [`ErrorKind::Closed`]. Cancel safe: the end goes on.
    pub async fn close(&self) {
        self.member.shared.end(ErrorKind::Closed, CLOSED);
        let tasks = self.member.take_tasks();
        for task in tasks.iter().skip(1) {
            task.abort();
        }
        for task in tasks {
            // It was told to end, so how it ended says nothing.
            let _ = task.await;
        }
    }
}

/// The operations of a member, for its own callers and for clients that dial.
impl Shared {
    pub(super) async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        self.confirm().await?;
        Ok(self.look(|node| node.machine().store.get(key)))
    }

    pub(super) async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        self.confirm().await?;
        Ok(self.look(|node| node.machine().store.range(prefix, after, limit)))
    }

    /// Gives the last revision, and how many keys were deleted.
    pub(super) async fn apply(&self, steps: Vec<TransactionOp>) -> Result<(Revision, u64)> {
        check(&steps)?;
        if steps.iter().any(|step| {
            !matches!(
                step,
                TransactionOp::Put { .. }
                    | TransactionOp::Delete { .. }
                    | TransactionOp::Check { .. }
            )
        }) {
            return Err(Error::unsupported("a step that this store does not know"));
        }
        let action = Action::Apply(steps);
        match self.call(|node, now| node.request(action, now)).await? {
            Outcome::Done { revision, deleted } => Ok((revision, deleted)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn grant(&self, ttl: Duration) -> Result<Lease> {
        if ttl.is_zero() {
            return Err(Error::invalid("a lease needs a time to live above zero"));
        }
        let action = Action::Grant(ttl.max(SHORTEST));
        match self.call(|node, now| node.request(action, now)).await? {
            Outcome::Granted { lease, ttl } => Ok(Lease::new(lease, ttl)),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.call(|node, now| node.confirm(Some(lease), now))
            .await
            .map(drop)
    }

    pub(super) async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.call(|node, now| node.request(Action::Revoke(lease), now))
            .await
            .map(drop)
    }

    /// Waits until everything acknowledged by now is applied here.
    async fn confirm(&self) -> Result<()> {
        self.call(|node, now| node.confirm(None, now))
            .await
            .map(drop)
    }
}

#[async_trait]
impl KvStore for RaftKv {
    fn capabilities(&self) -> KvCapabilities {
        capabilities(self.member.shared.durable)
    }

    fn describe(&self) -> String {
        self.member.shared.describe.clone()
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        self.member.shared.get(key).await
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        let step = TransactionOp::put(key, value, options);
        Ok(self.member.shared.apply(vec![step]).await?.0)
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        let step = TransactionOp::delete(key, expect);
        Ok(self.member.shared.apply(vec![step]).await?.1 > 0)
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        self.member.shared.range(prefix, after, limit).await
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        Ok(self.member.shared.apply(steps).await?.0)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.member.shared.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.member.shared.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.member.shared.revoke(lease).await
    }

    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        watch::watch(&self.member.shared, prefix, from)
    }
}

fn load(directory: Option<&Path>, fresh: Identity) -> Result<(Option<Arc<Disk>>, Loaded)> {
    if let Some(directory) = directory {
        let (disk, loaded) = Disk::open(directory, fresh)?;
        return Ok((Some(Arc::new(disk)), loaded));
    }
    let loaded = Loaded {
        identity: fresh,
        hard: HardState::default(),
        snapshot: None,
        entries: Vec::new(),
    };
    Ok((None, loaded))
}

/// What no member takes, whoever asks.
pub(super) fn check(steps: &[TransactionOp]) -> Result<()> {
    crate::kv_step::check(steps, &capabilities(true))?;
    let size = |step: &TransactionOp| match step {
        TransactionOp::Put { key, value, .. } => key.len() + value.len() + 64,
        _ => 1100,
    };
    let bytes: usize = steps.iter().map(size).sum();
    if bytes > LARGEST_COMMAND {
        return Err(Error::invalid(format!(
            "a transaction has at most {LARGEST_COMMAND} bytes of keys and values"
        ))
        .with_context("bytes", bytes));
    }
    Ok(())
}

/// A majority keeps what a restart of one forgets, in memory too, but not that of all.
pub(super) fn capabilities(durable: bool) -> KvCapabilities {
    match durable {
        true => KvCapabilities::durable(SHORTEST),
        false => KvCapabilities::volatile(SHORTEST),
    }
}

fn unexpected(outcome: &Outcome) -> Error {
    Error::internal(format!("an answer of another kind: {outcome:?}")).with_backend("raft")
}

/// The shortest lease; what is shorter is rounded up. A change takes a few milliseconds.
const SHORTEST: Duration = Duration::from_millis(100);

/// Messages that wait to be taken in.
const MOST_LETTERS: usize = 256;

const CLOSED: &str = "the manager's store was closed";
