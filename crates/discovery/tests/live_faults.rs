//! Stores that are killed, frozen, wiped, cut off: nobody is removed without evidence, and after it
//! the view is the store's again, without a restart. Random changes with disconnects: `live_model`.
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
#[path = "live/relays.rs"]
mod relays;
#[cfg(all(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#[path = "live/rules.rs"]
mod rules;
#[path = "live/servers.rs"]
mod servers;
#[path = "live/subjects.rs"]
mod subjects;
#[cfg(all(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#[path = "live/tls.rs"]
mod tls;

use std::{sync::Arc, time::Duration};

use follow::{Follow, node};
use longshore_core::{Clock, ClockExt, Discovery, ErrorKind, SystemClock};
use longshore_discovery::{KvDiscovery, KvDiscoveryOptions};
use longshore_lab::{Store, StoreSpec, TcpShim};
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
    let suite = format!("{} {fault}", subject.kind.as_str());
    let store = subject.start(&StoreSpec::default(), &suite)?;
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
    // Nobody reads the watch meanwhile, and it may be in the middle of anything.
    let (clock, list) = (SystemClock::new(), discovery.list());
    let list = clock.timeout(Duration::from_secs(60), "a list", list);
    let error = list.await.unwrap().unwrap_err();
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
    let shims = relays::shims(&store.addresses());
    let addresses: Vec<_> = shims.iter().map(TcpShim::address).collect();
    let far = discovery(subject, &addresses);
    let registration = far.register(&node(4), subject.lease).await.unwrap();
    let mut far_follow = Follow::new(&far).await;
    follow
        .until("the fourth", |follow| follow.known.len() == 4)
        .await;
    relays::set_reachable(&shims, false);
    assert!(far.renew(&registration).await.unwrap_err().is_retryable());
    follow
        .until("the end of the lease", |follow| {
            follow.numbers() == [1, 2, 3]
        })
        .await;
    assert!(far_follow.numbers().contains(&4), "cut off is no evidence");
    relays::set_reachable(&shims, true);
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

macro_rules! faults {
    ($module:ident, $subject:expr) => {
        mod $module {
            faults!(@ $subject, killed_and_restarted, frozen, wiped, a_lease_ends_while_cut_off);
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
async fn d6_three_etcds_lose_each_in_turn_their_leader_too() {
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
async fn d6_three_etcds_lose_their_majority_and_regain_it() {
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
