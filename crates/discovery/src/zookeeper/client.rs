//! Sessions with an ensemble: one for reads and writes, one per lease, one per watch.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use longshore_core::{
    Clock, ClockExt, Connector, Error, ErrorKind, KvEntry, LeaseId, Random, Result, Revision,
    TransactionOp,
};
use tokio::sync::mpsc;

use super::{
    connection::{Connection, Manner, SessionKey, UNSENT},
    failure,
    lease::LeaseSession,
    node,
    plan::{self, Acl, Plan},
    walk::{self, Tree},
    wire::{Record, op},
};
use crate::{
    kv_step,
    store::{Dialer, Rotation, StoreOptions},
};

#[derive(Debug)]
pub(super) struct Client {
    dialers: Vec<Dialer>,
    rotation: Rotation,
    digest: Option<Arc<str>>,
    description: String,
    connect_limit: Duration,
    request_limit: Duration,
    largest_answer: usize,
    main: tokio::sync::Mutex<Option<Arc<Connection>>>,
    leases: Mutex<HashMap<LeaseId, Arc<LeaseSession>>>,
    /// Whether it was said that sessions are shorter than leases.
    said: AtomicBool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

/// What steps did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Done {
    pub(super) revision: Revision,
    pub(super) deleted: usize,
}

impl Client {
    pub(super) fn new(options: &StoreOptions) -> Self {
        let dialer = |endpoint: &longshore_core::Endpoint| {
            Dialer::new(endpoint.clone(), options.tls.clone())
        };
        let digest = options.credentials.as_ref();
        Self {
            dialers: options.endpoints.iter().map(dialer).collect(),
            rotation: Rotation::default(),
            digest: digest.map(|digest| format!("{}:{}", digest.user, digest.password).into()),
            description: options.describe("zk"),
            connect_limit: options.connect_limit,
            request_limit: options.request_limit,
            largest_answer: options.largest_answer,
            main: tokio::sync::Mutex::new(None),
            leases: Mutex::default(),
            said: AtomicBool::new(false),
            clock: options.clock.clone(),
            random: options.random.clone(),
        }
    }

    pub(super) fn describe(&self) -> &str {
        &self.description
    }

    /// Says something the first time only: it is true of every lease.
    pub(super) fn say_once(&self, say: impl FnOnce()) {
        if !self.said.swap(true, Ordering::Relaxed) {
            say();
        }
    }

    pub(super) fn leases(&self) -> MutexGuard<'_, HashMap<LeaseId, Arc<LeaseSession>>> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection with a session, to whichever server answers first.
    pub(super) async fn connect(
        &self,
        timeout: Duration,
        resume: Option<SessionKey>,
        own: bool,
        events: Option<mpsc::Sender<String>>,
    ) -> Result<Connection> {
        let manner = Manner {
            timeout,
            resume,
            own,
            digest: self.digest.clone(),
            longest: LONGEST_RECORD,
        };
        let mut tries = self.dialers.len();
        loop {
            tries = tries.saturating_sub(1);
            let server = self.rotation.current(self.dialers.len());
            let opening = async {
                let stream = self.dialers[server].connect().await?;
                Connection::open(stream, &manner, self.clock.clone(), events.clone()).await
            };
            let limit = self.connect_limit * 2;
            let opened = self
                .clock
                .timeout(limit, "connecting to zookeeper", opening);
            match opened.await.and_then(|opened| opened) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    self.rotation.leave(server, self.dialers.len());
                    if tries == 0 {
                        let place = self.dialers[server].describe();
                        return Err(error.with_context("zookeeper", place));
                    }
                }
                opened => return opened,
            }
        }
    }

    /// The session for reads and writes.
    async fn main(&self) -> Result<Arc<Connection>> {
        let mut main = self.main.lock().await;
        if let Some(connection) = main.as_ref().filter(|connection| !connection.is_closed()) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.connect(SESSION, None, true, None).await?);
        *main = Some(connection.clone());
        Ok(connection)
    }

    /// Gives the connection up: it did not answer in time.
    async fn drop_main(&self, connection: &Arc<Connection>) {
        let mut main = self.main.lock().await;
        if main
            .as_ref()
            .is_some_and(|main| Arc::ptr_eq(main, connection))
        {
            *main = None;
        }
    }

    /// Bounds a piece of work in time.
    pub(super) async fn limited<R: Send>(
        &self,
        work: impl Future<Output = Result<R>> + Send,
    ) -> Result<R> {
        self.clock
            .timeout(self.request_limit, "zookeeper's answer", work)
            .await
            .and_then(|done| done)
    }

    /// Reads on the main session; once more on a new one when the connection broke.
    async fn read<R, F>(&self, look: impl Fn(Arc<Connection>) -> F) -> Result<R>
    where
        R: Send,
        F: Future<Output = Result<R>> + Send,
    {
        let mut tries = self.dialers.len().max(2);
        loop {
            tries -= 1;
            let connection = self.main().await?;
            match self.limited(look(connection.clone())).await {
                Err(error) if error.is_retryable() => {
                    self.drop_main(&connection).await;
                    if tries == 0 {
                        return Err(error);
                    }
                }
                done => return done,
            }
        }
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        let path = node::path(key);
        let found = self.read(|connection| {
            let path = path.clone();
            async move {
                let sync = Record::default().text(&path);
                let sync = connection.begin(op::SYNC, sync).await?;
                let found = walk::data_of(&connection, &[path]).await?;
                Connection::finish(sync).await?;
                Ok(found.into_iter().next())
            }
        });
        let data = found.await?.and_then(|(_, found)| found);
        Ok(data.and_then(|(data, stat)| node::entry(key.to_owned(), data, &stat)))
    }

    pub(super) async fn tree(&self, prefix: &str) -> Result<Tree> {
        self.read(|connection| {
            let prefix = prefix.to_owned();
            async move { self.walk(&connection, &prefix).await }
        })
        .await
    }

    pub(super) async fn walk(&self, connection: &Connection, prefix: &str) -> Result<Tree> {
        walk::walk(connection, prefix, self.largest_answer).await
    }

    /// Does all steps or none. What changes between the look and the write is looked at again.
    pub(super) async fn apply(&self, steps: &[TransactionOp]) -> Result<Done> {
        let lease = the_lease(steps)?;
        for _ in 0..TRIES {
            let connection = match lease {
                Some(lease) => super::lease::connection(self, lease).await?,
                None => self.main().await?,
            };
            match self.limited(self.attempt(&connection, steps)).await {
                Ok(Some(done)) => return Ok(done),
                Ok(None) => {}
                Err(error) => {
                    if error.is_retryable() && error.kind() != ErrorKind::Conflict {
                        self.drop_main(&connection).await;
                        if error.operation() == Some(UNSENT) {
                            continue;
                        }
                    }
                    return Err(error);
                }
            }
        }
        let message = format!("a key changed {TRIES} times while it was to be written");
        Err(Error::new(ErrorKind::Conflict, message).with_backend("zookeeper"))
    }

    /// `None` when something changed meanwhile.
    async fn attempt(
        &self,
        connection: &Arc<Connection>,
        steps: &[TransactionOp],
    ) -> Result<Option<Done>> {
        let mut paths: Vec<_> = steps
            .iter()
            .map(|step| node::path(kv_step::key(step)))
            .collect();
        paths.push(node::GUARD.to_owned());
        let mut found = walk::data_of(connection, &paths).await?;
        let Some((zxid, guard)) = found.pop() else {
            return Err(Error::internal("no answer about the guard"));
        };
        let Some((_, guard)) = guard else {
            self.create(connection, node::GUARD, Acl::Open).await?;
            return Ok(None);
        };
        let found: Vec<_> = found.into_iter().map(|(_, found)| found).collect();
        let plan = Plan::of(steps, &found, guard.version, &self.acl())?;
        if plan.is_empty() {
            return Ok(Some(Done {
                revision: node::revision(zxid),
                deleted: 0,
            }));
        }
        let reply = connection.ask(op::MULTI, plan.record()).await?;
        let mut reply = reply.checked()?;
        match plan::outcome(&mut reply.body)? {
            0 => Ok(Some(Done {
                revision: node::revision(reply.zxid),
                deleted: plan.deleted,
            })),
            failure::NO_NODE => {
                for (step, path) in steps.iter().zip(&paths) {
                    if matches!(step, TransactionOp::Put { .. }) {
                        self.create_parents(connection, path).await?;
                    }
                }
                Ok(None)
            }
            failure::BAD_VERSION | failure::NODE_EXISTS | failure::NOT_EMPTY => Ok(None),
            code => Err(failure::of(code)),
        }
    }

    async fn create_parents(&self, connection: &Arc<Connection>, path: &str) -> Result<()> {
        for (at, _) in path.match_indices('/').skip(1) {
            self.create(connection, &path[..at], self.acl()).await?;
        }
        Ok(())
    }

    /// Makes an empty znode where there is none.
    async fn create(&self, connection: &Arc<Connection>, path: &str, acl: Acl) -> Result<()> {
        let create = acl.write(Record::default().text(path).bytes(&Bytes::new()));
        let reply = connection.ask(op::CREATE, create.int(0)).await?;
        match reply.code {
            failure::NODE_EXISTS => Ok(()),
            _ => reply.checked().map(drop),
        }
    }

    fn acl(&self) -> Acl {
        match self.digest {
            Some(_) => Acl::Creator,
            None => Acl::Open,
        }
    }
}

/// The lease of a transaction: ephemeral znodes are made by their own session.
fn the_lease(steps: &[TransactionOp]) -> Result<Option<LeaseId>> {
    let mut leases: Vec<_> = steps
        .iter()
        .filter_map(|step| match step {
            TransactionOp::Put { options, .. } => options.lease,
            _ => None,
        })
        .collect();
    leases.dedup();
    match leases.as_slice() {
        [] => Ok(None),
        [lease] => Ok(Some(*lease)),
        _ => Err(Error::unsupported(
            "zookeeper ties the keys of one transaction to one lease",
        )),
    }
}

/// How often what changed meanwhile is looked at again.
const TRIES: usize = 64;

/// The session timeout of connections that are kept up.
pub(super) const SESSION: Duration = Duration::from_secs(10);

/// The largest record that is read: far above `jute.maxbuffer`, for long lists of children.
const LONGEST_RECORD: usize = 32 << 20;
