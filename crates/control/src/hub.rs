mod connector;
mod failures;
mod frame;
mod greeting;
mod pace;
mod session;
mod standing;
mod table;

pub(crate) use self::standing::Standing;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_core::{
    Carrier, Clock, ClockExt, Connector, Endpoint, Error, ErrorKind, Labels, Mandate, NodeId,
    PendingCarrier, Result, Shutdown, StreamTarget, Timestamp, TunnelListener, printable,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use self::{
    connector::HubConnector,
    failures::Failures,
    greeting::{Greetings, MOST_OF_A_NODE},
    table::Table,
};

/// How a [`TunnelHub`] treats the nodes that dial in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubOptions {
    /// How many connections may be without a finished handshake of their transport; more are closed
    /// at once. Transports that know addresses should bound each address far below this.
    pub max_unproven: usize,
    /// How many peers that proved themselves may be between handshake and welcome at a time; more
    /// wait their turn.
    pub max_handshakes: usize,
    /// How many nodes may have dialled in.
    pub max_nodes: usize,
    /// How long the transport's handshake may take.
    pub handshake_timeout: Duration,
    /// How long a peer that proved itself may take to say hello.
    pub hello_timeout: Duration,
    /// How often both sides say that they are there; three missed ones end a session.
    pub heartbeat: Duration,
}

impl Default for HubOptions {
    fn default() -> Self {
        Self {
            max_unproven: 1024,
            max_handshakes: 256,
            max_nodes: 10_000,
            handshake_timeout: Duration::from_secs(15),
            hello_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(5),
        }
    }
}

impl HubOptions {
    /// Sets how many connections may be without a finished handshake.
    #[must_use]
    pub fn with_max_unproven(mut self, limit: usize) -> Self {
        self.max_unproven = limit;
        self
    }

    /// Sets how many peers may be between handshake and welcome.
    #[must_use]
    pub fn with_max_handshakes(mut self, limit: usize) -> Self {
        self.max_handshakes = limit;
        self
    }

    /// Sets how many nodes may have dialled in.
    #[must_use]
    pub fn with_max_nodes(mut self, limit: usize) -> Self {
        self.max_nodes = limit;
        self
    }

    /// Sets how long the transport's handshake may take.
    #[must_use]
    pub fn with_handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Sets how long a peer may take to say hello.
    #[must_use]
    pub fn with_hello_timeout(mut self, limit: Duration) -> Self {
        self.hello_timeout = limit;
        self
    }

    /// Sets how often both sides say that they are there.
    #[must_use]
    pub fn with_heartbeat(mut self, interval: Duration) -> Self {
        self.heartbeat = interval;
        self
    }
}

/// A node that dialled in, as the hub sees it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TunnelSession {
    /// The identity in its certificate.
    pub node: NodeId,
    /// Its host's name, as its agent says.
    pub name: String,
    /// Its agent's epoch.
    pub epoch: u64,
    /// The agent's program and version.
    pub agent: String,
    /// Labels that its agent told.
    pub labels: Labels,
    /// Where the connection comes from.
    pub remote: Option<Endpoint>,
    /// Whether it is connected now.
    pub live: bool,
    /// Since when it is connected, or is not.
    pub since: Timestamp,
    /// Why it is not connected.
    pub ended: Option<String>,
    /// What its agent says of the engine beside it.
    pub engine_error: Option<String>,
    /// The last measured round trip, where the transport measures it.
    pub round_trip: Option<Duration>,
    /// Counts this hub's sessions: a higher number is a later session.
    pub generation: u64,
}

/// Takes in the nodes that dial out to the control plane, and gives connectors that lead back
/// through their connections.
///
/// A node proves its identity in the transport's handshake, says hello with its epoch, and is
/// welcomed unless a newer session of it is live. A newer session replaces the older one; connectors
/// follow. Everything before the welcome is bounded in number, size and time.
#[derive(Clone)]
pub struct TunnelHub {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Arc<dyn Clock>,
    options: HubOptions,
    table: Mutex<Table>,
    unproven: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    greetings: Greetings,
    failures: Mutex<Failures>,
    changes: watch::Sender<u64>,
}

impl TunnelHub {
    /// An empty hub.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_options(clock, HubOptions::default())
    }

    /// An empty hub with options.
    pub fn with_options(clock: Arc<dyn Clock>, options: HubOptions) -> Self {
        Self {
            shared: Arc::new(Shared {
                clock,
                table: Mutex::new(Table::new(options.max_nodes)),
                unproven: Arc::new(Semaphore::new(options.max_unproven.max(1))),
                greetings: Greetings::default(),
                failures: Mutex::default(),
                handshakes: Arc::new(Semaphore::new(options.max_handshakes.max(1))),
                changes: watch::Sender::new(0),
                options,
            }),
        }
    }

    /// Takes in nodes from a listener until it ends. Tasks are started in `shutdown` and end with
    /// it.
    ///
    /// # Cancel safety
    /// Safe: sessions that are open go on.
    pub async fn serve(&self, listener: Arc<dyn TunnelListener>, shutdown: &Shutdown) {
        loop {
            let pending = match listener.accept().await {
                Ok(pending) => pending,
                Err(error) => {
                    tracing::info!(error = %error.chain(), "the tunnel listener ended");
                    return;
                }
            };
            // Nobody waits here: who has not proved anything must not hold up those who can.
            let Ok(unproven) = Arc::clone(&self.shared.unproven).try_acquire_owned() else {
                tracing::debug!(remote = ?pending.remote(), "too many handshakes: closed");
                continue;
            };
            let hub = self.clone();
            shutdown.spawn_until(async move {
                let remote = pending.remote();
                if let Err(error) = hub.take_in(pending, unproven).await {
                    hub.shared.not_taken_in(remote.as_ref(), &error);
                }
            });
        }
    }

    /// Runs the session of a carrier that was accepted by somebody else, until it ends.
    ///
    /// # Errors
    /// The peer did not say hello as it must, or was refused.
    ///
    /// # Cancel safety
    /// Dropping the call ends the session.
    pub async fn run_carrier(&self, carrier: Arc<dyn Carrier>) -> Result<()> {
        session::run(&self.shared, carrier, None).await
    }

    /// A connector to a node's engine, through whatever connection the node has at the time of
    /// each call. Its streams are those of the only manager there is: a node that has obeyed the
    /// leader of several refuses them.
    pub fn connector(&self, node: &NodeId) -> Arc<dyn Connector> {
        self.connector_by(node, Standing::Alone)
    }

    pub(crate) fn connector_by(&self, node: &NodeId, standing: Standing) -> Arc<dyn Connector> {
        Arc::new(self.hub_connector(node, standing))
    }

    fn hub_connector(&self, node: &NodeId, standing: Standing) -> HubConnector {
        HubConnector::new(Arc::clone(&self.shared), node.clone(), standing)
    }

    /// Shows a node the token of its leader, through a stream that asks for nothing; returns when the
    /// node has ended it. Cancel safe.
    pub(crate) async fn tell(&self, node: &NodeId, token: u64) -> Result<()> {
        let target = StreamTarget::Engine.under(Mandate::Act { token });
        let connector = self.hub_connector(node, Standing::Alone);
        let mut stream = connector.open(&target).await?;
        let ended = |error| Error::io("the node ended the stream", error);
        stream.shutdown().await.map_err(ended)?;
        stream.read(&mut [0]).await.map_err(ended).map(drop)
    }

    /// All nodes that dialled in, those whose connection is lost included.
    pub fn sessions(&self) -> Vec<TunnelSession> {
        self.shared.lock().sessions()
    }

    /// Changes whenever [`sessions`](Self::sessions) does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// Forgets a node without a connection.
    pub(crate) fn forget(&self, node: &NodeId) {
        self.shared.lock().forget(node);
    }

    async fn take_in(
        &self,
        pending: Box<dyn PendingCarrier>,
        unproven: OwnedSemaphorePermit,
    ) -> Result<()> {
        let limit = self.shared.options.handshake_timeout;
        let carrier = self
            .shared
            .clock
            .timeout(limit, "the tunnel handshake", pending.handshake())
            .await??;
        drop(unproven);
        let node = &carrier.peer().node;
        let Some(greeting) = self.shared.greetings.enter(node) else {
            let reason =
                format!("{MOST_OF_A_NODE} connections of this node wait for their welcome already");
            carrier.close(&reason).await;
            return Err(Error::new(ErrorKind::ResourceExhausted, reason).with_context("node", node));
        };
        let place = Arc::clone(&self.shared.handshakes).acquire_owned();
        let place = self
            .shared
            .clock
            .timeout(limit, "a place to say hello", place)
            .await?
            .map_err(|error| Error::internal("the hub takes in nobody").with_source(error))?;
        session::run(&self.shared, carrier, Some((greeting, place))).await
    }
}

impl fmt::Debug for TunnelHub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelHub")
            .field("nodes", &self.shared.lock().len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|number| *number += 1);
    }

    fn not_taken_in(&self, remote: Option<&Endpoint>, error: &Error) {
        let address = remote.map(Endpoint::host).unwrap_or_default();
        let now = self.clock.now();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        // By its kind: the words are the peer's, who could make each one new.
        let Some(untold) = failures.note(address, error.kind().as_str(), now) else {
            return;
        };
        drop(failures);
        let remote = remote.map(ToString::to_string).unwrap_or_default();
        // The words may be the peer's.
        let error = error.chain().to_string();
        let error = printable(&error, LONGEST_ERROR);
        tracing::warn!(remote, %error, untold, "a node was not taken in");
    }

    fn not_connected(&self, node: &NodeId) -> Error {
        let reason = self.lock().absence(node);
        Error::unavailable(format!("node {node} is not connected: {reason}"))
    }
}

/// More of why a node was not taken in is not logged.
const LONGEST_ERROR: usize = 2048;
