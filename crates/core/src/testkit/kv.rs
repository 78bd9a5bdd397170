//! The rules of [`KvStore`](crate::KvStore).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, future};

use crate::{
    ClockExt, ErrorKind, Expect, KvEntry, KvEvent, KvRange, KvStore, KvWatch, Lease, PutOptions,
    Revision, SystemClock, TransactionOp,
};

/// What a store's tests need.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A client of this harness's one store. A second call gives another client of the same store.
    async fn store(&self) -> Arc<dyn KvStore>;

    /// What all keys of this harness begin with. On a server that several tests share, make it
    /// different for each harness.
    fn prefix(&self) -> String {
        "conformance/".to_owned()
    }

    /// Lets time pass for the store. The default waits on tokio's time.
    async fn pass(&self, by: Duration) {
        SystemClock::new().sleep(by).await;
    }

    /// A lease that the store can keep and that the tests can wait for.
    fn lease(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// How long after its end a lease's keys may still be seen.
    fn slack(&self) -> Duration {
        Duration::from_secs(1)
    }
}

/// Makes one test of each rule for the harness: `kv_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! kv_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            kv,
            $harness,
            [
                a_written_key_is_read_back,
                other_clients_read_what_was_written,
                a_missing_key_is_nothing,
                revisions_grow,
                one_of_many_creators_wins,
                a_swap_needs_the_last_revision,
                one_of_many_swaps_wins,
                concurrent_increments_lose_nothing,
                deleting_says_whether_there_was_a_key,
                a_delete_under_a_false_condition_is_a_conflict,
                a_range_is_sorted_and_complete,
                a_range_reads_on_from_where_it_was_cut,
                a_range_stays_under_its_prefix,
                a_watch_from_a_revision_misses_nothing,
                a_watch_tells_nothing_twice_in_order,
                a_watch_stays_under_its_prefix,
                a_watch_from_now_tells_no_past,
                two_watches_see_the_same,
                a_dropped_watch_harms_nobody,
                keys_vanish_with_their_lease_and_not_before,
                a_lease_kept_alive_goes_on,
                an_ended_lease_cannot_be_kept_alive,
                an_ended_lease_takes_no_keys,
                a_revoked_lease_takes_its_keys_along,
                a_key_rewritten_without_lease_stays,
                the_end_of_a_lease_is_seen_by_watches,
                a_lease_of_no_time_is_refused,
                a_transaction_does_all,
                a_transaction_does_nothing_if_one_condition_fails,
                a_key_twice_in_a_transaction_is_refused,
                without_transactions_they_are_unsupported,
                bad_keys_are_refused,
                long_keys_and_values_have_a_bound,
                values_are_bytes,
            ]
        );
    };
}

async fn put<H: Harness>(
    harness: &H,
    store: &Arc<dyn KvStore>,
    key: &str,
    value: &str,
) -> Revision {
    put_with(harness, store, key, value, PutOptions::default()).await
}

async fn put_with<H: Harness>(
    harness: &H,
    store: &Arc<dyn KvStore>,
    key: &str,
    value: &str,
    options: PutOptions,
) -> Revision {
    let key = at(harness, key);
    store
        .put(&key, Bytes::copy_from_slice(value.as_bytes()), options)
        .await
        .expect("written")
}

async fn get<H: Harness>(harness: &H, store: &Arc<dyn KvStore>, key: &str) -> Option<KvEntry> {
    store.get(&at(harness, key)).await.expect("read")
}

async fn all<H: Harness>(harness: &H, store: &Arc<dyn KvStore>) -> KvRange {
    store
        .range(&harness.prefix(), "", 1000)
        .await
        .expect("read")
}

async fn grant<H: Harness>(harness: &H, store: &Arc<dyn KvStore>) -> Lease {
    store
        .grant(harness.lease())
        .await
        .expect("a lease is granted")
}

fn at<H: Harness>(harness: &H, key: &str) -> String {
    format!("{}{key}", harness.prefix())
}

fn if_absent() -> PutOptions {
    PutOptions::default().with_expect(Expect::Absent)
}

fn if_at(revision: Revision) -> PutOptions {
    PutOptions::default().with_expect(Expect::Revision(revision))
}

/// The next change of a watch; a rule fails if there is none within a minute.
async fn next(watch: &mut KvWatch) -> KvEvent {
    let clock = SystemClock::new();
    let event = clock.timeout(
        Duration::from_secs(60),
        "the next change of a watch",
        watch.next(),
    );
    let event = event
        .await
        .expect("a change arrives")
        .expect("a watch does not end by itself");
    event.expect("a watch of a healthy store gives changes")
}

fn text(event: &KvEvent) -> String {
    match event {
        KvEvent::Put(entry) => format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value)),
        KvEvent::Deleted { key, .. } => format!("{key} deleted"),
        KvEvent::Resync(revision) => format!("resync at {}", revision.0),
    }
}

fn revision(event: &KvEvent) -> Revision {
    match event {
        KvEvent::Put(entry) => entry.revision,
        KvEvent::Deleted { revision, .. } | KvEvent::Resync(revision) => *revision,
    }
}

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

async fn fill<H: Harness>(harness: &H, store: &Arc<dyn KvStore>, count: usize) -> Vec<String> {
    let mut keys = Vec::new();
    for number in (0..count).rev() {
        let key = format!("key-{number:03}");
        put(harness, store, &key, "x").await;
        keys.push(at(harness, &key));
    }
    keys.reverse();
    keys
}

fn keys(range: &KvRange) -> Vec<String> {
    range
        .entries
        .iter()
        .map(|entry| entry.key.clone())
        .collect()
}

/// All keys, by key, with the revision from which to watch on.
pub async fn a_range_is_sorted_and_complete<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let written = fill(harness, &store, 20).await;
    let range = all(harness, &store).await;
    assert_eq!(keys(&range), written);
    assert!(!range.more);
    assert!(
        range
            .entries
            .iter()
            .all(|entry| entry.revision <= range.revision)
    );
}

/// Pages join without gap or overlap, and only the last says that there is no more.
pub async fn a_range_reads_on_from_where_it_was_cut<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let written = fill(harness, &store, 10).await;
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = store
            .range(&harness.prefix(), &after, 4)
            .await
            .expect("read");
        assert!(page.entries.len() <= 4 && !page.entries.is_empty());
        found.extend(keys(&page));
        after = found.last().expect("not empty").clone();
        if !page.more {
            break;
        }
    }
    assert_eq!(found, written);
    let none = store
        .range(&harness.prefix(), &after, 4)
        .await
        .expect("read");
    assert!(none.entries.is_empty() && !none.more);
}

/// Keys that only look alike stay out.
pub async fn a_range_stays_under_its_prefix<H: Harness>(harness: &H) {
    let store = harness.store().await;
    for key in ["a", "a/1", "a/2", "a0", "b/1"] {
        put(harness, &store, key, "x").await;
    }
    let range = store
        .range(&at(harness, "a/"), "", 100)
        .await
        .expect("read");
    assert_eq!(keys(&range), [at(harness, "a/1"), at(harness, "a/2")]);
}

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
    let mut watch = store.watch(&harness.prefix(), Some(from));
    let (event, ()) =
        future::join(next(&mut watch), harness.pass(lease.ttl + harness.slack())).await;
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

fn put_step<H: Harness>(harness: &H, key: &str, options: PutOptions) -> TransactionOp {
    TransactionOp::Put {
        key: at(harness, key),
        value: Bytes::from_static(b"new"),
        options,
    }
}

fn delete_step<H: Harness>(harness: &H, key: &str, expect: Expect) -> TransactionOp {
    TransactionOp::Delete {
        key: at(harness, key),
        expect,
    }
}

/// When all conditions hold, all steps are done, and seen at the returned revision.
pub async fn a_transaction_does_all<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return;
    }
    let old = put(harness, &store, "a", "1").await;
    put(harness, &store, "b", "1").await;
    let steps = vec![
        put_step(harness, "a", if_at(old)),
        delete_step(harness, "b", Expect::Any),
        put_step(harness, "c", if_absent()),
    ];
    let done = store.transact(steps).await.expect("all conditions hold");
    let range = all(harness, &store).await;
    assert_eq!(keys(&range), [at(harness, "a"), at(harness, "c")]);
    assert!(
        range
            .entries
            .iter()
            .all(|entry| entry.value == "new" && entry.revision > old)
    );
    assert!(done > old && range.revision >= done);
}

/// One false condition, wherever it stands, and nothing is done.
pub async fn a_transaction_does_nothing_if_one_condition_fails<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return;
    }
    let old = put(harness, &store, "a", "1").await;
    put(harness, &store, "a", "2").await;
    put(harness, &store, "b", "1").await;
    let before = all(harness, &store).await;
    for place in 0..3 {
        let mut steps = vec![
            put_step(harness, "c", if_absent()),
            delete_step(harness, "b", Expect::Any),
        ];
        steps.insert(place, put_step(harness, "a", if_at(old)));
        let error = store.transact(steps).await.expect_err("a false condition");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let after = all(harness, &store).await;
        assert_eq!(
            (after.entries, after.revision),
            (before.entries.clone(), before.revision)
        );
    }
}

/// Two steps on one key have no meaning that all stores share.
pub async fn a_key_twice_in_a_transaction_is_refused<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if !store.capabilities().transactions {
        return;
    }
    let steps = vec![
        put_step(harness, "a", PutOptions::default()),
        delete_step(harness, "a", Expect::Any),
    ];
    let error = store.transact(steps).await.expect_err("a key twice");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(get(harness, &store, "a").await, None);
}

/// A store that has none says so, and its capabilities did before.
pub async fn without_transactions_they_are_unsupported<H: Harness>(harness: &H) {
    let store = harness.store().await;
    if store.capabilities().transactions {
        return;
    }
    let steps = vec![put_step(harness, "a", PutOptions::default())];
    let error = store.transact(steps).await.expect_err("not offered");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_eq!(get(harness, &store, "a").await, None);
}

/// Empty keys and NUL are refused before anything is written.
pub async fn bad_keys_are_refused<H: Harness>(harness: &H) {
    let store = harness.store().await;
    for key in [String::new(), at(harness, "a\0b")] {
        let error = store.put(&key, Bytes::new(), PutOptions::default()).await;
        assert_eq!(
            error.expect_err("a bad key").kind(),
            ErrorKind::InvalidInput,
            "{key:?}"
        );
    }
    assert!(all(harness, &store).await.entries.is_empty());
}

/// 1 KiB of key and 1 MiB of value are taken, one byte more is not.
pub async fn long_keys_and_values_have_a_bound<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let longest = "k".repeat(1024 - harness.prefix().len());
    put(harness, &store, &longest, "x").await;
    let largest = "v".repeat(1 << 20);
    put(harness, &store, "large", &largest).await;
    assert_eq!(
        get(harness, &store, "large").await.expect("there").value,
        largest
    );
    for (key, value) in [
        (format!("{longest}k"), "x".into()),
        ("a".into(), format!("{largest}v")),
    ] {
        let key = at(harness, &key);
        let error = store.put(&key, value.into(), PutOptions::default()).await;
        assert_eq!(error.expect_err("too long").kind(), ErrorKind::InvalidInput);
    }
}

/// Any bytes come back as they were; keys may have any character but NUL.
pub async fn values_are_bytes<H: Harness>(harness: &H) {
    let store = harness.store().await;
    let value: Vec<u8> = (0..=255).collect();
    let key = at(harness, "ключ /\n?#%20\u{1f980}");
    store
        .put(&key, value.clone().into(), PutOptions::default())
        .await
        .expect("written");
    assert_eq!(
        store.get(&key).await.expect("read").expect("there").value,
        value
    );
    let range = all(harness, &store).await;
    assert_eq!(keys(&range), [key]);
}
