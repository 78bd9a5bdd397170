//! Nodes that announce themselves.

use crate::testkit::suite::does_not_apply;
use std::{sync::Arc, time::Duration};

use crate::{Discovery, ErrorKind, Labels, NodeName};

use super::{Harness, steps::*};

/// [`ErrorKind::Unsupported`] instead of a promise.
pub async fn a_backend_that_cannot_register_says_so<H: Harness>(harness: &H) {
    let client = harness.discovery().await;
    if client.capabilities().register {
        return does_not_apply("nodes can register with it");
    }
    let error = client
        .register(&node(1), harness.lease())
        .await
        .expect_err("not offered");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// In lists and watches, from the answer on.
pub async fn a_registration_is_visible_until_taken_back<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let mut watcher = Watcher::open(harness, &client).await;
    let registration = client.register(&node(1), LONG).await.expect("registered");
    assert_eq!(listed(&client).await, endpoints(&[1]));
    watcher.settle(harness).await;
    assert_eq!(watcher.endpoints(), endpoints(&[1]));
    client.deregister(&registration).await.expect("taken back");
    assert_eq!(listed(&client).await, []);
    watcher.settle(harness).await;
    assert_eq!(watcher.endpoints(), []);
}

async fn registering<H: Harness>(harness: &H) -> Option<Arc<dyn Discovery>> {
    let client = harness.discovery().await;
    client.capabilities().register.then_some(client)
}

/// Nobody has to clean up after a node that died, and no live node is dropped early.
pub async fn a_registration_ends_with_its_lease_and_not_before<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let mut watcher = Watcher::open(harness, &client).await;
    let registration = client
        .register(&node(1), harness.lease())
        .await
        .expect("registered");
    client.register(&node(2), LONG).await.expect("registered");
    harness.pass(registration.ttl / 2).await;
    assert_eq!(
        listed(&client).await,
        endpoints(&[1, 2]),
        "gone before the lease ended"
    );
    harness.pass(registration.ttl / 2).await;
    watcher.settle(harness).await;
    assert_eq!(
        watcher.endpoints(),
        endpoints(&[2]),
        "still there after the lease ended"
    );
    assert_eq!(listed(&client).await, endpoints(&[2]));
}

/// Each renewal counts from when it is made.
pub async fn a_renewed_registration_goes_on<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let mut registration = client
        .register(&node(1), harness.lease())
        .await
        .expect("registered");
    for _ in 0..4 {
        harness.pass(registration.ttl * 6 / 10).await;
        let renewed = client.renew(&registration).await.expect("renewed in time");
        assert!(renewed.expires > registration.expires);
        registration = renewed;
    }
    assert_eq!(listed(&client).await, endpoints(&[1]));
}

/// A node that was away too long learns that it must register again.
pub async fn renewing_what_has_expired_is_not_found<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let registration = client
        .register(&node(1), harness.lease())
        .await
        .expect("registered");
    harness.pass(registration.ttl + harness.settle()).await;
    let error = client.renew(&registration).await.expect_err("expired");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(listed(&client).await, []);
}

/// A renewal can't bring back what was taken back.
pub async fn renewing_what_was_taken_back_is_not_found<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let registration = client.register(&node(1), LONG).await.expect("registered");
    client.deregister(&registration).await.expect("taken back");
    let error = client.renew(&registration).await.expect_err("taken back");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(listed(&client).await, []);
}

/// The second time there is nothing to do.
pub async fn taking_back_twice_is_no_error<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let registration = client.register(&node(1), LONG).await.expect("registered");
    for _ in 0..2 {
        client.deregister(&registration).await.expect("taken back");
    }
}

/// The endpoint is the key: one entry, with the newer lease.
pub async fn registering_again_replaces_the_entry<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let short = client
        .register(&node(1), harness.lease())
        .await
        .expect("registered");
    client
        .register(&node(1), LONG)
        .await
        .expect("registered again");
    assert_eq!(listed(&client).await, endpoints(&[1]));
    harness.pass(short.ttl + harness.settle()).await;
    assert_eq!(
        listed(&client).await,
        endpoints(&[1]),
        "the old lease ended the new entry"
    );
}

/// A process that takes back its registration late does not hide its successor.
pub async fn an_old_registration_cannot_end_a_newer_one<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let old = client.register(&node(1), LONG).await.expect("registered");
    client
        .register(&node(1), LONG)
        .await
        .expect("registered again");
    client
        .deregister(&old)
        .await
        .expect("nothing of it is left");
    assert_eq!(listed(&client).await, endpoints(&[1]));
}

/// Zero is no lease.
pub async fn a_lease_of_no_time_is_refused<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    let error = client
        .register(&node(1), Duration::ZERO)
        .await
        .expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(listed(&client).await, []);
}

/// Where the backend says so, names and labels arrive, and changing them is an event.
pub async fn metadata_is_kept<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return does_not_apply("nobody can register with it");
    };
    if !client.capabilities().metadata {
        return does_not_apply("it keeps addresses only");
    }
    let named = |zone: &str| {
        node(1)
            .with_name(NodeName::new("node-1").expect("a sound name"))
            .with_labels(Labels::new().with("zone", zone))
    };
    client
        .register(&named("eu"), LONG)
        .await
        .expect("registered");
    assert_eq!(client.list().await.expect("listed").nodes, [named("eu")]);
    let mut watcher = Watcher::open(harness, &client).await;
    assert_eq!(watcher.known.values().collect::<Vec<_>>(), [&named("eu")]);
    client
        .register(&named("us"), LONG)
        .await
        .expect("registered again");
    watcher.settle(harness).await;
    assert_eq!(watcher.known.values().collect::<Vec<_>>(), [&named("us")]);
}
