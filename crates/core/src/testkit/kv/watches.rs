//! Following changes.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};

use crate::{Expect, KvEvent};

use super::{Harness, steps::*};

/// Range, then watch from its revision: nothing in between is lost.
pub async fn a_watch_from_a_revision_misses_nothing<H: Harness>(harness: &H) {
    let store = harness.store().await;
    fill(harness, &store, 3).await;
    let range = all(harness, &store).await;
    let mut known: BTreeMap<String, Bytes> = range
        .entries
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect();
    for number in 0..10 {
        put(
            harness,
            &store,
            &format!("key-{:03}", number % 5),
            &number.to_string(),
        )
        .await;
    }
    store
        .delete(&at(harness, "key-002"), Expect::Any)
        .await
        .expect("deleted");
    let mut watch = store.watch(&harness.prefix(), Some(range.revision));
    put(harness, &store, "last", "x").await;
    while !known.contains_key(&at(harness, "last")) {
        match next(&mut watch).await {
            KvEvent::Put(entry) => drop(known.insert(entry.key, entry.value)),
            KvEvent::Deleted { key, .. } => drop(known.remove(&key)),
            KvEvent::Resync(_) => {
                let range = all(harness, &store).await;
                known = range
                    .entries
                    .into_iter()
                    .map(|entry| (entry.key, entry.value))
                    .collect();
            }
        }
    }
    let range = all(harness, &store).await;
    let stored: BTreeMap<_, _> = range
        .entries
        .into_iter()
        .map(|entry| (entry.key, entry.value))
        .collect();
    assert_eq!(known, stored);
}

/// Every later change once, in the order in which they were made.
pub async fn a_watch_tells_nothing_twice_in_order<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let from = put(harness, &store, "a", "0").await;
    let mut watch = store.watch(&harness.prefix(), Some(from));
    put(harness, &store, "a", "1").await;
    put(harness, &store, "b", "2").await;
    store
        .delete(&at(harness, "a"), Expect::Any)
        .await
        .expect("deleted");
    put(harness, &store, "a", "3").await;
    let mut seen = Vec::new();
    let mut last = from;
    for _ in 0..4 {
        let event = next(&mut watch).await;
        assert!(revision(&event) > last, "{event:?} after {last:?}");
        last = revision(&event);
        seen.push(text(&event));
    }
    let (a, b) = (at(harness, "a"), at(harness, "b"));
    assert_eq!(
        seen,
        [
            format!("{a}=1"),
            format!("{b}=2"),
            format!("{a} deleted"),
            format!("{a}=3")
        ]
    );
}

/// Changes elsewhere are not told.
pub async fn a_watch_stays_under_its_prefix<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let from = put(harness, &store, "start", "x").await;
    let mut watch = store.watch(&at(harness, "a/"), Some(from));
    for key in ["a", "b/1", "a0", "a/1"] {
        put(harness, &store, key, "x").await;
    }
    assert_eq!(
        text(&next(&mut watch).await),
        format!("{}=x", at(harness, "a/1"))
    );
}

/// Without a revision, only what changes from now on.
pub async fn a_watch_from_now_tells_no_past<H: Harness>(harness: &H) {
    let store = harness.store().await;
    put(harness, &store, "past", "x").await;
    let mut watch = store.watch(&harness.prefix(), None);
    // A server may take a moment to open the watch, so changes go on until one is seen.
    let writing = async {
        for number in 0..1000 {
            put(harness, &store, "now", &number.to_string()).await;
            harness.pass(Duration::from_millis(20)).await;
        }
    };
    tokio::select! {
        event = next(&mut watch) => {
            assert!(text(&event).starts_with(&at(harness, "now=")), "{event:?}");
        }
        () = writing => panic!("a thousand changes and none was told"),
    }
}

/// Watches are independent and agree.
pub async fn two_watches_see_the_same<H: Harness>(harness: &H) {
    let (one, other) = (harness.store().await, harness.store().await);
    let from = put(harness, &one, "start", "x").await;
    let mut left = one.watch(&harness.prefix(), Some(from));
    let mut right = other.watch(&harness.prefix(), Some(from));
    for number in 0..5 {
        put(harness, &one, "a", &number.to_string()).await;
    }
    for _ in 0..5 {
        assert_eq!(next(&mut left).await, next(&mut right).await);
    }
}

/// Ending a watch leaves the store and other watches alone.
pub async fn a_dropped_watch_harms_nobody<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let from = put(harness, &store, "start", "x").await;
    let mut kept = store.watch(&harness.prefix(), Some(from));
    let mut dropped = store.watch(&harness.prefix(), Some(from));
    put(harness, &store, "a", "1").await;
    next(&mut dropped).await;
    drop(dropped);
    put(harness, &store, "a", "2").await;
    assert_eq!(
        text(&next(&mut kept).await),
        format!("{}=1", at(harness, "a"))
    );
    assert_eq!(
        text(&next(&mut kept).await),
        format!("{}=2", at(harness, "a"))
    );
}

/// A watch that was begun and is not read on may be in the middle of anything; other calls go on.
pub async fn a_watch_nobody_reads_holds_up_nobody<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let mut unread = Vec::new();
    for polls in 0..8 {
        let mut watch = store.watch(&harness.prefix(), None);
        for _ in 0..polls {
            let _ = watch.next().now_or_never();
            tokio::task::yield_now().await;
        }
        unread.push(watch);
        let writing = async {
            put(harness, &store, "a", "x").await;
            all(harness, &store).await.entries.len()
        };
        tokio::select! {
            biased;
            found = writing => assert_eq!(found, 1),
            () = harness.pass(Duration::from_secs(10)) => {
                panic!("a write waits for a watch that was polled {polls} times");
            }
        }
    }
}
