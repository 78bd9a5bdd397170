//! 1,000 random operations with 100 disconnects against a model, over each real store: in the end the
//! view is the store's, every change was told in order, nobody is lost and nobody a ghost.
#![cfg(any(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "model/oracle.rs"]
mod oracle;
#[path = "live/relays.rs"]
mod relays;
#[path = "model/replay.rs"]
mod replay;
#[path = "model/scenario.rs"]
mod scenario;
#[path = "live/servers.rs"]
mod servers;
#[path = "model/steps.rs"]
mod steps;
#[path = "live/subjects.rs"]
mod subjects;
#[path = "model/watchers.rs"]
mod watchers;

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use longshore_lab::{StoreSpec, TcpShim};
use scenario::World;
use servers::{Subject, clock};

/// A few cases, each under a prefix of its own. Each takes long, so one that fails is shrunk a little
/// only; its seed runs it again.
fn over(subject: Subject, test: &str) {
    let suite = format!("{} against a model", subject.kind.as_str());
    let Some(store) = subject.start(&StoreSpec::default(), &suite) else {
        return;
    };
    let addresses = store.addresses();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let runs = AtomicU32::new(0);
    let body = |steps| {
        runtime.block_on(async {
            let shims = relays::shims(&addresses);
            let far: Vec<_> = shims.iter().map(TcpShim::address).collect();
            let world = World {
                near: (subject.connect)(&addresses),
                far: (subject.connect)(&far),
                clock: clock(),
                set_reachable: Box::new(move |reachable| relays::set_reachable(&shims, reachable)),
                prefix: format!("run-{}", runs.fetch_add(1, Ordering::Relaxed)),
                grace: Duration::from_millis(1500),
                short: subject.lease,
                slack: subject.slack + Duration::from_millis(500),
                pace: Duration::ZERO,
            };
            scenario::run(world, steps).await
        })
    };
    replay::run(
        ("live_model", test),
        CASES,
        SHRINKS,
        &steps::thousand(1),
        body,
    );
}

const CASES: u32 = 2;
const SHRINKS: u32 = 8;

#[cfg(feature = "etcd")]
#[test]
fn over_three_etcds() {
    over(subjects::THREE_ETCDS, "over_three_etcds");
}

#[cfg(feature = "consul")]
#[test]
fn over_consul() {
    over(subjects::CONSUL, "over_consul");
}

#[cfg(feature = "zookeeper")]
#[test]
fn over_zookeeper() {
    over(subjects::ZOOKEEPER, "over_zookeeper");
}
