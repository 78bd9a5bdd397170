//! Stores that are killed, frozen, wiped, cut off: nobody is removed without evidence, and after it
//! the view is the store's again, without a restart.
#![cfg(any(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[cfg(all(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#[path = "live/certificates.rs"]
mod certificates;
#[path = "live/follow.rs"]
mod follow;
#[cfg(all(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#[path = "live/refusals.rs"]
mod refusals;
#[cfg(all(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#[path = "live/rules.rs"]
mod rules;
#[path = "live/servers.rs"]
mod servers;
#[path = "live/subjects.rs"]
mod subjects;

use std::{sync::Arc, time::Duration};

use follow::{Follow, labelled, node};
use longshore_core::{
    Clock, ClockExt, Discovery, ErrorKind, Expect, KvEvent, PutOptions, Random, SeededRandom,
    SystemClock,
};
use longshore_discovery::{KvDiscovery, KvDiscoveryOptions};
use longshore_lab::{Store, TcpShim};
use servers::{Subject, clock};

const GRACE: Duration = Duration::from_millis(1500);
const LONG: Duration = Duration::from_secs(3600);

fn discovery(subject: Subject, addresses: &[std::net::SocketAddr]) -> Arc<dyn Discovery> {
    let store = (subject.connect)(addresses);
    let options = KvDiscoveryOptions::default().with_grace(GRACE);
    Arc::new(KvDiscovery::new(store, clock(), options).unwrap())
}

/// A store of its own with three nodes in it, watched.
async fn scene(subject: Subject, fault: &str) -> Option<(Store, Arc<dyn Discovery>, Follow)> {
    let store = subject.start(&format!("{} {fault}", subject.kind.as_str()))?;
    let discovery = discovery(subject, &store.addresses());
    for number in [1, 2, 3] {
        discovery.register(&node(number), LONG).await.unwrap();
    }
    let mut follow = Follow::new(&discovery).await;
    follow
        .until("the set", |follow| follow.known.len() == 3)
        .await;
    Some((store, discovery, follow))
}

/// What must hold while the store can't be asked.
async fn stays_as_it_was(discovery: &Arc<dyn Discovery>, follow: &mut Follow) {
    follow
        .until("a problem", |follow| !follow.problems.is_empty())
        .await;
    follow.during(GRACE * 2).await;
    assert_eq!(follow.numbers(), [1, 2, 3]);
    let error = discovery.list().await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(
        follow.problems.len() < 4,
        "told again and again: {:?}",
        follow.problems
    );
}

/// A store that has just come up may need a moment before it takes leases.
async fn register_soon(discovery: &Arc<dyn Discovery>, number: u16) {
    let clock = SystemClock::new();
    let deadline = clock.now().after(Duration::from_secs(30));
    while let Err(error) = discovery.register(&node(number), LONG).await {
        assert!(clock.now() < deadline, "{error:?}");
        clock.sleep(Duration::from_millis(200)).await;
    }
}

async fn killed_and_restarted(subject: Subject) {
    let Some((mut store, discovery, mut follow)) = scene(subject, "killed").await else {
        return;
    };
    store.member(0).kill();
    stays_as_it_was(&discovery, &mut follow).await;
    store.member(0).restart().unwrap();
    register_soon(&discovery, 4).await;
    follow
        .until("the fourth node", |follow| follow.numbers().contains(&4))
        .await;
    follow.during(GRACE * 2).await;
    assert_eq!(
        follow.numbers(),
        [1, 2, 3, 4],
        "what was there before the outage is there"
    );
}

async fn frozen(subject: Subject) {
    let Some((mut store, discovery, mut follow)) = scene(subject, "frozen").await else {
        return;
    };
    store.member(0).freeze();
    stays_as_it_was(&discovery, &mut follow).await;
    store.member(0).thaw();
    register_soon(&discovery, 4).await;
    follow
        .until("the fourth node", |follow| follow.numbers().contains(&4))
        .await;
}

async fn wiped(subject: Subject) {
    let Some((mut store, discovery, mut follow)) = scene(subject, "wiped").await else {
        return;
    };
    let registration = discovery.register(&node(3), LONG).await.unwrap();
    store.member(0).kill();
    store.member(0).wipe().unwrap();
    store.member(0).restart().unwrap();
    register_soon(&discovery, 4).await;
    follow
        .until("the new node alone", |follow| follow.numbers() == [4])
        .await;
    let error = discovery.renew(&registration).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    register_soon(&discovery, 3).await;
    follow
        .until("both", |follow| follow.numbers() == [3, 4])
        .await;
}

async fn a_lease_ends_while_cut_off(subject: Subject) {
    let Some((store, near, mut follow)) = scene(subject, "lease while cut off").await else {
        return;
    };
    let shims = servers::shims(&store.addresses());
    let addresses: Vec<_> = shims.iter().map(TcpShim::address).collect();
    let far = discovery(subject, &addresses);
    let registration = far.register(&node(4), subject.lease).await.unwrap();
    let mut far_follow = Follow::new(&far).await;
    follow
        .until("the fourth", |follow| follow.known.len() == 4)
        .await;
    servers::set_reachable(&shims, false);
    assert!(far.renew(&registration).await.unwrap_err().is_retryable());
    follow
        .until("the end of the lease", |follow| {
            follow.numbers() == [1, 2, 3]
        })
        .await;
    assert!(far_follow.numbers().contains(&4), "cut off is no evidence");
    servers::set_reachable(&shims, true);
    far_follow.during(subject.slack).await;
    far_follow
        .until("the same view", |follow| follow.numbers() == [1, 2, 3])
        .await;
    let error = far.renew(&registration).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    far.register(&node(4), LONG).await.unwrap();
    follow
        .until("the fourth again", |follow| follow.known.len() == 4)
        .await;
    drop(near);
}

/// 1,000 random registrations and departures while the watcher's connection breaks 100 times: in the
/// end it knows what the store knows, labels included.
async fn a_thousand_changes_and_a_hundred_disconnects(subject: Subject) {
    let suite = format!("{} disconnects", subject.kind.as_str());
    let Some(store) = subject.start(&suite) else {
        return;
    };
    let shims = servers::shims(&store.addresses());
    let addresses: Vec<_> = shims.iter().map(TcpShim::address).collect();
    let (near, far) = (
        discovery(subject, &store.addresses()),
        discovery(subject, &addresses),
    );
    let mut follow = Follow::new(&far).await;
    let watcher = tokio::spawn(async move {
        follow
            .until("the last node", |follow| follow.numbers().contains(&9999))
            .await;
        // Departures of many are held and confirmed.
        follow.during(GRACE * 3).await;
        follow
    });
    let random = SeededRandom::new(SEED);
    let mut registered = std::collections::BTreeMap::new();
    for change in 0..1000u64 {
        let number = 1 + (random.next_u64() % 24) as u16;
        match registered.remove(&number) {
            Some(registration) if random.next_u64().is_multiple_of(2) => {
                near.deregister(&registration).await.unwrap();
            }
            _ => {
                let node = labelled(number, change);
                registered.insert(number, near.register(&node, LONG).await.unwrap());
            }
        }
        if change % 10 == 9 {
            shims.iter().for_each(TcpShim::break_connections);
        }
    }
    near.register(&node(9999), LONG).await.unwrap();
    let follow = watcher.await.unwrap();
    let listed = near.list().await.unwrap().nodes;
    let known: Vec<_> = follow.known.into_values().collect();
    assert_eq!(known, listed, "seed {SEED}: the view is not the store's");
    assert_eq!(
        listed.len(),
        registered.len() + 1,
        "seed {SEED}: the store is not the model"
    );
}

/// The same one level below: every change is told once and in order, or, by a store without a
/// history, the newest of each key in order.
async fn every_change_is_told_in_order(subject: Subject) {
    let suite = format!("{} changes in order", subject.kind.as_str());
    let Some(store) = subject.start(&suite) else {
        return;
    };
    let shims = servers::shims(&store.addresses());
    let addresses: Vec<_> = shims.iter().map(TcpShim::address).collect();
    let (near, far) = (
        (subject.connect)(&store.addresses()),
        (subject.connect)(&addresses),
    );
    let from = near
        .put("d/0", "start".into(), PutOptions::default())
        .await
        .unwrap();
    let mut watch = far.watch("d/", Some(from));
    let every_change = near.capabilities().every_change;
    let watcher = tokio::spawn(async move {
        let (clock, mut seen) = (SystemClock::new(), Vec::new());
        let mut limit = Duration::from_secs(60);
        loop {
            let next = futures::StreamExt::next(&mut watch);
            let Ok(event) = clock.timeout(limit, "a change", next).await else {
                return seen;
            };
            match event.unwrap() {
                Ok(KvEvent::Put(entry)) if entry.key == "d/last" => {
                    if every_change {
                        return seen;
                    }
                    // Where nobody says when a key was deleted, deletions come last.
                    limit = Duration::from_secs(2);
                }
                Ok(KvEvent::Put(entry)) => {
                    let value = String::from_utf8(entry.value.to_vec()).unwrap();
                    seen.push((entry.revision, format!("{}={value}", entry.key)));
                }
                Ok(KvEvent::Deleted { key, revision }) => seen.push((revision, key)),
                Ok(KvEvent::Resync(revision)) => seen.push((revision, "resync".to_owned())),
                Ok(_) => {}
                Err(error) => assert!(error.is_retryable(), "{error:?}"),
            }
        }
    });
    let random = SeededRandom::new(SEED);
    let mut made = Vec::new();
    for change in 0..1000u64 {
        let key = format!("d/{}", 1 + random.next_u64() % 9);
        if random.next_u64().is_multiple_of(4) {
            if near.delete(&key, Expect::Any).await.unwrap() {
                made.push(key);
            }
        } else {
            let value = change.to_string();
            made.push(format!("{key}={value}"));
            near.put(&key, value.into(), PutOptions::default())
                .await
                .unwrap();
        }
        if change % 10 == 9 {
            shims.iter().for_each(TcpShim::break_connections);
        }
    }
    near.put("d/last", "x".into(), PutOptions::default())
        .await
        .unwrap();
    let clock = SystemClock::new();
    let watching = clock.timeout(Duration::from_secs(60), "the last change", watcher);
    let seen = watching.await.unwrap().unwrap();
    let in_order = seen.windows(2).all(|pair| pair[0].0 <= pair[1].0);
    assert!(in_order, "seed {SEED}: revisions run backwards");
    let seen: Vec<_> = seen.into_iter().map(|(_, text)| text).collect();
    if every_change {
        assert_eq!(seen, made, "seed {SEED}");
        return;
    }
    // In order per key; and the last of each key is the last that was made.
    for number in 1..=9 {
        let of_key = |text: &&String| text.starts_with(&format!("d/{number}")) || *text == "resync";
        let made: Vec<_> = made.iter().filter(of_key).collect();
        let seen: Vec<_> = seen
            .iter()
            .filter(of_key)
            .filter(|text| *text != "resync")
            .collect();
        let mut left = made.iter();
        assert!(
            seen.iter().all(|text| left.any(|made| made == text)),
            "seed {SEED}: key {number}: {seen:?} are not some of {made:?}"
        );
        assert_eq!(seen.last(), made.last(), "seed {SEED}: key {number}");
    }
}

const SEED: u64 = 20_261_125;

macro_rules! faults {
    ($module:ident, $subject:expr) => {
        mod $module {
            faults!(@ $subject, killed_and_restarted, frozen, wiped, a_lease_ends_while_cut_off,
                a_thousand_changes_and_a_hundred_disconnects, every_change_is_told_in_order);
        }
    };
    (@ $subject:expr, $($fault:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $fault() {
                super::$fault($subject).await;
            }
        )*
    };
}

#[cfg(feature = "etcd")]
faults!(etcd, crate::subjects::ETCD);
#[cfg(feature = "consul")]
faults!(consul, crate::subjects::CONSUL);
#[cfg(feature = "zookeeper")]
faults!(zookeeper, crate::subjects::ZOOKEEPER);

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_etcds_lose_one_and_go_on() {
    let Some((mut store, discovery, mut follow)) = scene(subjects::THREE_ETCDS, "one lost").await
    else {
        return;
    };
    for member in 0..3 {
        store.member(member).kill();
        register_soon(&discovery, 10 + member as u16).await;
        follow
            .until("a node that came meanwhile", |follow| {
                follow.numbers().contains(&(10 + member as u16))
            })
            .await;
        store.member(member).restart().unwrap();
    }
    assert_eq!(follow.numbers(), [1, 2, 3, 10, 11, 12]);
}

#[cfg(feature = "etcd")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_etcds_lose_their_majority_and_regain_it() {
    let Some((mut store, discovery, mut follow)) =
        scene(subjects::THREE_ETCDS, "quorum lost").await
    else {
        return;
    };
    store.member(0).kill();
    store.member(1).kill();
    stays_as_it_was(&discovery, &mut follow).await;
    let error = discovery.register(&node(4), LONG).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    store.member(0).launch().unwrap();
    store.await_ready().unwrap();
    register_soon(&discovery, 5).await;
    follow
        .until("the fifth node", |follow| follow.numbers().contains(&5))
        .await;
    assert!(
        [1, 2, 3]
            .iter()
            .all(|number| follow.numbers().contains(number))
    );
}
