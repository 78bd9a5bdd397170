//! What can not be read.

use super::{Harness, steps::*};
use crate::testkit::suite::does_not_apply;

/// Being unable to read is no evidence that somebody left; watchers are told about the problem.
pub async fn an_unreachable_backend_removes_nothing<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    if !harness.set_reachable(false).await {
        return does_not_apply("it can't be cut off here");
    }
    for _ in 0..3 {
        watcher.settle(harness).await;
    }
    assert_eq!(watcher.endpoints(), endpoints(&[1, 2, 3]));
    assert!(
        watcher.problems > 0,
        "the watch did not tell that the backend is unreachable"
    );
    let error = client.list().await.expect_err("there is nothing to read");
    assert!(error.is_retryable(), "{error:?}: the backend may come back");
}

/// After an outage watches go on by themselves, with what changed meanwhile.
pub async fn an_unreachable_backend_comes_back<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    if !harness.set_reachable(false).await {
        return does_not_apply("it can't be cut off here");
    }
    watcher.settle(harness).await;
    assert!(harness.set_reachable(true).await);
    change(harness, &client, &[1, 2, 3], &[1, 2, 4]).await;
    for _ in 0..3 {
        watcher.settle(harness).await;
    }
    assert_eq!(watcher.endpoints(), endpoints(&[1, 2, 4]));
    assert_eq!(listed(&client).await, endpoints(&[1, 2, 4]));
}

/// Also when nothing changed: who took the view for stale learns that it is not.
pub async fn a_recovery_is_told_by_a_full_set<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    for _ in 0..2 {
        let (resets, problems) = (watcher.resets, watcher.problems);
        if !harness.set_reachable(false).await {
            return does_not_apply("it can't be cut off here");
        }
        for _ in 0..5 {
            if watcher.problems == problems {
                watcher.settle(harness).await;
            }
        }
        assert!(watcher.problems > problems, "the outage was not told");
        assert_eq!(watcher.resets, resets, "nothing was read");
        assert!(harness.set_reachable(true).await);
        for _ in 0..10 {
            if watcher.resets == resets {
                watcher.settle(harness).await;
            }
        }
        assert!(watcher.resets > resets, "the recovery was not told");
        assert_eq!(watcher.endpoints(), endpoints(&[1, 2, 3]));
    }
}

/// The others stay and the bad one is reported, in lists and watches.
pub async fn a_bad_entry_loses_no_good_one<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    if !harness.spoil().await {
        return does_not_apply("it has no entries that others could write");
    }
    watcher.settle(harness).await;
    assert_eq!(watcher.endpoints(), endpoints(&[1, 2]));
    assert!(
        watcher.problems > 0,
        "the watch did not tell about the bad entry"
    );
    let membership = client.list().await.expect("good entries are listed");
    assert!(
        !membership.problems.is_empty(),
        "the list did not tell about the bad entry"
    );
    let found: Vec<_> = membership
        .nodes
        .into_iter()
        .map(|node| node.endpoint)
        .collect();
    assert_eq!(found, endpoints(&[1, 2]));
}
