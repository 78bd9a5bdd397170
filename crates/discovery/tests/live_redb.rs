//! The store in a file passes the suites of core, and is closed when it is told to.
#![cfg(feature = "redb")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{Clock, Discovery, ErrorKind, KvStore, PutOptions, SystemClock, testkit};
use longshore_discovery::{KvDiscovery, KvDiscoveryOptions, KvLimits, RedbKv};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

struct File {
    store: RedbKv,
    _directory: tempfile::TempDir,
}

impl File {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store.redb");
        Self {
            store: RedbKv::open(path, clock(), KvLimits::default()).unwrap(),
            _directory: directory,
        }
    }
}

#[async_trait]
impl testkit::kv::Harness for File {
    async fn store(&self) -> Arc<dyn KvStore> {
        Arc::new(self.store.clone())
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(1500)
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(300)
    }
}

#[async_trait]
impl testkit::discovery::Harness for File {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        let options = KvDiscoveryOptions::default().with_grace(Duration::from_millis(200));
        Arc::new(KvDiscovery::new(Arc::new(self.store.clone()), clock(), options).unwrap())
    }

    async fn spoil(&self) -> bool {
        let (key, value) = ("docker/swarm/nodes/x", bytes::Bytes::from_static(b"?"));
        let put = self.store.put(key, value, PutOptions::default());
        put.await.unwrap();
        true
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(1500)
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(700)
    }
}

mod kv_over_redb {
    use super::*;
    longshore_core::kv_suite!(live, File::new());
}

mod discovery_over_redb {
    use super::*;
    longshore_core::discovery_suite!(live, File::new());
}

/// Everything of the store that may be under way: writes, reads, a watch, a follower of nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_is_free_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let open = || RedbKv::open(&path, clock(), KvLimits::default());
    for round in 0..20 {
        let store = open().unwrap_or_else(|error| panic!("round {round}: {}", error.chain()));
        let mut written = Vec::new();
        for number in 0..20 {
            let (write, read) = (store.clone(), store.clone());
            written.push(tokio::spawn(async move {
                let key = format!("{round}/{number}");
                write.put(&key, "v".into(), PutOptions::default()).await
            }));
            // Given up in mid-read.
            tokio::spawn(async move { read.range("", "", 1000).await }).abort();
        }
        let (kept, mut watch) = (store.clone(), store.watch("", None));
        let follower = tokio::spawn(async move { while watch.next().await.is_some() {} });
        let options = KvDiscoveryOptions::default();
        let nodes = KvDiscovery::new(Arc::new(store.clone()), clock(), options).unwrap();
        tokio::spawn(async move { nodes.watch().next().await });
        tokio::task::yield_now().await;
        store.close().await;
        let again = open().unwrap_or_else(|error| panic!("round {round}: {}", error.chain()));
        // What was acknowledged is there; what was not was refused.
        for (number, write) in written.into_iter().enumerate() {
            let key = format!("{round}/{number}");
            match write.await.unwrap() {
                Ok(_) => assert!(again.get(&key).await.unwrap().is_some(), "{key}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Closed, "{error:?}"),
            }
        }
        follower.await.unwrap();
        again.close().await;
        refuses(&kept).await;
    }
}

/// All of it, and for all clients.
async fn refuses(store: &RedbKv) {
    let refused = [
        store.get("k").await.map(drop),
        store.range("", "", 1).await.map(drop),
        store
            .put("k", "v".into(), PutOptions::default())
            .await
            .map(drop),
        store.grant(Duration::from_secs(1)).await.map(drop),
        store.keep_alive(longshore_core::LeaseId(1)).await,
    ];
    for refused in refused {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    }
    // Again is no mistake.
    store.close().await;
}

/// A changed byte is refused or changes nothing; and the file is its owner's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_not_as_it_was_written_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let open = || RedbKv::open(&path, clock(), KvLimits::default());
    let store = open().unwrap();
    for number in 0..60 {
        let value = vec![b'a' + (number % 26) as u8; 100];
        let key = format!("key-{number}");
        let done = store.put(&key, value.into(), PutOptions::default()).await;
        done.unwrap();
    }
    let entries = async |store: &RedbKv| store.range("", "", 1000).await.unwrap().entries;
    let whole = entries(&store).await;
    store.close().await;
    #[cfg(unix)]
    {
        let permissions = std::fs::metadata(&path).unwrap().permissions();
        let mode = std::os::unix::fs::PermissionsExt::mode(&permissions);
        assert_eq!(mode & 0o777, 0o600);
    }
    let bytes = std::fs::read(&path).unwrap();
    let used: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] != 0).collect();
    let mut refused = 0;
    for at in used.iter().copied().step_by(used.len() / 150) {
        let mut bad = bytes.clone();
        bad[at] ^= 0x41;
        std::fs::write(&path, &bad).unwrap();
        match open() {
            Ok(store) => {
                assert_eq!(entries(&store).await, whole, "byte {at}");
                store.close().await;
            }
            Err(error) => {
                assert!(error.message().contains("store.redb"), "byte {at}: {error}");
                refused += 1;
            }
        }
    }
    // Otherwise what was changed was never looked at.
    assert!(refused > 20, "{refused}");
}
