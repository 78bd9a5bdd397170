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

/// Every later change once, in the order in which they were made; a store without a history tells
/// the last change of each key, in order as well.
pub async fn a_watch_tells_nothing_twice_in_order<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let from = put(harness, &store, "a", "0").await;
    let (a, b) = (at(harness, "a"), at(harness, "b"));
    let mut watch = Reader::new(&store, &harness.prefix(), Some(from)).knowing(a.clone(), from);
    put(harness, &store, "a", "1").await;
    put(harness, &store, "b", "2").await;
    store.delete(&a, Expect::Any).await.expect("deleted");
    put(harness, &store, "a", "3").await;
    let all = [
        format!("{a}=1"),
        format!("{b}=2"),
        format!("{a} deleted"),
        format!("{a}=3"),
    ];
    let mut seen = Vec::new();
    let mut last = from;
    while seen.last() != all.last() {
        let event = watch.next().await;
        assert!(revision(&event) > last, "{event:?} after {last:?}");
        last = revision(&event);
        seen.push(text(&event));
    }
    if store.capabilities().every_change {
        assert_eq!(seen, all);
        return;
    }
    assert!(seen.contains(&all[1]), "{seen:?}");
    let mut left = all.iter();
    let in_order = seen.iter().all(|event| left.any(|known| known == event));
    assert!(in_order, "{seen:?} are not some of {all:?}");
}

/// Changes elsewhere are not told.
pub async fn a_watch_stays_under_its_prefix<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let from = put(harness, &store, "start", "x").await;
    let mut watch = Reader::new(&store, &at(harness, "a/"), Some(from));
    for key in ["a", "b/1", "a0", "a/1"] {
        put(harness, &store, key, "x").await;
    }
    assert_eq!(
        text(&watch.next().await),
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
    let start = at(harness, "start");
    let mut left = Reader::new(&one, &harness.prefix(), Some(from)).knowing(start.clone(), from);
    let mut right = Reader::new(&other, &harness.prefix(), Some(from)).knowing(start, from);
    let mut last = from;
    for number in 0..5 {
        last = put(harness, &one, "a", &number.to_string()).await;
    }
    if one.capabilities().every_change {
        for _ in 0..5 {
            assert_eq!(left.next().await, right.next().await);
        }
        return;
    }
    // Which of the changes each was told is its own matter; both come to the last.
    for watch in [&mut left, &mut right] {
        while revision(&watch.next().await) < last {}
    }
}

/// Ending a watch leaves the store and other watches alone.
pub async fn a_dropped_watch_harms_nobody<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let from = put(harness, &store, "start", "x").await;
    let start = || Reader::new(&store, &harness.prefix(), Some(from));
    let mut kept = start().knowing(at(harness, "start"), from);
    let mut dropped = start().knowing(at(harness, "start"), from);
    put(harness, &store, "a", "1").await;
    dropped.next().await;
    drop(dropped);
    let first = format!("{}=1", at(harness, "a"));
    if store.capabilities().every_change {
        assert_eq!(text(&kept.next().await), first);
    }
    put(harness, &store, "a", "2").await;
    let mut next = text(&kept.next().await);
    if !store.capabilities().every_change && next == first {
        next = text(&kept.next().await);
    }
    assert_eq!(next, format!("{}=2", at(harness, "a")));
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
