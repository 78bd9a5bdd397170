//! The kinds of store that are tested.

use std::{sync::Arc, time::Duration};

use longshore_lab::StoreKind;

use crate::servers::{self, Subject};

#[cfg(feature = "etcd")]
pub const ETCD: Subject = Subject {
    kind: StoreKind::Etcd,
    members: 1,
    connect: |addresses| {
        let options = servers::store_options(addresses);
        Arc::new(longshore_discovery::EtcdKv::new(&options))
    },
    lease: Duration::from_secs(3),
    slack: Duration::from_millis(1200),
};

#[cfg(feature = "etcd")]
pub const THREE_ETCDS: Subject = Subject { members: 3, ..ETCD };

/// The server takes sessions of half a second.
#[cfg(feature = "consul")]
pub const CONSUL: Subject = Subject {
    kind: StoreKind::Consul,
    members: 1,
    connect: |addresses| {
        let options = servers::store_options(addresses);
        let store = longshore_discovery::ConsulKv::new(&options).unwrap();
        Arc::new(store.with_session_ttl_min(Duration::from_millis(500)))
    },
    lease: Duration::from_secs(3),
    slack: Duration::from_millis(1200),
};

/// The server's tick is half a second, so sessions have one to ten seconds.
#[cfg(feature = "zookeeper")]
pub const ZOOKEEPER: Subject = Subject {
    kind: StoreKind::ZooKeeper,
    members: 1,
    connect: |addresses| {
        let options = servers::store_options(addresses);
        Arc::new(longshore_discovery::ZooKeeperKv::new(&options))
    },
    lease: Duration::from_secs(2),
    slack: Duration::from_millis(1500),
};
