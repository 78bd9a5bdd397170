//! etcd, alone and as a cluster of three, passes the suites of core.
#![cfg(feature = "etcd")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "live/servers.rs"]
mod servers;

use std::{sync::Arc, time::Duration};

use longshore_discovery::EtcdKv;
use longshore_lab::StoreKind;
use servers::Subject;

const ETCD: Subject = Subject {
    kind: StoreKind::Etcd,
    members: 1,
    connect: |addresses| Arc::new(EtcdKv::new(&servers::store_options(addresses))),
    lease: Duration::from_secs(3),
    slack: Duration::from_millis(1200),
    configuration: "",
};

const THREE: Subject = Subject { members: 3, ..ETCD };

mod kv_over_etcd {
    use super::*;
    longshore_core::kv_suite!(live, or_skip!(ETCD.kv(module_path!())));
}

mod kv_over_three_etcds {
    use super::*;
    longshore_core::kv_suite!(live, or_skip!(THREE.kv(module_path!())));
}

mod discovery_over_etcd {
    use super::*;
    longshore_core::discovery_suite!(live, or_skip!(ETCD.discovery(module_path!())));
}

mod discovery_over_three_etcds {
    use super::*;
    longshore_core::discovery_suite!(live, or_skip!(THREE.discovery(module_path!())));
}
