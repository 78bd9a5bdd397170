//! Decorated backends pass the conformance suite as the backends inside do.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{Clock, Discovery, SystemClock, testkit::discovery::Harness};
use longshore_discovery::{
    CachedDiscovery, DampedDiscovery, DampingPolicy, MemoryDiscovery, MergedDiscovery,
};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

type Wrap = fn(Vec<MemoryDiscovery>) -> Arc<dyn Discovery>;

/// Clusters in memory, and how they are wrapped.
struct Wrapped(Vec<MemoryDiscovery>, Wrap);

impl Wrapped {
    fn new(clusters: usize, wrap: Wrap) -> Self {
        let cluster = || MemoryDiscovery::new(clock());
        Self((0..clusters).map(|_| cluster()).collect(), wrap)
    }
}

#[async_trait]
impl Harness for Wrapped {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        (self.1)(self.0.clone())
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        for cluster in &self.0 {
            cluster.set_reachable(reachable);
        }
        true
    }
}

fn merged(clusters: Vec<MemoryDiscovery>) -> Arc<dyn Discovery> {
    let all = clusters.into_iter();
    let all = all.map(|it| Arc::new(it) as Arc<dyn Discovery>).collect();
    Arc::new(MergedDiscovery::new(all, clock()).expect("there are some"))
}

fn cached(mut clusters: Vec<MemoryDiscovery>) -> Arc<dyn Discovery> {
    let inner = Arc::new(clusters.remove(0));
    // Stale views are not served: the rules want to see a failure.
    let recheck = Duration::from_secs(1);
    Arc::new(CachedDiscovery::with_limits(
        inner,
        clock(),
        Duration::ZERO,
        recheck,
    ))
}

fn damped(mut clusters: Vec<MemoryDiscovery>) -> Arc<dyn Discovery> {
    let inner = Arc::new(clusters.remove(0));
    let policy = DampingPolicy::default();
    Arc::new(DampedDiscovery::new(inner, policy, clock()).expect("a sound policy"))
}

/// As a control plane would have it.
fn all_three(clusters: Vec<MemoryDiscovery>) -> Arc<dyn Discovery> {
    let recheck = Duration::from_secs(1);
    let merged = merged(clusters);
    let cached = CachedDiscovery::with_limits(merged, clock(), Duration::ZERO, recheck);
    let policy = DampingPolicy::default();
    Arc::new(DampedDiscovery::new(Arc::new(cached), policy, clock()).expect("a sound policy"))
}

mod merged_from_one {
    use super::*;
    longshore_core::discovery_suite!(paused, Wrapped::new(1, merged));
}

mod merged_from_three {
    use super::*;
    longshore_core::discovery_suite!(paused, Wrapped::new(3, merged));
}

mod cached_ones {
    use super::*;
    longshore_core::discovery_suite!(paused, Wrapped::new(1, cached));
}

mod damped_ones {
    use super::*;
    longshore_core::discovery_suite!(paused, Wrapped::new(1, damped));
}

mod all_three_together {
    use super::*;
    longshore_core::discovery_suite!(paused, Wrapped::new(2, all_three));
}
