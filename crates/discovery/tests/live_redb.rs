//! The store in a file passes the suites of core.
#![cfg(feature = "redb")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{Clock, Discovery, KvStore, SystemClock, testkit};
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
        let put = self
            .store
            .put(key, value, longshore_core::PutOptions::default());
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
