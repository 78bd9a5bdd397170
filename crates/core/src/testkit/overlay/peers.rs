//! The other nodes of a network.

use crate::ErrorKind;

use super::{Harness, steps::*};

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
