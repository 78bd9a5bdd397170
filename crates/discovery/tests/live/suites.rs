//! The harnesses of the suites: one server per kind and test binary (or the one that the environment
//! names), a prefix per test.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{
    Discovery, KvStore, PutOptions,
    testkit::{discovery, kv},
};
use longshore_discovery::{KvDiscovery, KvDiscoveryOptions};
use longshore_lab::{Store, StoreKind, StoreSpec, TcpShim};

use crate::{
    relays::{set_reachable, shims},
    servers::{Subject, clock},
};

impl Subject {
    /// The server that tests share; `None` (said and counted) where the program is missing.
    fn shared(&self, suite: &str) -> Option<Vec<SocketAddr>> {
        static SHARED: OnceLock<Mutex<Vec<(StoreKind, usize, Store)>>> = OnceLock::new();
        if let Some(addresses) = Store::shared(self.kind, self.members) {
            return Some(addresses);
        }
        if let Err(reason) = self.kind.available() {
            longshore_lab::skip(suite, &reason);
            return None;
        }
        let mut shared: MutexGuard<'_, _> = SHARED.get_or_init(Mutex::default).lock().unwrap();
        let found = shared
            .iter()
            .find(|(kind, members, _)| (*kind, *members) == (self.kind, self.members));
        if let Some((_, _, store)) = found {
            return Some(store.addresses());
        }
        let store = self.start(&StoreSpec::default(), suite)?;
        let addresses = store.addresses();
        shared.push((self.kind, self.members, store));
        Some(addresses)
    }

    pub fn kv(self, rule: &str) -> Option<LiveKv> {
        let addresses = self.shared(&format!("kv over {}: {rule}", self.kind.as_str()))?;
        Some(LiveKv {
            subject: self,
            addresses,
            prefix: unique("kv"),
        })
    }

    pub fn discovery(self, rule: &str) -> Option<LiveDiscovery> {
        let addresses = self.shared(&format!("discovery over {}: {rule}", self.kind.as_str()))?;
        Some(LiveDiscovery {
            subject: self,
            shims: shims(&addresses),
            addresses,
            prefix: unique("discovery"),
        })
    }
}

/// Different for every test, also in other processes on the same server.
pub fn unique(what: &str) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    format!("{what}-{}-{number}/", std::process::id())
}

/// The harness of the suite of [`KvStore`].
pub struct LiveKv {
    subject: Subject,
    addresses: Vec<SocketAddr>,
    prefix: String,
}

#[async_trait]
impl kv::Harness for LiveKv {
    async fn store(&self) -> Arc<dyn KvStore> {
        (self.subject.connect)(&self.addresses)
    }

    fn prefix(&self) -> String {
        self.prefix.clone()
    }

    fn lease(&self) -> Duration {
        self.subject.lease
    }

    fn slack(&self) -> Duration {
        self.subject.slack
    }
}

/// The harness of the suite of [`Discovery`]. Clients reach the store through relays that can be
/// cut.
pub struct LiveDiscovery {
    subject: Subject,
    addresses: Vec<SocketAddr>,
    shims: Vec<TcpShim>,
    prefix: String,
}

#[async_trait]
impl discovery::Harness for LiveDiscovery {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        let addresses: Vec<_> = self.shims.iter().map(TcpShim::address).collect();
        let options = KvDiscoveryOptions::default()
            .with_prefix(&self.prefix)
            .with_grace(Duration::from_millis(250));
        let store = (self.subject.connect)(&addresses);
        Arc::new(KvDiscovery::new(store, clock(), options).unwrap())
    }

    async fn spoil(&self) -> bool {
        let key = format!("{}docker/swarm/nodes/job-17", self.prefix);
        let value = Bytes::from_static(b"{\"job\": 17}");
        let store = (self.subject.connect)(&self.addresses);
        store.put(&key, value, PutOptions::default()).await.unwrap();
        true
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        set_reachable(&self.shims, reachable);
        true
    }

    fn lease(&self) -> Duration {
        self.subject.lease
    }

    fn settle(&self) -> Duration {
        self.subject.slack + Duration::from_millis(500)
    }
}

/// A harness, or the end of the test when its store is not here.
#[macro_export]
macro_rules! or_skip {
    ($harness:expr) => {
        match $harness {
            Some(harness) => harness,
            None => return,
        }
    };
}
