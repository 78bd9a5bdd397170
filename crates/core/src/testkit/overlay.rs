//! The rules of [`OverlayNetwork`](crate::OverlayNetwork).

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use async_trait::async_trait;
use futures::future;

use crate::{
    AttachNetwork, Attachment, Cidr, Endpoint, ErrorKind, NetworkName, NetworkSpec, NetworkStatus,
    NodeId, OverlayNetwork, Peer, WorkloadId,
};

/// What an overlay's tests need.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A data plane on a node without networks.
    async fn overlay(&self) -> Arc<dyn OverlayNetwork>;

    /// A workload that can be attached. A real data plane needs a real one; the default makes up an
    /// id.
    async fn workload(&self, number: usize) -> WorkloadId {
        WorkloadId::new(format!("workload-{number}")).expect("a sound id")
    }

    /// A public key in the data plane's form for the peers of a test.
    fn public_key(&self, _number: usize) -> String {
        String::new()
    }
}

/// Makes one test of each rule for the harness: `overlay_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! overlay_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            overlay,
            $harness,
            [
                ensuring_twice_is_ensuring_once,
                the_subnet_of_a_network_cannot_change,
                a_block_outside_the_subnet_is_refused,
                networks_that_overlap_are_refused,
                networks_are_listed_in_order,
                an_address_comes_from_the_block,
                an_address_is_held_by_one_workload,
                attaching_twice_keeps_the_address,
                an_address_asked_for_is_given,
                an_address_taken_is_refused,
                an_address_outside_the_block_is_refused,
                a_full_block_says_so,
                detaching_frees_the_address,
                detaching_twice_is_no_error,
                concurrent_attachments_get_different_addresses,
                attachments_survive_a_change_of_the_spec,
                peers_are_replaced_as_a_whole,
                syncing_peers_twice_is_syncing_once,
                overlapping_peers_are_refused,
                a_peer_twice_is_refused,
                a_network_in_use_is_not_removed,
                removing_twice_is_no_error,
                a_removed_network_comes_back_empty,
                an_unknown_network_is_not_found,
                networks_keep_apart,
                both_address_families_work,
            ]
        );
    };
}

fn cidr(text: &str) -> Cidr {
    text.parse().expect("a sound block")
}

fn name(text: &str) -> NetworkName {
    NetworkName::new(text).expect("a sound name")
}

fn spec() -> NetworkSpec {
    NetworkSpec::new(name("blue"), cidr("10.213.0.0/16"), cidr("10.213.7.0/28"))
}

fn peer<H: Harness>(harness: &H, number: usize, block: &str) -> Peer {
    let node = NodeId::new(format!("node-{number}")).expect("a sound id");
    let port = 40_000 + u16::try_from(number).expect("a small number");
    let endpoint = Endpoint::new("127.0.0.1", port).expect("a sound address");
    Peer::new(node, endpoint, cidr(block)).with_public_key(harness.public_key(number))
}

async fn ensured<H: Harness>(harness: &H) -> Arc<dyn OverlayNetwork> {
    let overlay = harness.overlay().await;
    overlay
        .ensure(&spec())
        .await
        .expect("a sound network is made");
    overlay
}

async fn attach<H: Harness>(
    harness: &H,
    overlay: &Arc<dyn OverlayNetwork>,
    number: usize,
) -> Attachment {
    let request = AttachNetwork::new(name("blue"), harness.workload(number).await);
    overlay
        .attach(&request)
        .await
        .expect("there is room in the block")
}

async fn status(overlay: &Arc<dyn OverlayNetwork>) -> NetworkStatus {
    overlay
        .status(&name("blue"))
        .await
        .expect("the network is there")
}

/// A refused call leaves everything as it was.
async fn refused<F, R>(overlay: &Arc<dyn OverlayNetwork>, call: F, kinds: &[ErrorKind])
where
    F: Future<Output = crate::Result<R>>,
    R: std::fmt::Debug,
{
    let before = status(overlay).await;
    let error = call.await.expect_err("this must be refused");
    assert!(
        kinds.contains(&error.kind()),
        "{error:?}: expected one of {kinds:?}"
    );
    assert_eq!(
        status(overlay).await,
        before,
        "a refused call changed something"
    );
}

/// Making a network that is there changes nothing and gives the same answer.
pub async fn ensuring_twice_is_ensuring_once<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    attach(harness, &overlay, 1).await;
    let before = status(&overlay).await;
    let again = overlay.ensure(&spec()).await.expect("the same spec again");
    assert_eq!(again, before);
    assert_eq!(status(&overlay).await, before);
    assert_eq!(overlay.list().await.expect("listed"), [name("blue")]);
}

/// Another subnet under the same name is refused.
pub async fn the_subnet_of_a_network_cannot_change<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let moved = NetworkSpec::new(name("blue"), cidr("10.214.0.0/16"), cidr("10.214.7.0/28"));
    refused(&overlay, overlay.ensure(&moved), &[ErrorKind::Conflict]).await;
}

/// A node hands out addresses of the network only.
pub async fn a_block_outside_the_subnet_is_refused<H: Harness>(harness: &H) {
    let overlay = harness.overlay().await;
    for block in ["10.214.7.0/28", "10.0.0.0/8", "fd00:213::/64"] {
        let spec = NetworkSpec::new(name("blue"), cidr("10.213.0.0/16"), cidr(block));
        let error = overlay.ensure(&spec).await.expect_err("a foreign block");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{block}");
    }
    assert!(overlay.list().await.expect("listed").is_empty());
}

/// Two networks of a node can't share addresses: packets would have two ways.
pub async fn networks_that_overlap_are_refused<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let other = NetworkSpec::new(
        name("red"),
        cidr("10.213.128.0/17"),
        cidr("10.213.200.0/24"),
    );
    refused(&overlay, overlay.ensure(&other), &[ErrorKind::Conflict]).await;
    assert_eq!(overlay.list().await.expect("listed"), [name("blue")]);
}

/// By name.
pub async fn networks_are_listed_in_order<H: Harness>(harness: &H) {
    let overlay = harness.overlay().await;
    for (number, text) in ["c", "a", "b"].into_iter().enumerate() {
        let subnet = format!("10.{}.0.0/16", 213 + number);
        let block = format!("10.{}.7.0/28", 213 + number);
        let spec = NetworkSpec::new(name(text), cidr(&subnet), cidr(&block));
        overlay.ensure(&spec).await.expect("made");
    }
    assert_eq!(
        overlay.list().await.expect("listed"),
        [name("a"), name("b"), name("c")]
    );
}

/// Every address given lies in this node's block.
pub async fn an_address_comes_from_the_block<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    for number in 0..8 {
        let address = attach(harness, &overlay, number).await.address;
        assert!(
            spec().block.contains(address),
            "{address} is not in {}",
            spec().block
        );
    }
}

/// No two workloads share an address, and the status lists them by id.
pub async fn an_address_is_held_by_one_workload<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let mut given = Vec::new();
    for number in 0..8 {
        given.push(attach(harness, &overlay, number).await);
    }
    let addresses: BTreeSet<IpAddr> = given.iter().map(|one| one.address).collect();
    assert_eq!(addresses.len(), 8);
    given.sort_by(|a, b| a.workload.cmp(&b.workload));
    assert_eq!(status(&overlay).await.attachments, given);
}

/// Attached already: the same address again. Another address asked for is refused.
pub async fn attaching_twice_keeps_the_address<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let first = attach(harness, &overlay, 1).await;
    attach(harness, &overlay, 2).await;
    assert_eq!(attach(harness, &overlay, 1).await, first);
    let same =
        AttachNetwork::new(name("blue"), harness.workload(1).await).with_address(first.address);
    assert_eq!(
        overlay.attach(&same).await.expect("the address it has"),
        first
    );
    let free = free_address(harness, &overlay).await;
    let other = AttachNetwork::new(name("blue"), harness.workload(1).await).with_address(free);
    refused(&overlay, overlay.attach(&other), &[ErrorKind::Conflict]).await;
}

/// An address that can be given now: attached, noted, detached.
async fn free_address<H: Harness>(harness: &H, overlay: &Arc<dyn OverlayNetwork>) -> IpAddr {
    let probe = harness.workload(99).await;
    let request = AttachNetwork::new(name("blue"), probe.clone());
    let address = overlay.attach(&request).await.expect("room").address;
    overlay
        .detach(&name("blue"), &probe)
        .await
        .expect("detached");
    address
}

/// A free address of the block can be chosen.
pub async fn an_address_asked_for_is_given<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let wanted = free_address(harness, &overlay).await;
    let request = AttachNetwork::new(name("blue"), harness.workload(1).await).with_address(wanted);
    assert_eq!(
        overlay
            .attach(&request)
            .await
            .expect("a free address")
            .address,
        wanted
    );
    assert_ne!(attach(harness, &overlay, 2).await.address, wanted);
}

/// A held address is not given to another workload.
pub async fn an_address_taken_is_refused<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let held = attach(harness, &overlay, 1).await.address;
    let request = AttachNetwork::new(name("blue"), harness.workload(2).await).with_address(held);
    refused(
        &overlay,
        overlay.attach(&request),
        &[ErrorKind::AlreadyExists],
    )
    .await;
}

/// Other nodes' addresses, other families and strangers are refused.
pub async fn an_address_outside_the_block_is_refused<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    for text in ["10.213.8.5", "192.0.2.1", "fd00::5"] {
        let request = AttachNetwork::new(name("blue"), harness.workload(1).await)
            .with_address(text.parse().expect("an address"));
        refused(
            &overlay,
            overlay.attach(&request),
            &[ErrorKind::InvalidInput],
        )
        .await;
    }
}

/// When all addresses are held, the next workload is refused; those attached can still ask.
pub async fn a_full_block_says_so<H: Harness>(harness: &H) {
    let overlay = harness.overlay().await;
    let small = NetworkSpec::new(name("blue"), cidr("10.213.0.0/16"), cidr("10.213.7.0/29"));
    overlay.ensure(&small).await.expect("made");
    for number in 0..9 {
        let workload = harness.workload(number).await;
        let request = AttachNetwork::new(name("blue"), workload);
        match overlay.attach(&request).await {
            Ok(_) => assert!(number < 8, "more attachments than the block has addresses"),
            Err(error) => {
                assert!(number > 0, "no room for a single workload in a /29");
                assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
                assert_eq!(status(&overlay).await.attachments.len(), number);
                attach(harness, &overlay, 0).await;
                return;
            }
        }
    }
    panic!("a /29 never filled up");
}

/// An address given back can be given again, to somebody else.
pub async fn detaching_frees_the_address<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let freed = attach(harness, &overlay, 1).await;
    overlay
        .detach(&name("blue"), &freed.workload)
        .await
        .expect("detached");
    assert!(status(&overlay).await.attachments.is_empty());
    let request =
        AttachNetwork::new(name("blue"), harness.workload(2).await).with_address(freed.address);
    assert_eq!(
        overlay.attach(&request).await.expect("free again").address,
        freed.address
    );
}

/// Who is not attached is detached already.
pub async fn detaching_twice_is_no_error<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let kept = attach(harness, &overlay, 1).await;
    let workload = harness.workload(2).await;
    for _ in 0..2 {
        overlay
            .detach(&name("blue"), &workload)
            .await
            .expect("nothing to do");
    }
    assert_eq!(status(&overlay).await.attachments, [kept]);
}

/// Attaching at the same time never gives an address twice.
pub async fn concurrent_attachments_get_different_addresses<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let attached = future::join_all((0..8).map(|number| attach(harness, &overlay, number))).await;
    let addresses: BTreeSet<IpAddr> = attached.iter().map(|one| one.address).collect();
    assert_eq!(addresses.len(), 8);
}

/// A larger block keeps who is attached; a block that leaves somebody outside is refused.
pub async fn attachments_survive_a_change_of_the_spec<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let held = attach(harness, &overlay, 1).await;
    let mut larger = spec();
    larger.block = cidr("10.213.7.0/24");
    overlay.ensure(&larger).await.expect("a larger block");
    let now = status(&overlay).await;
    assert_eq!((now.spec, now.attachments), (larger, vec![held]));
    let mut elsewhere = spec();
    elsewhere.block = cidr("10.213.9.0/24");
    refused(&overlay, overlay.ensure(&elsewhere), &[ErrorKind::Conflict]).await;
}

/// After a sync exactly the given peers are in force, by node.
pub async fn peers_are_replaced_as_a_whole<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let (one, two, three) = (
        peer(harness, 1, "10.213.1.0/24"),
        peer(harness, 2, "10.213.2.0/24"),
        peer(harness, 3, "10.213.3.0/24"),
    );
    for (given, wanted) in [
        (vec![two.clone(), one.clone()], vec![one, two.clone()]),
        (vec![three.clone(), two.clone()], vec![two, three]),
        (vec![], vec![]),
    ] {
        overlay
            .sync_peers(&name("blue"), &given)
            .await
            .expect("sound peers");
        assert_eq!(status(&overlay).await.peers, wanted);
    }
}

/// The same peers again change nothing.
pub async fn syncing_peers_twice_is_syncing_once<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let peers = [
        peer(harness, 1, "10.213.1.0/24"),
        peer(harness, 2, "10.213.2.0/24"),
    ];
    overlay
        .sync_peers(&name("blue"), &peers)
        .await
        .expect("sound peers");
    let before = status(&overlay).await;
    overlay
        .sync_peers(&name("blue"), &peers)
        .await
        .expect("the same peers");
    assert_eq!(status(&overlay).await, before);
}

/// Blocks that overlap each other or this node's, or lie outside the subnet, are refused.
pub async fn overlapping_peers_are_refused<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let good = [peer(harness, 1, "10.213.1.0/24")];
    overlay
        .sync_peers(&name("blue"), &good)
        .await
        .expect("sound peers");
    for bad in [
        vec![
            peer(harness, 2, "10.213.2.0/24"),
            peer(harness, 3, "10.213.2.128/25"),
        ],
        vec![peer(harness, 2, "10.213.7.0/24")],
        vec![peer(harness, 2, "10.214.2.0/24")],
    ] {
        let network = name("blue");
        let call = overlay.sync_peers(&network, &bad);
        refused(&overlay, call, &[ErrorKind::InvalidInput]).await;
    }
}

/// One node, one peer.
pub async fn a_peer_twice_is_refused<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let twice = [
        peer(harness, 1, "10.213.1.0/24"),
        peer(harness, 1, "10.213.2.0/24"),
    ];
    let network = name("blue");
    let call = overlay.sync_peers(&network, &twice);
    refused(&overlay, call, &[ErrorKind::InvalidInput]).await;
}

/// Removal waits for the last workload to be detached.
pub async fn a_network_in_use_is_not_removed<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let attached = attach(harness, &overlay, 1).await;
    refused(
        &overlay,
        overlay.remove(&name("blue")),
        &[ErrorKind::Conflict],
    )
    .await;
    overlay
        .detach(&name("blue"), &attached.workload)
        .await
        .expect("detached");
    overlay
        .remove(&name("blue"))
        .await
        .expect("nobody is attached");
    assert!(overlay.list().await.expect("listed").is_empty());
}

/// What is gone is removed already.
pub async fn removing_twice_is_no_error<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    for _ in 0..2 {
        overlay.remove(&name("blue")).await.expect("removed");
    }
}

/// Removing forgets peers and addresses, and the name can have another subnet.
pub async fn a_removed_network_comes_back_empty<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let peers = [peer(harness, 1, "10.213.1.0/24")];
    overlay
        .sync_peers(&name("blue"), &peers)
        .await
        .expect("sound peers");
    overlay.remove(&name("blue")).await.expect("removed");
    let moved = NetworkSpec::new(name("blue"), cidr("10.214.0.0/16"), cidr("10.214.7.0/28"));
    let now = overlay.ensure(&moved).await.expect("a new network");
    assert!(now.peers.is_empty() && now.attachments.is_empty());
    assert_eq!(now.spec, moved);
}

/// Every call about a network that is not there says so; a removal has nothing to do.
pub async fn an_unknown_network_is_not_found<H: Harness>(harness: &H) {
    let overlay = harness.overlay().await;
    let (network, workload) = (name("none"), harness.workload(1).await);
    let attach = AttachNetwork::new(network.clone(), workload.clone());
    let kinds = [
        overlay.attach(&attach).await.expect_err("attach").kind(),
        overlay
            .detach(&network, &workload)
            .await
            .expect_err("detach")
            .kind(),
        overlay
            .sync_peers(&network, &[])
            .await
            .expect_err("sync")
            .kind(),
        overlay.status(&network).await.expect_err("status").kind(),
    ];
    assert_eq!(kinds, [ErrorKind::NotFound; 4]);
}

/// A workload can be in several networks; each has its own addresses and peers.
pub async fn networks_keep_apart<H: Harness>(harness: &H) {
    let overlay = ensured(harness).await;
    let red = NetworkSpec::new(name("red"), cidr("10.214.0.0/16"), cidr("10.214.7.0/28"));
    overlay.ensure(&red).await.expect("made");
    let blue_place = attach(harness, &overlay, 1).await;
    let request = AttachNetwork::new(name("red"), harness.workload(1).await);
    let red_place = overlay.attach(&request).await.expect("room");
    assert!(red.block.contains(red_place.address));
    overlay
        .detach(&name("red"), &red_place.workload)
        .await
        .expect("detached");
    assert_eq!(status(&overlay).await.attachments, [blue_place]);
    let peers = [peer(harness, 1, "10.214.1.0/24")];
    overlay
        .sync_peers(&name("red"), &peers)
        .await
        .expect("sound peers");
    assert!(status(&overlay).await.peers.is_empty());
}

/// IPv6 networks follow the same rules.
pub async fn both_address_families_work<H: Harness>(harness: &H) {
    let overlay = harness.overlay().await;
    let six = NetworkSpec::new(
        name("blue"),
        cidr("fd00:213::/48"),
        cidr("fd00:213:0:7::/64"),
    );
    overlay.ensure(&six).await.expect("an IPv6 network");
    let first = attach(harness, &overlay, 1).await;
    let second = attach(harness, &overlay, 2).await;
    assert!(six.block.contains(first.address) && six.block.contains(second.address));
    assert_ne!(first.address, second.address);
}
