//! What the rules are made of.

use std::{future::Future, sync::Arc};

use crate::{
    AttachNetwork, Attachment, Cidr, Endpoint, ErrorKind, NetworkName, NetworkSpec, NetworkStatus,
    NodeId, OverlayNetwork, Peer,
};

use super::Harness;

pub(super) fn cidr(text: &str) -> Cidr {
    text.parse().expect("a sound block")
}

pub(super) fn name(text: &str) -> NetworkName {
    NetworkName::new(text).expect("a sound name")
}

pub(super) fn spec() -> NetworkSpec {
    NetworkSpec::new(name("blue"), cidr("10.213.0.0/16"), cidr("10.213.7.0/28"))
}

pub(super) fn peer<H: Harness>(harness: &H, number: usize, block: &str) -> Peer {
    let node = NodeId::new(format!("node-{number}")).expect("a sound id");
    let port = 40_000 + u16::try_from(number).expect("a small number");
    let endpoint = Endpoint::new("127.0.0.1", port).expect("a sound address");
    Peer::new(node, endpoint, cidr(block)).with_public_key(harness.public_key(number))
}

pub(super) async fn ensured<H: Harness>(harness: &H) -> Arc<dyn OverlayNetwork> {
    let overlay = harness.overlay().await;
    overlay
        .ensure(&spec())
        .await
        .expect("a sound network is made");
    overlay
}

pub(super) async fn attach<H: Harness>(
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

pub(super) async fn status(overlay: &Arc<dyn OverlayNetwork>) -> NetworkStatus {
    overlay
        .status(&name("blue"))
        .await
        .expect("the network is there")
}

/// A refused call leaves everything as it was.
pub(super) async fn refused<F, R>(overlay: &Arc<dyn OverlayNetwork>, call: F, kinds: &[ErrorKind])
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
