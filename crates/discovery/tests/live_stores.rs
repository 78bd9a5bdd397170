//! etcd (alone and three of them), Consul and ZooKeeper pass the suites of core, through clients of
//! this crate and against real servers.
#![cfg(any(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "live/relays.rs"]
mod relays;
#[path = "live/servers.rs"]
mod servers;
#[path = "live/subjects.rs"]
mod subjects;
#[path = "live/suites.rs"]
mod suites;

macro_rules! suites {
    ($kv:ident, $discovery:ident, $subject:ident) => {
        mod $kv {
            use crate::{or_skip, subjects::$subject};
            longshore_core::kv_suite!(live, or_skip!($subject.kv(module_path!())));
        }

        mod $discovery {
            use crate::{or_skip, subjects::$subject};
            longshore_core::discovery_suite!(live, or_skip!($subject.discovery(module_path!())));
        }
    };
}

#[cfg(feature = "etcd")]
suites!(kv_over_etcd, discovery_over_etcd, ETCD);
#[cfg(feature = "etcd")]
suites!(kv_over_three_etcds, discovery_over_three_etcds, THREE_ETCDS);
#[cfg(feature = "consul")]
suites!(kv_over_consul, discovery_over_consul, CONSUL);
#[cfg(feature = "zookeeper")]
suites!(kv_over_zookeeper, discovery_over_zookeeper, ZOOKEEPER);
