//! Lists and watches.

use crate::testkit::suite::does_not_apply;
use futures::{FutureExt, StreamExt};

use crate::WatchMode;

use super::{Harness, steps::*};

/// The first event is a [`MembershipEvent::Reset`](crate::MembershipEvent::Reset) with all nodes.
pub async fn a_watch_starts_with_the_full_set<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    let watcher = Watcher::open(harness, &client).await;
    assert_eq!(watcher.endpoints(), endpoints(&[1, 2, 3]));
}

/// Also while others watch, and later.
pub async fn every_watch_starts_with_the_full_set<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let first = Watcher::open(harness, &client).await;
    let second = Watcher::open(harness, &client).await;
    assert_eq!(first.endpoints(), second.endpoints());
    drop(first);
    assert_eq!(
        Watcher::open(harness, &client).await.endpoints(),
        endpoints(&[1, 2])
    );
}

/// Ending a watch leaves other watches and the list alone.
pub async fn a_dropped_watch_harms_nobody<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let mut kept = Watcher::open(harness, &client).await;
    drop(Watcher::open(harness, &client).await);
    drop(client.watch());
    kept.settle(harness).await;
    assert_eq!(kept.endpoints(), endpoints(&[1, 2]));
    assert_eq!(listed(&client).await, endpoints(&[1, 2]));
}

/// A watch that was begun and is not read on may be in the middle of anything; other calls go on.
pub async fn a_watch_nobody_reads_holds_up_nobody<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let mut unread = Vec::new();
    for polls in 0..8 {
        let mut watch = client.watch();
        for _ in 0..polls {
            let _ = watch.next().now_or_never();
            tokio::task::yield_now().await;
        }
        unread.push(watch);
        tokio::select! {
            biased;
            nodes = listed(&client) => assert_eq!(nodes, endpoints(&[1, 2])),
            () = harness.pass(harness.settle() * 3) => {
                panic!("a list waits for a watch that was polled {polls} times");
            }
        }
    }
}

/// By endpoint, each once, in whatever order they came.
pub async fn a_list_is_sorted_without_duplicates<H: Harness>(harness: &H) {
    let client = cluster(harness, &[9, 10, 2, 9]).await;
    assert_eq!(listed(&client).await, endpoints(&[2, 9, 10]));
}

/// What one client sees, all see.
pub async fn clients_see_the_same_cluster<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    assert_eq!(
        listed(&harness.discovery().await).await,
        listed(&client).await
    );
}

/// Come, go and change: what a watch tells adds up to what a list says.
pub async fn applying_the_events_gives_the_list<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    if client.capabilities().watch == WatchMode::Fixed {
        return does_not_apply("its nodes never change");
    }
    let mut watcher = Watcher::open(harness, &client).await;
    let steps: [&[u8]; 6] = [
        &[1, 2, 3],
        &[1, 2, 3, 4, 5],
        &[2, 3, 4, 5],
        &[6],
        &[],
        &[7, 8],
    ];
    for pair in steps.windows(2) {
        change(harness, &client, pair[0], pair[1]).await;
        watcher.settle(harness).await;
        assert_eq!(watcher.endpoints(), endpoints(pair[1]));
        assert_eq!(listed(&client).await, endpoints(pair[1]));
    }
}

/// No news is no event.
pub async fn an_unchanged_cluster_tells_nothing<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    for _ in 0..3 {
        watcher.settle(harness).await;
    }
    assert_eq!((watcher.changes, watcher.problems), (0, 0));
}
