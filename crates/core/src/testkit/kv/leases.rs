//! Keys that end by themselves.

use std::time::Duration;

use bytes::Bytes;
use futures::future;

use crate::{ErrorKind, PutOptions};

use super::{Harness, steps::*};

/// A leased key lives as long as its lease and ends soon after.
pub async fn keys_vanish_with_their_lease_and_not_before<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let lease = grant(harness, &store).await;
    put_with(
        harness,
        &store,
        "a",
        "1",
        PutOptions::default().with_lease(lease.id),
    )
    .await;
    put(harness, &store, "b", "1").await;
    let entry = get(harness, &store, "a").await.expect("there");
    assert_eq!(entry.lease, Some(lease.id));
    harness.pass(lease.ttl / 2).await;
    assert!(
        get(harness, &store, "a").await.is_some(),
        "the key vanished before its lease"
    );
    harness.pass(lease.ttl / 2 + harness.slack()).await;
    assert_eq!(
        get(harness, &store, "a").await,
        None,
        "the key outlived its lease"
    );
    assert_eq!(keys(&all(harness, &store).await), [at(harness, "b")]);
}

/// Each keep-alive gives the whole time again.
pub async fn a_lease_kept_alive_goes_on<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let lease = grant(harness, &store).await;
    put_with(
        harness,
        &store,
        "a",
        "1",
        PutOptions::default().with_lease(lease.id),
    )
    .await;
    for _ in 0..4 {
        harness.pass(lease.ttl * 6 / 10).await;
        store.keep_alive(lease.id).await.expect("the lease lives");
    }
    assert!(
        get(harness, &store, "a").await.is_some(),
        "a lease kept alive ended"
    );
}

/// Too late is too late.
pub async fn an_ended_lease_cannot_be_kept_alive<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let lease = grant(harness, &store).await;
    harness.pass(lease.ttl + harness.slack()).await;
    let error = store
        .keep_alive(lease.id)
        .await
        .expect_err("the lease has ended");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let revoked = grant(harness, &store).await;
    store.revoke(revoked.id).await.expect("revoked");
    let error = store
        .keep_alive(revoked.id)
        .await
        .expect_err("the lease was revoked");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// A key can't be tied to a lease that has ended.
pub async fn an_ended_lease_takes_no_keys<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let lease = grant(harness, &store).await;
    store.revoke(lease.id).await.expect("revoked");
    let options = PutOptions::default().with_lease(lease.id);
    let error = store.put(&at(harness, "a"), Bytes::new(), options).await;
    assert_eq!(
        error.expect_err("the lease has ended").kind(),
        ErrorKind::NotFound
    );
    assert_eq!(get(harness, &store, "a").await, None);
}

/// Its keys go at once; ending it twice is no error.
pub async fn a_revoked_lease_takes_its_keys_along<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let lease = grant(harness, &store).await;
    put_with(
        harness,
        &store,
        "a",
        "1",
        PutOptions::default().with_lease(lease.id),
    )
    .await;
    put(harness, &store, "b", "1").await;
    for _ in 0..2 {
        store.revoke(lease.id).await.expect("revoked");
    }
    assert_eq!(keys(&all(harness, &store).await), [at(harness, "b")]);
}

/// Writing a key without a lease takes it off its old one.
pub async fn a_key_rewritten_without_lease_stays<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let lease = grant(harness, &store).await;
    put_with(
        harness,
        &store,
        "a",
        "1",
        PutOptions::default().with_lease(lease.id),
    )
    .await;
    put(harness, &store, "a", "2").await;
    store.revoke(lease.id).await.expect("revoked");
    assert_eq!(get(harness, &store, "a").await.expect("there").lease, None);
}

/// The end of a lease is told like any other deletion.
pub async fn the_end_of_a_lease_is_seen_by_watches<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let lease = grant(harness, &store).await;
    let options = PutOptions::default().with_lease(lease.id);
    let from = put_with(harness, &store, "a", "1", options).await;
    let mut watch =
        Reader::new(&store, &harness.prefix(), Some(from)).knowing(at(harness, "a"), from);
    let (event, ()) = future::join(watch.next(), harness.pass(lease.ttl + harness.slack())).await;
    assert_eq!(text(&event), format!("{} deleted", at(harness, "a")));
    assert!(revision(&event) > from);
}

/// Zero is no span of life.
pub async fn a_lease_of_no_time_is_refused<H: Harness>(harness: &H) {
    let error = harness
        .store()
        .await
        .grant(Duration::ZERO)
        .await
        .expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}
