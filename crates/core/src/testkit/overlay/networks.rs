//! Networks as a whole.

use crate::{AttachNetwork, ErrorKind, NetworkSpec};

use super::{Harness, steps::*};

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
