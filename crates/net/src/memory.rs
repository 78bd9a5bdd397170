use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use longshore_core::{
    AttachNetwork, Attachment, Error, ErrorKind, NetworkName, NetworkSpec, NetworkStatus,
    OverlayCapabilities, OverlayNetwork, Peer, Result, WorkloadId,
};

mod network;

use network::Network;

/// The books of an overlay without its packets: for tests, simulations, and control planes whose
/// workloads share their host's network. Clones are the same node.
#[derive(Clone, Debug, Default)]
pub struct MemoryOverlay {
    networks: Arc<Mutex<BTreeMap<NetworkName, Network>>>,
}

impl MemoryOverlay {
    /// A node without networks.
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<NetworkName, Network>> {
        // Every step checks before it changes, so a panic elsewhere leaves the books sound.
        self.networks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(
        &self,
        name: &NetworkName,
        step: impl FnOnce(&mut Network) -> Result<R>,
    ) -> Result<R> {
        match self.lock().get_mut(name) {
            Some(network) => step(network),
            None => Err(Error::not_found("no such network").with_context("network", name)),
        }
    }
}

/// More networks than a node can use.
const MOST_NETWORKS: usize = 4096;

#[async_trait]
impl OverlayNetwork for MemoryOverlay {
    fn capabilities(&self) -> OverlayCapabilities {
        OverlayCapabilities::bookkeeping()
    }

    async fn ensure(&self, spec: &NetworkSpec) -> Result<NetworkStatus> {
        network::check(spec)?;
        let mut networks = self.lock();
        let overlapping = networks
            .values()
            .map(Network::spec)
            .find(|other| other.name != spec.name && other.subnet.overlaps(&spec.subnet));
        if let Some(other) = overlapping {
            return Err(network::conflict("the subnet overlaps another network's")
                .with_context("subnet", spec.subnet)
                .with_context("network", &other.name));
        }
        if let Some(network) = networks.get_mut(&spec.name) {
            network.change(spec)?;
            return Ok(network.status());
        }
        if networks.len() >= MOST_NETWORKS {
            let message = format!("the node has {MOST_NETWORKS} networks already");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        let network = Network::new(spec.clone());
        let status = network.status();
        networks.insert(spec.name.clone(), network);
        Ok(status)
    }

    async fn attach(&self, request: &AttachNetwork) -> Result<Attachment> {
        self.with(&request.network, |network| network.attach(request))
    }

    async fn detach(&self, network: &NetworkName, workload: &WorkloadId) -> Result<()> {
        self.with(network, |network| {
            network.detach(workload);
            Ok(())
        })
    }

    async fn sync_peers(&self, network: &NetworkName, peers: &[Peer]) -> Result<()> {
        self.with(network, |network| network.sync_peers(peers))
    }

    async fn remove(&self, network: &NetworkName) -> Result<()> {
        let mut networks = self.lock();
        let attached = networks.get(network).map_or(0, Network::attached);
        if attached > 0 {
            return Err(network::conflict("workloads are attached to the network")
                .with_context("network", network)
                .with_context("attached", attached));
        }
        networks.remove(network);
        Ok(())
    }

    async fn status(&self, network: &NetworkName) -> Result<NetworkStatus> {
        self.with(network, |network| Ok(network.status()))
    }

    async fn list(&self) -> Result<Vec<NetworkName>> {
        Ok(self.lock().keys().cloned().collect())
    }
}
