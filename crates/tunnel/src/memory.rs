use std::{fmt, sync::Arc};

use async_trait::async_trait;
use longshore_core::{
    Carrier, Clock, ClockExt, Endpoint, Error, ErrorKind, NodeId, PeerIdentity, PendingCarrier,
    Result, TunnelCapabilities, TunnelListener, TunnelTransport,
};
use tokio::sync::mpsc;

mod network;

pub use network::MemoryNetwork;
use network::{Arrival, Claim};

use crate::{
    carrier::MuxCarrier,
    mux::{MuxOptions, Side},
};

/// A transport within one process: the same carriers as over TCP, through a [`MemoryNetwork`].
///
/// For tests, simulations and programs that hold control plane and nodes in one process. Peers are
/// who they say they are.
#[derive(Clone, Debug)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    node: NodeId,
    clock: Arc<dyn Clock>,
    options: MuxOptions,
}

impl MemoryTransport {
    /// The transport of `node` in this network.
    pub fn new(network: &MemoryNetwork, node: NodeId, clock: Arc<dyn Clock>) -> Self {
        Self {
            network: network.clone(),
            node,
            clock,
            options: MuxOptions::default(),
        }
    }

    /// Sets the limits and times of its carriers.
    #[must_use]
    pub fn with_mux(mut self, options: MuxOptions) -> Self {
        self.options = options;
        self
    }

    fn peer(node: NodeId, address: Option<Endpoint>) -> PeerIdentity {
        let peer = PeerIdentity::new(node);
        match address {
            Some(address) => peer.with_address(address),
            None => peer,
        }
    }
}

#[async_trait]
impl TunnelTransport for MemoryTransport {
    fn capabilities(&self) -> TunnelCapabilities {
        TunnelCapabilities::in_memory(self.options.max_streams)
    }

    async fn listen(&self, at: &Endpoint) -> Result<Arc<dyn TunnelListener>> {
        let (claim, arrivals) = self.network.claim(at)?;
        Ok(Arc::new(MemoryListener {
            claim,
            arrivals: tokio::sync::Mutex::new(arrivals),
            node: self.node.clone(),
            clock: Arc::clone(&self.clock),
            options: self.options,
        }))
    }

    async fn dial(&self, to: &Endpoint) -> Result<Arc<dyn Carrier>> {
        let arrivals = self.network.find(to)?;
        let (io, far) = self.network.connection();
        let (introduce, listener) = tokio::sync::oneshot::channel();
        let arrival = Arrival {
            io: far,
            dialer: self.node.clone(),
            introduce,
        };
        let connect = async {
            let gone = |_| network::nobody(to);
            arrivals
                .send(arrival)
                .await
                .map_err(|_| network::nobody(to))?;
            listener.await.map_err(gone)
        };
        let node = self
            .clock
            .timeout(
                self.options.hello_timeout,
                "waiting for the listener",
                connect,
            )
            .await??;
        let carrier = MuxCarrier::establish(
            io,
            Side::Dialer,
            Self::peer(node, Some(to.clone())),
            self.options,
            Arc::clone(&self.clock),
        )
        .await?;
        Ok(Arc::new(carrier))
    }
}

struct MemoryListener {
    claim: Claim,
    arrivals: tokio::sync::Mutex<mpsc::Receiver<Arrival>>,
    node: NodeId,
    clock: Arc<dyn Clock>,
    options: MuxOptions,
}

#[async_trait]
impl TunnelListener for MemoryListener {
    fn local(&self) -> Endpoint {
        self.claim.at().clone()
    }

    async fn accept(&self) -> Result<Box<dyn PendingCarrier>> {
        // A dropped wait for the lock or for a message takes nothing out of the queue.
        let arrival = self.arrivals.lock().await.recv().await;
        let arrival = arrival.ok_or_else(|| Error::closed("the listener has ended"))?;
        Ok(Box::new(MemoryPending {
            arrival,
            node: self.node.clone(),
            clock: Arc::clone(&self.clock),
            options: self.options,
        }))
    }
}

impl fmt::Debug for MemoryListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryListener")
            .field("at", self.claim.at())
            .finish_non_exhaustive()
    }
}

struct MemoryPending {
    arrival: Arrival,
    node: NodeId,
    clock: Arc<dyn Clock>,
    options: MuxOptions,
}

#[async_trait]
impl PendingCarrier for MemoryPending {
    fn remote(&self) -> Option<Endpoint> {
        None
    }

    async fn handshake(self: Box<Self>) -> Result<Arc<dyn Carrier>> {
        let Arrival {
            io,
            dialer,
            introduce,
        } = self.arrival;
        introduce
            .send(self.node)
            .map_err(|_| Error::new(ErrorKind::Closed, "the dialler has left"))?;
        let peer = PeerIdentity::new(dialer);
        let carrier =
            MuxCarrier::establish(io, Side::Listener, peer, self.options, self.clock).await?;
        Ok(Arc::new(carrier))
    }
}

impl fmt::Debug for MemoryPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryPending")
            .field("dialer", &self.arrival.dialer)
            .finish_non_exhaustive()
    }
}
