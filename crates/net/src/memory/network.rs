//! The books of one network on one node. Pure: every step checks first and then changes.

use std::{collections::BTreeMap, net::IpAddr};

use longshore_core::{
    AttachNetwork, Attachment, Cidr, Error, ErrorKind, NetworkSpec, NetworkStatus, NodeId, Peer,
    Result, WorkloadId,
};

use crate::{AllocationError, BlockAllocator};

#[derive(Debug)]
pub(super) struct Network {
    spec: NetworkSpec,
    addresses: BlockAllocator,
    attachments: BTreeMap<WorkloadId, IpAddr>,
    peers: BTreeMap<NodeId, Peer>,
}

/// What IPv4 (RFC 791) and IPv6 (RFC 8200) ask of every link.
const SMALLEST_MTU_V4: u16 = 68;
const SMALLEST_MTU_V6: u16 = 1280;
/// More peers than a cluster has nodes.
const MOST_PEERS: usize = 65_536;

/// Checks what must hold for a spec on any node.
pub(super) fn check(spec: &NetworkSpec) -> Result<()> {
    if !within(spec.block, spec.subnet) {
        return Err(
            Error::invalid("the node's block is no part of the network's subnet")
                .with_context("network", &spec.name)
                .with_context("block", spec.block)
                .with_context("subnet", spec.subnet),
        );
    }
    let smallest = match spec.subnet.address() {
        IpAddr::V4(_) => SMALLEST_MTU_V4,
        IpAddr::V6(_) => SMALLEST_MTU_V6,
    };
    if let Some(mtu) = spec.mtu.filter(|mtu| *mtu < smallest) {
        return Err(
            Error::invalid(format!("the MTU must be at least {smallest}"))
                .with_context("network", &spec.name)
                .with_context("mtu", mtu),
        );
    }
    Ok(())
}

/// A conflict with what is there: the same call helps only after something else changed.
pub(super) fn conflict(message: &'static str) -> Error {
    Error::new(ErrorKind::Conflict, message).with_retryable(false)
}

fn within(block: Cidr, subnet: Cidr) -> bool {
    subnet.contains(block.address()) && block.prefix() >= subnet.prefix()
}

impl Network {
    pub(super) fn new(spec: NetworkSpec) -> Self {
        Self {
            addresses: BlockAllocator::new(spec.block),
            spec,
            attachments: BTreeMap::new(),
            peers: BTreeMap::new(),
        }
    }

    pub(super) fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    pub(super) fn attached(&self) -> usize {
        self.attachments.len()
    }

    pub(super) fn status(&self) -> NetworkStatus {
        let mut status = NetworkStatus::new(self.spec.clone());
        status.attachments = self
            .attachments
            .iter()
            .map(|(workload, address)| Attachment::new(workload.clone(), *address))
            .collect();
        status.peers = self.peers.values().cloned().collect();
        status
    }

    pub(super) fn change(&mut self, spec: &NetworkSpec) -> Result<()> {
        if spec.subnet != self.spec.subnet {
            return Err(conflict("the subnet of a network can't change")
                .with_context("network", &spec.name)
                .with_context("subnet", self.spec.subnet)
                .with_context("wanted", spec.subnet));
        }
        if spec.block != self.spec.block {
            self.move_to(spec.block)?;
        }
        self.spec = spec.clone();
        Ok(())
    }

    /// Hands out another block from now on; whoever is attached must be in it.
    fn move_to(&mut self, block: Cidr) -> Result<()> {
        if let Some(peer) = self.peers.values().find(|peer| peer.block.overlaps(&block)) {
            return Err(conflict("the new block overlaps a peer's")
                .with_context("block", block)
                .with_context("peer", &peer.node));
        }
        let mut addresses = BlockAllocator::new(block);
        for (workload, address) in &self.attachments {
            addresses.take(*address).map_err(|error| {
                conflict("an attached workload's address is not in the new block")
                    .with_context("block", block)
                    .with_context("workload", workload)
                    .with_context("address", address)
                    .with_source(error)
            })?;
        }
        self.addresses = addresses;
        Ok(())
    }

    pub(super) fn attach(&mut self, request: &AttachNetwork) -> Result<Attachment> {
        let workload = &request.workload;
        if let Some(held) = self.attachments.get(workload) {
            if request.address.is_some_and(|wanted| wanted != *held) {
                return Err(conflict("the workload is attached with another address")
                    .with_context("workload", workload)
                    .with_context("address", held));
            }
            return Ok(Attachment::new(workload.clone(), *held));
        }
        let address = match request.address {
            Some(wanted) => self.addresses.take(wanted).map(|()| wanted),
            None => self.addresses.allocate(),
        };
        let address = address.map_err(|error| self.refusal(error, request))?;
        self.attachments.insert(workload.clone(), address);
        Ok(Attachment::new(workload.clone(), address))
    }

    fn refusal(&self, error: AllocationError, request: &AttachNetwork) -> Error {
        let kind = match error {
            AllocationError::Full => ErrorKind::ResourceExhausted,
            AllocationError::Taken => ErrorKind::AlreadyExists,
            AllocationError::Outside | AllocationError::Reserved => ErrorKind::InvalidInput,
        };
        let refusal = Error::new(kind, error.to_string())
            .with_context("network", &self.spec.name)
            .with_context("block", self.spec.block)
            .with_context("workload", &request.workload);
        match request.address {
            Some(wanted) => refusal.with_context("address", wanted),
            None => refusal,
        }
    }

    pub(super) fn detach(&mut self, workload: &WorkloadId) {
        if let Some(address) = self.attachments.remove(workload) {
            self.addresses.release(address);
        }
    }

    pub(super) fn sync_peers(&mut self, peers: &[Peer]) -> Result<()> {
        if peers.len() > MOST_PEERS {
            let message = format!("a network has at most {MOST_PEERS} peers");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        let mut wanted = BTreeMap::new();
        for peer in peers {
            if !within(peer.block, self.spec.subnet) {
                return Err(bad_peer("a peer's block is no part of the subnet", peer));
            }
            if peer.block.overlaps(&self.spec.block) {
                return Err(bad_peer("a peer's block overlaps this node's", peer));
            }
            if wanted.insert(peer.node.clone(), peer.clone()).is_some() {
                return Err(bad_peer("a peer is named twice", peer));
            }
        }
        // Sorted by first address, blocks that overlap are neighbours: of two blocks that share an
        // address one contains the other, and what lies between their starts is contained too.
        let mut blocks: Vec<&Peer> = wanted.values().collect();
        blocks.sort_by_key(|peer| (peer.block.address(), peer.block.prefix()));
        for pair in blocks.windows(2) {
            if pair[0].block.overlaps(&pair[1].block) {
                return Err(bad_peer("a peer's block overlaps another peer's", pair[1])
                    .with_context("other", &pair[0].node));
            }
        }
        self.peers = wanted;
        Ok(())
    }
}

fn bad_peer(message: &'static str, peer: &Peer) -> Error {
    Error::invalid(message)
        .with_context("peer", &peer.node)
        .with_context("block", peer.block)
}

#[cfg(test)]
mod tests {
    use super::*;
    use longshore_core::{Endpoint, NetworkName};

    fn network() -> Network {
        let name = NetworkName::new("blue").unwrap();
        Network::new(NetworkSpec::new(
            name,
            "10.0.0.0/16".parse().unwrap(),
            "10.0.7.0/24".parse().unwrap(),
        ))
    }

    fn peer(number: usize, block: &str) -> Peer {
        let node = NodeId::new(format!("n{number}")).unwrap();
        Peer::new(
            node,
            Endpoint::new("127.0.0.1", 1).unwrap(),
            block.parse().unwrap(),
        )
    }

    #[test]
    fn an_overlap_is_found_wherever_it_stands() {
        let blocks = ["10.0.1.0/24", "10.0.2.0/23", "10.0.4.0/24", "10.0.5.0/24"];
        let good: Vec<_> = blocks
            .iter()
            .enumerate()
            .map(|(n, block)| peer(n, block))
            .collect();
        network().sync_peers(&good).unwrap();
        for inside in ["10.0.1.128/25", "10.0.2.0/23", "10.0.3.4/32", "10.0.0.0/21"] {
            for place in 0..=good.len() {
                let mut peers = good.clone();
                peers.insert(place, peer(9, inside));
                let error = network().sync_peers(&peers).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidInput, "{inside} at {place}");
            }
        }
    }

    #[test]
    fn a_block_does_not_move_onto_a_peer() {
        let mut network = network();
        network.sync_peers(&[peer(1, "10.0.1.0/24")]).unwrap();
        let mut spec = network.spec().clone();
        spec.block = "10.0.0.0/23".parse().unwrap();
        assert_eq!(
            network.change(&spec).unwrap_err().kind(),
            ErrorKind::Conflict
        );
        assert_eq!(network.spec().block.to_string(), "10.0.7.0/24");
    }

    #[test]
    fn an_mtu_that_no_link_may_have_is_refused() {
        let mut spec = network().spec().clone();
        spec.mtu = Some(67);
        assert_eq!(check(&spec).unwrap_err().kind(), ErrorKind::InvalidInput);
        spec.mtu = Some(1400);
        check(&spec).unwrap();
    }
}
