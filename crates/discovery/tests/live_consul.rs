//! Consul passes the suites of core.
#![cfg(feature = "consul")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "live/servers.rs"]
mod servers;

use std::{sync::Arc, time::Duration};

use longshore_discovery::ConsulKv;
use longshore_lab::StoreKind;
use servers::Subject;

/// The server takes sessions of half a second.
const CONSUL: Subject = Subject {
    kind: StoreKind::Consul,
    members: 1,
    connect: |addresses| {
        let store = ConsulKv::new(&servers::store_options(addresses)).unwrap();
        Arc::new(store.with_session_ttl_min(Duration::from_millis(500)))
    },
    lease: Duration::from_secs(3),
    slack: Duration::from_millis(1200),
    configuration: "",
};

mod kv_over_consul {
    use super::*;
    longshore_core::kv_suite!(live, or_skip!(CONSUL.kv(module_path!())));
}

mod discovery_over_consul {
    use super::*;
    longshore_core::discovery_suite!(live, or_skip!(CONSUL.discovery(module_path!())));
}
