//! Kinds of store, and servers of them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use longshore_core::{Clock, Endpoint, KvStore, SystemClock};
use longshore_discovery::StoreOptions;
use longshore_lab::{Store, StoreKind, StoreSpec};

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
}

impl Subject {
    /// A server of its own, to be disturbed.
    pub fn start(&self, spec: &StoreSpec, suite: &str) -> Option<Store> {
        Store::start_or_skip(self.kind, self.members, spec, suite)
    }
}
