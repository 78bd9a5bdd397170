use std::{fmt::Debug, net::IpAddr};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{Cidr, Endpoint, NetworkName, NodeId, Result, WorkloadId};

/// A network that spans nodes, as this node should have it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkSpec {
    /// Its name.
    pub name: NetworkName,
    /// All its addresses.
    pub subnet: Cidr,
    /// The part of the subnet that this node hands out.
    pub block: Cidr,
    /// Largest packet inside, in bytes; `None`: what the data plane can carry.
    pub mtu: Option<u16>,
}

impl NetworkSpec {
    /// A network of which this node hands out `block`.
    pub fn new(name: NetworkName, subnet: Cidr, block: Cidr) -> Self {
        Self {
            name,
            subnet,
            block,
            mtu: None,
        }
    }
}

/// Another node of a network.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Peer {
    /// Which node.
    pub node: NodeId,
    /// Where its data plane listens.
    pub endpoint: Endpoint,
    /// The addresses behind it.
    pub block: Cidr,
    /// Its public key in the data plane's text form; empty where none is used.
    pub public_key: String,
}

impl Peer {
    /// A peer without a key.
    pub fn new(node: NodeId, endpoint: Endpoint, block: Cidr) -> Self {
        Self {
            node,
            endpoint,
            block,
            public_key: String::new(),
        }
    }

    /// Adds its public key.
    #[must_use]
    pub fn with_public_key(mut self, key: impl Into<String>) -> Self {
        self.public_key = key.into();
        self
    }
}

/// What to attach to a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttachNetwork {
    /// The network.
    pub network: NetworkName,
    /// The workload.
    pub workload: WorkloadId,
    /// The address wanted; `None`: a free one of this node's block.
    pub address: Option<IpAddr>,
}

impl AttachNetwork {
    /// With any free address.
    pub fn new(network: NetworkName, workload: WorkloadId) -> Self {
        Self {
            network,
            workload,
            address: None,
        }
    }

    /// With this address.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }
}

/// A workload's place in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Attachment {
    /// The workload.
    pub workload: WorkloadId,
    /// Its address.
    pub address: IpAddr,
}

impl Attachment {
    /// A workload at an address.
    pub fn new(workload: WorkloadId, address: IpAddr) -> Self {
        Self { workload, address }
    }
}

/// A network as this node has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NetworkStatus {
    /// As asked for.
    pub spec: NetworkSpec,
    /// Attached workloads, ordered by id.
    pub attachments: Vec<Attachment>,
    /// Peers in force, ordered by node.
    pub peers: Vec<Peer>,
    /// This node's public key; empty where none is used.
    pub public_key: String,
}

impl NetworkStatus {
    /// A network with nothing attached.
    pub fn new(spec: NetworkSpec) -> Self {
        Self {
            spec,
            attachments: Vec::new(),
            peers: Vec::new(),
            public_key: String::new(),
        }
    }
}

/// What a data plane can do, as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OverlayCapabilities {
    /// Whether packets between nodes are encrypted.
    pub encrypted: bool,
    /// Whether attached workloads really exchange packets (a twin in memory does not).
    pub carries_packets: bool,
}

impl OverlayCapabilities {
    /// Bookkeeping only.
    pub fn bookkeeping() -> Self {
        Self {
            encrypted: false,
            carries_packets: false,
        }
    }
}

/// The overlay network on one node: declarative and idempotent.
///
/// Rules held by the conformance suite: doing anything twice is doing it once; an address is held
/// by one workload at a time and comes from this node's block; a refused call changes nothing; the
/// peer set is replaced as a whole, and peers whose blocks overlap each other or this node's, lie
/// outside the subnet, or that name a node twice are refused
/// ([`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput)); networks of a node whose subnets
/// overlap are refused, and a network with attachments is not removed
/// ([`ErrorKind::Conflict`](crate::ErrorKind::Conflict)); an unknown network is
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound), except for its removal.
#[async_trait]
pub trait OverlayNetwork: Debug + Send + Sync + 'static {
    /// What this data plane can do.
    fn capabilities(&self) -> OverlayCapabilities;

    /// Makes the network, or changes it to the spec.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) when the block is no part of the
    /// subnet; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict), not retryable, for another subnet,
    /// for a subnet that overlaps another network's, and for a block that leaves an attached workload
    /// outside or meets a peer's.
    ///
    /// # Cancel safety
    /// Safe: call it again to finish.
    async fn ensure(&self, spec: &NetworkSpec) -> Result<NetworkStatus>;

    /// Attaches a workload; attached already, it keeps its address.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`](crate::ErrorKind::ResourceExhausted) when the block is full,
    /// [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists) when the address is taken,
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for one outside the block,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict), not retryable, when the workload has
    /// another one.
    ///
    /// # Cancel safety
    /// Safe: call it again to learn the address.
    async fn attach(&self, request: &AttachNetwork) -> Result<Attachment>;

    /// Detaches a workload; not attached, nothing happens. Cancel safe.
    async fn detach(&self, network: &NetworkName, workload: &WorkloadId) -> Result<()>;

    /// Makes exactly these the network's peers. Cancel safe: call it again to finish.
    async fn sync_peers(&self, network: &NetworkName, peers: &[Peer]) -> Result<()>;

    /// Removes the network; not there, nothing happens. Cancel safe: call it again to finish.
    async fn remove(&self, network: &NetworkName) -> Result<()>;

    /// The network as it is. Cancel safe.
    async fn status(&self, network: &NetworkName) -> Result<NetworkStatus>;

    /// The networks of this node, in order. Cancel safe.
    async fn list(&self) -> Result<Vec<NetworkName>>;
}
