//! Managers with the same store and other endpoints.
#![cfg(feature = "etcd")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]
#![allow(dead_code, reason = "shared with programs that use more of it")]

#[path = "live/servers.rs"]
mod servers;
#[path = "live/subjects.rs"]
mod subjects;

use std::{sync::Arc, time::Duration};

use longshore_core::{ClockExt, OsRandom, Shutdown, SystemClock};
use longshore_discovery::{Election, ElectionOptions, FencingToken};
use longshore_lab::StoreSpec;
use subjects::THREE_ETCDS;

const TTL: Duration = Duration::from_secs(6);

/// L7: the loss of one endpoint is a failover, not an election. Two managers name the same three
/// servers in opposite orders; either's first one dies, and the leader is the same with the same token.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_the_loss_of_an_endpoint_changes_no_leader() {
    let Some(mut store) = THREE_ETCDS.start(&StoreSpec::default(), "rule L7") else {
        return;
    };
    let (clock, shutdown) = (Arc::new(SystemClock::new()), Shutdown::new());
    let mut addresses = store.addresses();
    let mut elections = Vec::new();
    for name in ["a", "b"] {
        let options = ElectionOptions::candidate("l7", name).with_ttl(TTL);
        let kv = (THREE_ETCDS.connect)(&addresses);
        let election = Election::new(kv, options, clock.clone(), Arc::new(OsRandom)).unwrap();
        let (runs, stop) = (election.clone(), shutdown.clone());
        shutdown.spawn(async move { runs.run(&stop).await });
        elections.push(election);
        addresses.reverse();
    }
    let leading = || -> Vec<(usize, FencingToken)> {
        let all = elections.iter().enumerate();
        all.filter_map(|(who, election)| {
            let leadership = election.leadership()?;
            leadership.is_valid().then(|| (who, leadership.token()))
        })
        .collect()
    };
    while leading().is_empty() {
        clock.sleep(Duration::from_millis(50)).await;
    }
    let before = leading();
    assert_eq!(before.len(), 1);
    // The first of the one, and then of the other; a majority of servers is always there.
    for dead in [0, 2] {
        store.member(dead).kill();
        let end = clock.sleep(TTL * 2);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => break,
                () = clock.sleep(Duration::from_millis(50)) => {
                    assert_eq!(leading(), before, "server {dead} died");
                }
            }
        }
        store.member(dead).restart().unwrap();
        store.await_ready().unwrap();
    }
    shutdown.trigger();
    shutdown.finish(&*clock, Duration::from_secs(5)).await;
}
