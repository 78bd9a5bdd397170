mod connector;
mod frame;
mod session;
mod table;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_core::{
    Carrier, Clock, ClockExt, Connector, Endpoint, Error, Labels, NodeId, PendingCarrier, Result,
    Shutdown, Timestamp, TunnelListener,
};
use tokio::sync::{Semaphore, watch};

use self::{connector::HubConnector, table::Table};

/// How a [`TunnelHub`] treats the nodes that dial in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HubOptions {
    /// How many connections may be between accept and welcome at a time; more wait their turn.
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
            max_handshakes: 256,
            max_nodes: 10_000,
            handshake_timeout: Duration::from_secs(15),
            hello_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(5),
        }
    }
}

impl HubOptions {
    /// Sets how many connections may be between accept and welcome.
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
    handshakes: Arc<Semaphore>,
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
            // The permit is taken before the connection, so that who waits is held by the
            // listener's own queue and none is lost.
            let Ok(permit) = Arc::clone(&self.shared.handshakes).acquire_owned().await else {
                return;
            };
            let pending = match listener.accept().await {
                Ok(pending) => pending,
                Err(error) => {
                    tracing::info!(error = %error.chain(), "the tunnel listener ended");
                    return;
                }
            };
            let hub = self.clone();
            shutdown.spawn_until(async move {
                let remote = pending.remote();
                if let Err(error) = hub.take_in(pending, permit).await {
                    let remote = remote.map(|remote| remote.to_string()).unwrap_or_default();
                    tracing::warn!(remote, error = %error.chain(), "a node was not taken in");
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
    /// each call.
    pub fn connector(&self, node: &NodeId) -> Arc<dyn Connector> {
        Arc::new(HubConnector::new(Arc::clone(&self.shared), node.clone()))
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
        permit: tokio::sync::OwnedSemaphorePermit,
    ) -> Result<()> {
        let limit = self.shared.options.handshake_timeout;
        let carrier = self
            .shared
            .clock
            .timeout(limit, "the tunnel handshake", pending.handshake())
            .await??;
        session::run(&self.shared, carrier, Some(permit)).await
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

    fn not_connected(&self, node: &NodeId) -> Error {
        let reason = self.lock().absence(node);
        Error::unavailable(format!("node {node} is not connected: {reason}"))
    }
}
