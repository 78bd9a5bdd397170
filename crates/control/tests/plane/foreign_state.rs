//! Desired stacks in a store that others write to, or that is not sound.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_control::ControlPlane;
use longshore_core::{
    Clock, ClockExt, Error, Expect, KvCapabilities, KvEntry, KvRange, KvStore, KvWatch, Lease,
    LeaseId, PutOptions, Result, Revision, SystemClock, TransactionOp,
};

use crate::{
    cluster::{FakeDiscovery, FakeEngines},
    scheduler::FewestFirst,
};

/// Says that there is always more.
#[derive(Debug, Default)]
struct Endless {
    /// Gives the same page again; else new keys for ever.
    repeats: bool,
    /// Of the present reading, and of the longest one.
    pages: AtomicUsize,
    most: AtomicUsize,
}

#[async_trait]
impl KvStore for Endless {
    fn capabilities(&self) -> KvCapabilities {
        KvCapabilities::volatile(Duration::from_millis(1))
    }

    fn describe(&self) -> String {
        "endless://".to_owned()
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        if after.is_empty() {
            self.pages.store(0, Ordering::Relaxed);
        }
        let page = self.pages.fetch_add(1, Ordering::Relaxed);
        self.most.fetch_max(page + 1, Ordering::Relaxed);
        assert!(page < 5_000, "it is read for ever");
        let first = if self.repeats { 0 } else { page * limit };
        let entries = (first..first + limit).map(|number| {
            let key = format!("{prefix}{number:09}");
            KvEntry::new(key, "foreign", Revision(1))
        });
        Ok(KvRange::new(entries.collect(), Revision(1), true))
    }

    fn watch(&self, _: &str, _: Option<Revision>) -> KvWatch {
        futures::stream::pending().boxed()
    }

    async fn get(&self, _: &str) -> Result<Option<KvEntry>> {
        Ok(None)
    }

    async fn put(&self, _: &str, _: bytes::Bytes, _: PutOptions) -> Result<Revision> {
        Err(Error::unsupported("read only"))
    }

    async fn delete(&self, _: &str, _: Expect) -> Result<bool> {
        Err(Error::unsupported("read only"))
    }

    async fn transact(&self, _: Vec<TransactionOp>) -> Result<Revision> {
        Err(Error::unsupported("read only"))
    }

    async fn grant(&self, _: Duration) -> Result<Lease> {
        Err(Error::unsupported("read only"))
    }

    async fn keep_alive(&self, _: LeaseId) -> Result<()> {
        Err(Error::unsupported("read only"))
    }

    async fn revoke(&self, _: LeaseId) -> Result<()> {
        Err(Error::unsupported("read only"))
    }
}

/// In one reading; when the next one begins is chance.
async fn pages_read(repeats: bool) -> usize {
    let store = Arc::new(Endless {
        repeats,
        ..Endless::default()
    });
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let plane = ControlPlane::builder()
        .discovery(FakeDiscovery::new())
        .engines(Arc::new(FakeEngines::default()))
        .scheduler(Box::new(FewestFirst::default()))
        .clock(clock.clone())
        .state(store.clone(), "test")
        .build()
        .unwrap();
    plane.start();
    clock.sleep(Duration::from_millis(100)).await;
    store.most.load(Ordering::Relaxed)
}

/// A store that never comes to an end is given up, and its content is not kept.
#[tokio::test(start_paused = true)]
async fn a_store_of_stacks_without_an_end_is_not_read_for_ever() {
    let pages = pages_read(true).await;
    assert!((1..=10).contains(&pages), "{pages} pages");
    let pages = pages_read(false).await;
    assert!((1..=110).contains(&pages), "{pages} pages");
}
