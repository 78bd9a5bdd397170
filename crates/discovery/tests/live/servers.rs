//! The stores that live tests share: one server per kind and test binary, a prefix per test.

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
    Clock, Discovery, Endpoint, KvStore, PutOptions, SystemClock,
    testkit::{discovery, kv},
};
use longshore_discovery::{KvDiscovery, KvDiscoveryOptions, StoreOptions};
use longshore_lab::{LinkSchedule, Store, StoreKind, StoreSpec, TcpShim};

pub fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

pub fn endpoints(addresses: &[SocketAddr]) -> Vec<Endpoint> {
    addresses.iter().map(|address| (*address).into()).collect()
}

pub fn store_options(addresses: &[SocketAddr]) -> StoreOptions {
    StoreOptions::new(endpoints(addresses), clock())
        .unwrap()
        .with_request_limit(Duration::from_secs(3))
}

/// A client of a kind of store at these addresses.
pub type Connect = fn(&[SocketAddr]) -> Arc<dyn KvStore>;

/// One kind of store as the suites see it.
#[derive(Clone, Copy)]
pub struct Subject {
    pub kind: StoreKind,
    pub members: usize,
    pub connect: Connect,
    /// A lease that it can keep and that tests can wait for.
    pub lease: Duration,
    /// How long after its end a lease may still be seen.
    pub slack: Duration,
    /// Added to the server's configuration.
    pub configuration: &'static str,
}

impl Subject {
    /// The server that the tests of this binary share; `None` (said and counted) where the program
    /// is missing.
    fn shared(&self, suite: &str) -> Option<Vec<SocketAddr>> {
        static SHARED: OnceLock<Mutex<Vec<(StoreKind, usize, Store)>>> = OnceLock::new();
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
        let store = self.start(suite)?;
        let addresses = store.addresses();
        shared.push((self.kind, self.members, store));
        Some(addresses)
    }

    /// A server of its own, to be disturbed.
    pub fn start(&self, suite: &str) -> Option<Store> {
        let spec = StoreSpec::default().with_configuration(self.configuration);
        Store::start_or_skip(self.kind, self.members, &spec, suite)
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
        let shims = addresses
            .iter()
            .map(|address| {
                let shim = TcpShim::start([127, 0, 0, 1].into(), *address, LinkSchedule::default());
                shim.unwrap()
            })
            .collect();
        Some(LiveDiscovery {
            subject: self,
            addresses,
            shims,
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
        for shim in &self.shims {
            match reachable {
                true => shim.set_link(LinkSchedule::default()),
                false => {
                    shim.set_link(LinkSchedule::default().with_loss(1.0));
                    shim.break_connections();
                }
            }
        }
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
