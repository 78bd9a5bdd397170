//! ZooKeeper passes the suites of core.
#![cfg(feature = "zookeeper")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "live/servers.rs"]
mod servers;

use std::{sync::Arc, time::Duration};

use longshore_discovery::ZooKeeperKv;
use longshore_lab::StoreKind;
use servers::Subject;

/// The server's tick is half a second, so sessions have one to ten seconds.
const ZOOKEEPER: Subject = Subject {
    kind: StoreKind::ZooKeeper,
    members: 1,
    connect: |addresses| Arc::new(ZooKeeperKv::new(&servers::store_options(addresses))),
    lease: Duration::from_secs(2),
    slack: Duration::from_millis(1500),
    configuration: "",
};

mod kv_over_zookeeper {
    use super::*;
    longshore_core::kv_suite!(live, or_skip!(ZOOKEEPER.kv(module_path!())));
}

mod discovery_over_zookeeper {
    use super::*;
    longshore_core::discovery_suite!(live, or_skip!(ZOOKEEPER.discovery(module_path!())));
}
