//! Who has which address.

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use futures::future;

use crate::{AttachNetwork, ErrorKind, NetworkSpec, OverlayNetwork};

use super::{Harness, steps::*};

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
