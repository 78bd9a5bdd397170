//! The replicated store passes the conformance suites of core: alone and as three members, in memory
//! and on the disk, on paused time over a network in memory.
#![cfg(feature = "raft")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "raft/cluster.rs"]
mod cluster;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{Discovery, KvStore, testkit};
use longshore_discovery::{KvDiscovery, KvDiscoveryOptions};

use cluster::{Cluster, Place};

/// A cluster of which every client is at another member.
struct Members {
    cluster: Cluster,
    next: AtomicUsize,
}

impl Members {
    async fn new(count: usize, place: Place) -> Self {
        Self {
            cluster: Cluster::start(count, place).await,
            next: AtomicUsize::new(0),
        }
    }

    fn client(&self) -> Arc<dyn KvStore> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::new(self.cluster.member(next % self.cluster.count()))
    }
}

#[async_trait]
impl testkit::kv::Harness for Members {
    async fn store(&self) -> Arc<dyn KvStore> {
        self.client()
    }
}

#[async_trait]
impl testkit::discovery::Harness for Members {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        let options = KvDiscoveryOptions::default().with_grace(Duration::from_millis(500));
        Arc::new(KvDiscovery::new(self.client(), cluster::clock(), options).unwrap())
    }

    /// Without a majority nobody can be asked.
    async fn set_reachable(&self, reachable: bool) -> bool {
        match reachable {
            true => self.cluster.network.heal(),
            false => (0..self.cluster.count()).for_each(|number| self.cluster.isolate(number)),
        }
        true
    }

    /// Until a member gives up reading, and until it tries again.
    fn settle(&self) -> Duration {
        Duration::from_secs(8)
    }
}

mod kv_of_one {
    use super::*;
    longshore_core::kv_suite!(paused, Members::new(1, Place::Memory).await);
}

mod kv_of_one_on_disk {
    use super::*;
    longshore_core::kv_suite!(paused, Members::new(1, Place::Disk).await);
}

mod kv_of_three {
    use super::*;
    longshore_core::kv_suite!(paused, Members::new(3, Place::Memory).await);
}

mod kv_of_three_on_disk {
    use super::*;
    longshore_core::kv_suite!(paused, Members::new(3, Place::Disk).await);
}

mod discovery_of_three {
    use super::*;
    longshore_core::discovery_suite!(paused, Members::new(3, Place::Memory).await);
}
