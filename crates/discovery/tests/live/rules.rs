//! Rules of the specification, each on the real store that it is about.

use std::{sync::Arc, time::Duration};

use longshore_core::{
    ClockExt, Discovery, Endpoint, ErrorKind, KvStore, LeaseId, PutOptions, SystemClock,
};
use longshore_discovery::{ConsulKv, EtcdKv, KvDiscovery, KvDiscoveryOptions, StoreOptions};
use longshore_lab::StoreSpec;

use crate::{
    follow::node,
    servers::{clock, store_options},
    subjects::{CONSUL, ETCD, ZOOKEEPER},
};

const TTL: Duration = Duration::from_secs(60);

fn over(store: Arc<dyn KvStore>) -> KvDiscovery {
    KvDiscovery::new(store, clock(), KvDiscoveryOptions::default()).unwrap()
}

/// Swarm's layout, under a lease of etcd 3; and entries that Swarm wrote without one are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d13_etcd_keeps_swarms_layout_under_leases() {
    let Some(server) = ETCD.start(&StoreSpec::default(), "rule D13") else {
        return;
    };
    let store: Arc<dyn KvStore> = Arc::new(EtcdKv::new(&store_options(&server.addresses())));
    let discovery = over(store.clone());
    let registration = discovery.register(&node(1), TTL).await.unwrap();
    let key = "docker/swarm/nodes/10.0.0.1:1";
    let entry = store.get(key).await.unwrap().unwrap();
    assert_eq!(entry.value, "10.0.0.1:1");
    assert_eq!(
        entry.lease,
        Some(LeaseId(registration.handle.parse().unwrap()))
    );
    let old = "docker/swarm/nodes/10.0.0.1:2";
    store
        .put(old, "10.0.0.1:2".into(), PutOptions::default())
        .await
        .unwrap();
    assert_eq!(discovery.list().await.unwrap().nodes, [node(1), node(2)]);
}

/// A key is written and tied to its session in one step, also when another session or none held it;
/// and the first of several servers may be dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d7_consul_never_detaches_a_key_from_its_session() {
    let Some(server) = CONSUL.start(&StoreSpec::default(), "rule D7") else {
        return;
    };
    // Nobody listens on the first.
    let dead = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let addresses = [dead, server.addresses()[0]].map(Endpoint::from).to_vec();
    let store = ConsulKv::new(&StoreOptions::new(addresses, clock()).unwrap()).unwrap();
    let store = Arc::new(store.with_session_ttl_min(Duration::from_millis(500)));
    let key = "k";
    store
        .put(key, "free".into(), PutOptions::default())
        .await
        .unwrap();
    let mut last = None;
    for _ in 0..2 {
        let lease = store.grant(TTL).await.unwrap();
        let tied = PutOptions::default().with_lease(lease.id);
        // The same value, from a free key and from another session's.
        store.put(key, "tied".into(), tied).await.unwrap();
        assert_eq!(store.get(key).await.unwrap().unwrap().lease, Some(lease.id));
        if let Some(before) = last.replace(lease.id) {
            store.revoke(before).await.unwrap();
            assert!(
                store.get(key).await.unwrap().is_some(),
                "the old session took the key along"
            );
        }
    }
    store.revoke(last.unwrap()).await.unwrap();
    assert_eq!(
        store.get(key).await.unwrap(),
        None,
        "the key outlived its session"
    );
    // What has ended takes no key, and leaves none behind without a session.
    let tied = PutOptions::default().with_lease(last.unwrap());
    let error = store.put(key, "late".into(), tied).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert_eq!(store.get(key).await.unwrap(), None);
}

/// Within the server's limits the session is the TTL; shorter is lengthened and said, longer is kept
/// up while the process lives. The server's sessions last one to ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d8_zookeeper_honours_the_ttl() {
    let Some(server) = ZOOKEEPER.start(&StoreSpec::default(), "rule D8") else {
        return;
    };
    let store = (ZOOKEEPER.connect)(&server.addresses());
    for (asked, granted) in [(3000, 3000), (100, 1000), (60_000, 60_000)] {
        let lease = store.grant(Duration::from_millis(asked)).await.unwrap();
        assert_eq!(
            lease.ttl,
            Duration::from_millis(granted),
            "asked for {asked} ms"
        );
    }
    let clock = SystemClock::new();
    let lease = store.grant(Duration::from_secs(14)).await.unwrap();
    let tied = PutOptions::default().with_lease(lease.id);
    store.put("k", "x".into(), tied).await.unwrap();
    clock.sleep(Duration::from_millis(11_500)).await;
    assert!(
        store.get("k").await.unwrap().is_some(),
        "gone with the server's longest session"
    );
    clock.sleep(Duration::from_millis(4000)).await;
    assert_eq!(store.get("k").await.unwrap(), None, "it outlived its time");
}
