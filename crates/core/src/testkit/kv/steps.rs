//! What the rules are made of.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;

use crate::{
    ClockExt, Expect, KvEntry, KvEvent, KvRange, KvStore, KvWatch, Lease, PutOptions, Revision,
    SystemClock,
};

use super::Harness;

pub(super) async fn put<H: Harness>(
    harness: &H,
    store: &Arc<dyn KvStore>,
    key: &str,
    value: &str,
) -> Revision {
    put_with(harness, store, key, value, PutOptions::default()).await
}

pub(super) async fn put_with<H: Harness>(
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

pub(super) async fn get<H: Harness>(
    harness: &H,
    store: &Arc<dyn KvStore>,
    key: &str,
) -> Option<KvEntry> {
    store.get(&at(harness, key)).await.expect("read")
}

pub(super) async fn all<H: Harness>(harness: &H, store: &Arc<dyn KvStore>) -> KvRange {
    store
        .range(&harness.prefix(), "", 1000)
        .await
        .expect("read")
}

pub(super) async fn grant<H: Harness>(harness: &H, store: &Arc<dyn KvStore>) -> Lease {
    store
        .grant(harness.lease())
        .await
        .expect("a lease is granted")
}

pub(super) fn at<H: Harness>(harness: &H, key: &str) -> String {
    format!("{}{key}", harness.prefix())
}

pub(super) fn if_absent() -> PutOptions {
    PutOptions::default().with_expect(Expect::Absent)
}

pub(super) fn if_at(revision: Revision) -> PutOptions {
    PutOptions::default().with_expect(Expect::Revision(revision))
}

/// The next change of a watch; a rule fails if there is none within a minute.
pub(super) async fn next(watch: &mut KvWatch) -> KvEvent {
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

pub(super) fn text(event: &KvEvent) -> String {
    match event {
        KvEvent::Put(entry) => format!("{}={}", entry.key, String::from_utf8_lossy(&entry.value)),
        KvEvent::Deleted { key, .. } => format!("{key} deleted"),
        KvEvent::Resync(revision) => format!("resync at {}", revision.0),
    }
}

pub(super) fn revision(event: &KvEvent) -> Revision {
    match event {
        KvEvent::Put(entry) => entry.revision,
        KvEvent::Deleted { revision, .. } | KvEvent::Resync(revision) => *revision,
    }
}

pub(super) async fn fill<H: Harness>(
    harness: &H,
    store: &Arc<dyn KvStore>,
    count: usize,
) -> Vec<String> {
    let mut keys = Vec::new();
    for number in (0..count).rev() {
        let key = format!("key-{number:03}");
        put(harness, store, &key, "x").await;
        keys.push(at(harness, &key));
    }
    keys.reverse();
    keys
}

pub(super) fn keys(range: &KvRange) -> Vec<String> {
    range
        .entries
        .iter()
        .map(|entry| entry.key.clone())
        .collect()
}
