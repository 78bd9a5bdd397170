//! What the rules are made of.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

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

/// A watch whose reader reads again when it is told to: what it sees is changes only.
pub(super) struct Reader {
    store: Arc<dyn KvStore>,
    prefix: String,
    watch: KvWatch,
    /// What was seen so far, by key.
    known: BTreeMap<String, Revision>,
    due: VecDeque<KvEvent>,
}

impl Reader {
    /// Watches under `prefix` from where nothing had been told yet.
    pub(super) fn new(store: &Arc<dyn KvStore>, prefix: &str, from: Option<Revision>) -> Self {
        Self {
            store: store.clone(),
            prefix: prefix.to_owned(),
            watch: store.watch(prefix, from),
            known: BTreeMap::new(),
            due: VecDeque::new(),
        }
    }

    /// Says what was there at the revision that is watched from.
    pub(super) fn knowing(mut self, key: String, revision: Revision) -> Self {
        self.known.insert(key, revision);
        self
    }

    pub(super) async fn next(&mut self) -> KvEvent {
        loop {
            let event = match self.due.pop_front() {
                Some(event) => event,
                None => match next(&mut self.watch).await {
                    KvEvent::Resync(_) => {
                        self.read_again().await;
                        continue;
                    }
                    event => event,
                },
            };
            match &event {
                KvEvent::Put(entry) => {
                    let seen = self.known.insert(entry.key.clone(), entry.revision);
                    // Read again just before the watch told it.
                    if seen == Some(entry.revision) {
                        continue;
                    }
                }
                KvEvent::Deleted { key, .. } => {
                    if self.known.remove(key).is_none() {
                        continue;
                    }
                }
                KvEvent::Resync(_) => {}
            }
            return event;
        }
    }

    /// What changed since, by revision.
    async fn read_again(&mut self) {
        let range = self
            .store
            .range(&self.prefix, "", 1000)
            .await
            .expect("read");
        let gone: Vec<_> = self
            .known
            .keys()
            .filter(|key| !range.entries.iter().any(|entry| entry.key == **key))
            .cloned()
            .collect();
        let mut changed: Vec<_> = range
            .entries
            .into_iter()
            .filter(|entry| self.known.get(&entry.key) != Some(&entry.revision))
            .map(KvEvent::Put)
            .collect();
        changed.extend(gone.into_iter().map(|key| KvEvent::Deleted {
            key,
            revision: range.revision,
        }));
        changed.sort_by_key(revision);
        self.due.extend(changed);
    }
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
