//! Reading, writing, deleting, and conditions.

use std::sync::Arc;

use bytes::Bytes;
use futures::future;

use crate::{ErrorKind, Expect, KvStore, PutOptions};

use super::{Harness, steps::*};

/// What was acknowledged is there, as it was written.
pub async fn a_written_key_is_read_back<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let first = put(harness, &store, "a", "1").await;
    let entry = get(harness, &store, "a").await.expect("there");
    assert_eq!(entry.key, at(harness, "a"));
    assert_eq!(
        (&entry.value[..], entry.revision, entry.lease),
        (&b"1"[..], first, None)
    );
    let second = put(harness, &store, "a", "2").await;
    let entry = get(harness, &store, "a").await.expect("there");
    assert_eq!((&entry.value[..], entry.revision), (&b"2"[..], second));
}

/// An acknowledged write is seen by every later read, whoever reads.
pub async fn other_clients_read_what_was_written<H: Harness>(harness: &H) {
    let (writer, reader) = (harness.store().await, harness.store().await);
    for number in 0..20 {
        let value = number.to_string();
        put(harness, &writer, "a", &value).await;
        let entry = get(harness, &reader, "a").await.expect("there");
        assert_eq!(entry.value, value.as_bytes());
    }
}

/// Nothing is nothing, not empty.
pub async fn a_missing_key_is_nothing<H: Harness>(harness: &H) {
    let store = harness.store().await;
    assert_eq!(get(harness, &store, "a").await, None);
    put(harness, &store, "a", "").await;
    assert!(
        get(harness, &store, "a")
            .await
            .is_some_and(|entry| entry.value.is_empty())
    );
}

/// Every change has a larger revision than the one before, over all keys.
pub async fn revisions_grow<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let mut last = all(harness, &store).await.revision;
    for key in ["a", "b", "a", "c"] {
        let now = put(harness, &store, key, "x").await;
        assert!(now > last, "{now:?} after {last:?}");
        last = now;
    }
    store
        .delete(&at(harness, "a"), Expect::Any)
        .await
        .expect("deleted");
    assert!(all(harness, &store).await.revision > last);
}

/// Of many who create a key at once, exactly one succeeds; the others get a conflict.
pub async fn one_of_many_creators_wins<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let winners = race(harness, &store, if_absent()).await;
    let entry = get(harness, &store, "a").await.expect("there");
    assert_eq!(winners, [String::from_utf8_lossy(&entry.value)]);
}

/// Sixteen writers under one condition; the values of those who won.
async fn race<H: Harness>(
    harness: &H,
    store: &Arc<dyn KvStore>,
    options: PutOptions,
) -> Vec<String> {
    let key = at(harness, "a");
    let writers = (0..16).map(|number| {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move {
            let value = format!("writer {number}");
            match store.put(&key, value.clone().into(), options).await {
                Ok(_) => Some(value),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
                    None
                }
            }
        })
    });
    let outcomes = future::join_all(writers).await;
    outcomes
        .into_iter()
        .filter_map(|outcome| outcome.expect("no writer panics"))
        .collect()
}

/// Compare-and-swap: an old revision, or one of a missing key, is a conflict and changes nothing.
pub async fn a_swap_needs_the_last_revision<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let old = put(harness, &store, "a", "1").await;
    let last = put_with(harness, &store, "a", "2", if_at(old)).await;
    for (key, options) in [("a", if_at(old)), ("a", if_absent()), ("b", if_at(last))] {
        let error = store.put(&at(harness, key), Bytes::new(), options).await;
        assert_eq!(
            error.expect_err("a false condition").kind(),
            ErrorKind::Conflict
        );
    }
    assert_eq!(
        get(harness, &store, "a").await.expect("there").revision,
        last
    );
    assert_eq!(get(harness, &store, "b").await, None);
}

/// Of many swaps from one revision, exactly one succeeds.
pub async fn one_of_many_swaps_wins<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let from = put(harness, &store, "a", "start").await;
    let winners = race(harness, &store, if_at(from)).await;
    let entry = get(harness, &store, "a").await.expect("there");
    assert_eq!(winners, [String::from_utf8_lossy(&entry.value)]);
}

/// A counter raised by swaps from many tasks counts every one.
pub async fn concurrent_increments_lose_nothing<H: Harness>(harness: &H) {
    let store = harness.store().await;
    put(harness, &store, "count", "0").await;
    let key = at(harness, "count");
    let tasks = (0..4).map(|_| {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                while !increment(&store, &key).await {}
            }
        })
    });
    for task in future::join_all(tasks).await {
        task.expect("no task panics");
    }
    assert_eq!(
        get(harness, &store, "count").await.expect("there").value,
        "40"
    );
}

/// One try to raise the counter; false when somebody else was faster.
async fn increment(store: &Arc<dyn KvStore>, key: &str) -> bool {
    let entry = store.get(key).await.expect("read").expect("there");
    let count: u32 = String::from_utf8_lossy(&entry.value)
        .parse()
        .expect("a number");
    let options = if_at(entry.revision);
    match store
        .put(key, (count + 1).to_string().into(), options)
        .await
    {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::Conflict => false,
        Err(error) => panic!("{error:?}"),
    }
}

/// True for a key that was there, false for one that was not; it is gone afterwards.
pub async fn deleting_says_whether_there_was_a_key<H: Harness>(harness: &H) {
    let store = harness.store().await;
    put(harness, &store, "a", "1").await;
    let key = at(harness, "a");
    assert!(store.delete(&key, Expect::Any).await.expect("deleted"));
    assert!(
        !store
            .delete(&key, Expect::Any)
            .await
            .expect("nothing to delete")
    );
    assert_eq!(get(harness, &store, "a").await, None);
}

/// The key stays when the condition does not hold, and goes when it does.
pub async fn a_delete_under_a_false_condition_is_a_conflict<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let old = put(harness, &store, "a", "1").await;
    let last = put(harness, &store, "a", "2").await;
    let key = at(harness, "a");
    for expect in [Expect::Revision(old), Expect::Absent] {
        let error = store
            .delete(&key, expect)
            .await
            .expect_err("a false condition");
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
    assert!(get(harness, &store, "a").await.is_some());
    assert!(
        store
            .delete(&key, Expect::Revision(last))
            .await
            .expect("the condition holds")
    );
    let error = store
        .delete(&key, Expect::Revision(last))
        .await
        .expect_err("no such key");
    assert_eq!(error.kind(), ErrorKind::Conflict);
}
