use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use longshore_core::{
    Backoff, Clock, ClockExt, Error, ErrorKind, Expect, KvCapabilities, KvEntry, KvEvent, KvRange,
    KvStore, KvWatch, Lease, LeaseId, OsRandom, PutOptions, Random, Result, Revision,
    TransactionOp,
};
use tokio::sync::Mutex;

use super::{
    connection::{Connection, Sent},
    kv,
    network::RaftNetwork,
    operation::{Answer, Operation},
    options::check_names,
};

/// The store of [`RaftKv`](crate::RaftKv) members as a client that is none of them: for people's
/// tools, and for nodes that find their managers through it.
///
/// It stays with one member, and goes to the next when that one can't be reached or has no leader. A
/// change whose answer was lost is not repeated: [`ErrorKind::Timeout`] says that it may have been
/// made. Clones share a connection.
#[derive(Clone, Debug)]
pub struct RaftClient {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    network: Arc<dyn RaftNetwork>,
    names: Vec<String>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    request: Duration,
    current: Mutex<Current>,
}

#[derive(Debug, Default)]
struct Current {
    connection: Option<Arc<Connection>>,
    /// Who is dialled next.
    next: usize,
}

impl RaftClient {
    /// A client of these members; nothing is connected yet.
    ///
    /// # Errors
    /// The names can't be those of a cluster.
    pub fn new<S: AsRef<str>>(
        names: impl IntoIterator<Item = S>,
        network: Arc<dyn RaftNetwork>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Ok(Self {
            shared: Arc::new(Shared {
                network,
                names: check_names(names)?,
                clock,
                random: Arc::new(OsRandom),
                request: Duration::from_secs(8),
                current: Mutex::default(),
            }),
        })
    }

    /// Asks, and asks the next member where that harms nobody.
    async fn ask(&self, operation: Operation) -> Result<Answer> {
        let shared = &self.shared;
        let repeatable = !matches!(operation, Operation::Apply(_) | Operation::Grant(_));
        // What a member says is worth more than that others can't be reached.
        let (mut said, mut last) = (None, None);
        for _ in 0..shared.names.len() {
            let connection = match shared.connection().await {
                Ok(connection) => connection,
                Err(error) => {
                    last = Some(error);
                    continue;
                }
            };
            let asking = connection.ask(&operation);
            let answer = shared
                .clock
                .timeout(shared.request, "the manager's answer", asking)
                .await;
            let error = match answer {
                Ok(Ok(Answer::Failed { kind, message })) => {
                    let error = Error::new(kind, message).with_backend("raft");
                    if kind != ErrorKind::Unavailable {
                        return Err(error);
                    }
                    // Nothing happened. Another member may be with the majority.
                    shared.leave(&connection).await;
                    said = Some(error);
                    continue;
                }
                Ok(Ok(answer)) => return Ok(answer),
                // No member would take it.
                Ok(Err(Sent::No(error))) if !error.is_retryable() => return Err(error),
                Ok(Err(Sent::No(error))) => error,
                Ok(Err(Sent::Perhaps(error))) | Err(error) => {
                    shared.leave(&connection).await;
                    if !repeatable {
                        return Err(Error::new(
                            ErrorKind::Timeout,
                            "the manager's answer was lost; the change may have been made",
                        )
                        .with_source(error)
                        .with_backend("raft"));
                    }
                    error
                }
            };
            shared.leave(&connection).await;
            last = Some(error);
        }
        Err(said
            .or(last)
            .unwrap_or_else(|| Error::unavailable("there is no manager to ask")))
    }

    async fn apply(&self, steps: Vec<TransactionOp>) -> Result<(Revision, u64)> {
        kv::check(&steps)?;
        match self.ask(Operation::Apply(steps)).await? {
            Answer::Done { revision, deleted } => Ok((revision, deleted)),
            other => Err(unexpected(&other)),
        }
    }
}

impl Shared {
    /// The connection that there is, or one to the next member.
    async fn connection(&self) -> Result<Arc<Connection>> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection
            && !connection.has_ended()
        {
            return Ok(connection.clone());
        }
        let name = &self.names[current.next % self.names.len()];
        current.next += 1;
        let dialling = async {
            let stream = self.network.dial(name).await?;
            Connection::open(stream).await
        };
        let connection = self
            .clock
            .timeout(LONGEST_DIAL, "connecting to a manager", dialling)
            .await??;
        let connection = Arc::new(connection);
        current.connection = Some(connection.clone());
        // It stays the first choice until it fails.
        Ok(connection)
    }

    /// Goes to another member next time.
    async fn leave(&self, connection: &Arc<Connection>) {
        let mut current = self.current.lock().await;
        let is_current = |now: &Arc<Connection>| Arc::ptr_eq(now, connection);
        if current.connection.as_ref().is_some_and(is_current) {
            current.connection = None;
        }
    }
}

#[async_trait]
impl KvStore for RaftClient {
    fn capabilities(&self) -> KvCapabilities {
        kv::capabilities(true)
    }

    fn describe(&self) -> String {
        format!("raft://{}", self.shared.names.join(","))
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        match self.ask(Operation::Get(key.to_owned())).await? {
            Answer::Found(entry) => Ok(entry),
            other => Err(unexpected(&other)),
        }
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        let step = TransactionOp::put(key, value, options);
        Ok(self.apply(vec![step]).await?.0)
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        let step = TransactionOp::delete(key, expect);
        Ok(self.apply(vec![step]).await?.1 > 0)
    }

    /// An answer larger than 4 MiB is cut short as by a limit: read on while there is more.
    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        let operation = Operation::Range {
            prefix: prefix.to_owned(),
            after: after.to_owned(),
            limit: limit as u64,
        };
        match self.ask(operation).await? {
            Answer::Range(range) => Ok(range),
            other => Err(unexpected(&other)),
        }
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        Ok(self.apply(steps).await?.0)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        if ttl.is_zero() {
            return Err(Error::invalid("a lease needs a time to live above zero"));
        }
        match self.ask(Operation::Grant(ttl)).await? {
            Answer::Granted(lease) => Ok(lease),
            other => Err(unexpected(&other)),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.ask(Operation::KeepAlive(lease)).await.map(drop)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.ask(Operation::Revoke(lease)).await.map(drop)
    }

    /// Without a revision, from what the members have agreed on when the watch reaches one.
    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        let follower = Follower {
            client: self.clone(),
            prefix: prefix.to_owned(),
            behind: from,
            events: None,
            backoff: Backoff::default(),
            told: false,
        };
        // It begins now, not when it is first asked; a reader that lags holds up only itself.
        let (events, mut told) = tokio::sync::mpsc::channel(READ_AHEAD);
        let task = tokio::spawn(follower.run(events));
        let guard = crate::abort_on_drop::AbortOnDrop(task.abort_handle());
        stream::poll_fn(move |context| {
            let _guard = &guard;
            told.poll_recv(context)
        })
        .boxed()
    }
}

/// A watch that goes from member to member.
struct Follower {
    client: RaftClient,
    prefix: String,
    behind: Option<Revision>,
    events: Option<tokio::sync::mpsc::Receiver<Answer>>,
    backoff: Backoff,
    told: bool,
}

impl Follower {
    async fn run(mut self, to: tokio::sync::mpsc::Sender<Result<KvEvent>>) {
        loop {
            let event = self.next().await;
            if to.send(event).await.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Result<KvEvent> {
        loop {
            let error = match self.try_next().await {
                Ok(event) => {
                    self.told = false;
                    self.backoff.reset();
                    return Ok(event);
                }
                Err(error) => error,
            };
            self.events = None;
            if !std::mem::replace(&mut self.told, true) {
                return Err(error.with_backend("raft"));
            }
            let shared = &self.client.shared;
            let pause = self.backoff.next_delay(shared.random.as_ref());
            shared.clock.sleep(pause).await;
        }
    }

    async fn try_next(&mut self) -> Result<KvEvent> {
        let shared = &self.client.shared;
        if self.events.is_none() {
            let from = match self.behind {
                Some(from) => from,
                None => self.client.range(&self.prefix, "", 0).await?.revision,
            };
            self.behind = Some(from);
            let connection = shared.connection().await?;
            let watch = Operation::Watch {
                prefix: self.prefix.clone(),
                from: self.behind,
            };
            self.events = Some(connection.watch(&watch)?);
        }
        let gone = || Error::unavailable("the manager that was watched is gone");
        let events = self.events.as_mut().ok_or_else(gone)?;
        match events.recv().await.ok_or_else(gone)? {
            Answer::Event(event) => {
                match &event {
                    KvEvent::Put(entry) => self.behind = Some(entry.revision),
                    KvEvent::Deleted { revision, .. } | KvEvent::Resync(revision) => {
                        self.behind = Some(*revision);
                    }
                    _ => {}
                }
                Ok(event)
            }
            // The member is cut off; another one may not be.
            Answer::Outage { message } => {
                if let Some(connection) = shared.current.lock().await.connection.take() {
                    drop(connection);
                }
                Err(Error::unavailable(message))
            }
            Answer::Failed { kind, message } => Err(Error::new(kind, message)),
            other => Err(unexpected(&other)),
        }
    }
}

fn unexpected(answer: &Answer) -> Error {
    Error::protocol(format!(
        "a manager gave an answer of another kind: {answer:?}"
    ))
    .with_backend("raft")
}

const LONGEST_DIAL: Duration = Duration::from_secs(3);

/// Events of a watch that are read before they are asked for.
const READ_AHEAD: usize = 64;
