//! Ten thousand nodes in virtual time over the store and the cluster in memory.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{
    Announcement, Clock, ClockExt, Discovery, KvStore, MembershipEvent, PutOptions, Random,
    SeededRandom, Shutdown, SystemClock,
};
use longshore_discovery::{MemoryDiscovery, MemoryKv, Registrar, RegistrarOptions};

const COUNT: usize = 10_000;

fn node(number: usize) -> Announcement {
    let (high, low) = (number / 250, number % 250);
    Announcement::new(format!("10.0.{high}.{low}:2375").parse().unwrap())
}

/// Ten keepers of a thousand nodes each; nodes join, leave and come back, and a keeper crashes.
#[tokio::test(start_paused = true)]
async fn ten_thousand_nodes_join_renew_and_leave() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let cluster = MemoryDiscovery::new(clock.clone());
    let random = SeededRandom::new(11);
    let mut keepers = Vec::new();
    for seed in 0..10 {
        let options = RegistrarOptions::default().with_rate(100, 64);
        let random = Arc::new(SeededRandom::new(seed));
        let discovery = Arc::new(cluster.clone());
        let keeper = Registrar::new(discovery, options, clock.clone(), random).unwrap();
        let (shutdown, running) = (Shutdown::new(), keeper.clone());
        let until = shutdown.clone();
        let task = tokio::spawn(async move { running.run(&until).await });
        keepers.push((keeper, shutdown, task));
    }
    let mut watch = cluster.watch();
    let mut known = std::collections::BTreeSet::new();
    let mut expected: std::collections::BTreeSet<usize> = (0..COUNT).collect();
    for number in 0..COUNT {
        keepers[number % 10].0.add(node(number)).unwrap();
    }
    for (keeper, _, _) in &keepers {
        keeper
            .wait_for(|state| state.registered == COUNT / 10)
            .await;
    }
    assert_eq!(cluster.list().await.unwrap().nodes.len(), COUNT);
    // Ten minutes in which somebody comes or goes all the time.
    for _ in 0..600 {
        for _ in 0..5 {
            let number = (random.next_u64() as usize) % COUNT;
            let keeper = &keepers[number % 10].0;
            if expected.remove(&number) {
                keeper.remove(&node(number).endpoint);
            } else {
                expected.insert(number);
                keeper.add(node(number)).unwrap();
            }
        }
        clock.sleep(Duration::from_secs(1)).await;
    }
    // One process dies without a word: its nodes leave with their leases.
    keepers[3].2.abort();
    expected.retain(|number| number % 10 != 3);
    clock.sleep(Duration::from_secs(200)).await;
    let mut listed: Vec<_> = expected.iter().map(|number| node(*number)).collect();
    listed.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
    assert_eq!(cluster.list().await.unwrap().nodes, listed);
    // A watch that was not read all the time tells the same.
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(10), watch.next()).await
    {
        match event {
            MembershipEvent::Reset(all) => {
                known = all.into_iter().map(|node| node.endpoint).collect();
            }
            MembershipEvent::Added(node) => drop(known.insert(node.endpoint)),
            MembershipEvent::Removed(endpoint) => assert!(known.remove(&endpoint)),
            other => panic!("{other:?}"),
        }
    }
    assert!(known.iter().eq(listed.iter().map(|node| &node.endpoint)));
    for (_, shutdown, _) in &keepers {
        shutdown.trigger();
    }
    clock.sleep(Duration::from_secs(15)).await;
    assert!(cluster.list().await.unwrap().nodes.is_empty());
}

/// Ten thousand leases in one store, each kept alive, each ending alone.
#[tokio::test(start_paused = true)]
async fn ten_thousand_leases_live_and_end() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let store = MemoryKv::new(clock.clone());
    let ttl = Duration::from_secs(180);
    let mut leases = Vec::new();
    for number in 0..COUNT {
        let lease = store.grant(ttl).await.unwrap();
        let how = PutOptions::default().with_lease(lease.id);
        let key = format!("nodes/{number}");
        store
            .put(&key, bytes::Bytes::from_static(b"x"), how)
            .await
            .unwrap();
        leases.push(lease.id);
    }
    for _ in 0..5 {
        clock.sleep(Duration::from_secs(120)).await;
        for lease in leases.iter().skip(1).step_by(2) {
            store.keep_alive(*lease).await.unwrap();
        }
    }
    let left = store.range("nodes/", "", 2 * COUNT).await.unwrap().entries;
    assert_eq!(left.len(), COUNT / 2);
    clock.sleep(ttl).await;
    let left = store.range("nodes/", "", 2 * COUNT).await.unwrap().entries;
    assert!(left.is_empty());
}
