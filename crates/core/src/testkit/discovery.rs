//! The rules of [`Discovery`](crate::Discovery).

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;

use crate::{
    Announcement, ClockExt, Discovery, Endpoint, ErrorKind, Labels, MembershipEvent,
    MembershipStream, NodeName, SystemClock, WatchMode,
};

/// What a discovery backend's tests need. A harness stands for one cluster.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A client of this harness's cluster. A second call gives another client of the same.
    async fn discovery(&self) -> Arc<dyn Discovery>;

    /// Makes the cluster consist of exactly these nodes by the backend's own means (edits the file,
    /// builds the list). Needed where nodes can't register; for a [`WatchMode::Fixed`] backend it is
    /// called once, before the client that is tested is made.
    async fn place(&self, _nodes: &[Announcement]) {
        panic!("the harness of a backend that can't register must place nodes");
    }

    /// Puts an entry that can't be read next to the good ones; false where there is no such thing.
    async fn spoil(&self) -> bool {
        false
    }

    /// Cuts the backend off, or lets it back; false where the harness has no way to.
    async fn set_reachable(&self, _reachable: bool) -> bool {
        false
    }

    /// Lets time pass for the backend. The default waits on tokio's time.
    async fn pass(&self, by: Duration) {
        SystemClock::new().sleep(by).await;
    }

    /// A lease that the backend can keep and that the tests can wait for.
    fn lease(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// After how long every change is seen by watches, grace periods included.
    fn settle(&self) -> Duration {
        Duration::from_secs(2)
    }
}

/// Makes one test of each rule for the harness: `discovery_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! discovery_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            discovery,
            $harness,
            [
                a_watch_starts_with_the_full_set,
                every_watch_starts_with_the_full_set,
                a_dropped_watch_harms_nobody,
                a_list_is_sorted_without_duplicates,
                clients_see_the_same_cluster,
                applying_the_events_gives_the_list,
                an_unchanged_cluster_tells_nothing,
                a_backend_that_cannot_register_says_so,
                a_registration_is_visible_until_taken_back,
                a_registration_ends_with_its_lease_and_not_before,
                a_renewed_registration_goes_on,
                renewing_what_has_expired_is_not_found,
                renewing_what_was_taken_back_is_not_found,
                taking_back_twice_is_no_error,
                registering_again_replaces_the_entry,
                an_old_registration_cannot_end_a_newer_one,
                a_lease_of_no_time_is_refused,
                metadata_is_kept,
                an_unreachable_backend_removes_nothing,
                an_unreachable_backend_comes_back,
                a_bad_entry_loses_no_good_one,
            ]
        );
    };
}

/// Nodes by number.
fn node(number: u8) -> Announcement {
    let endpoint = Endpoint::new(format!("10.0.0.{number}"), 2375).expect("a sound address");
    Announcement::new(endpoint)
}

fn endpoints(numbers: &[u8]) -> Vec<Endpoint> {
    let mut endpoints: Vec<_> = numbers
        .iter()
        .map(|number| node(*number).endpoint)
        .collect();
    endpoints.sort();
    endpoints
}

/// A lease that no rule outlives.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// A client of a cluster of these nodes.
async fn cluster<H: Harness>(harness: &H, numbers: &[u8]) -> Arc<dyn Discovery> {
    let nodes: Vec<_> = numbers.iter().map(|number| node(*number)).collect();
    let client = harness.discovery().await;
    if client.capabilities().register {
        for node in &nodes {
            client.register(node, LONG).await.expect("registered");
        }
        return client;
    }
    harness.place(&nodes).await;
    harness.discovery().await
}

/// Makes the cluster consist of `to` instead of `from`.
async fn change<H: Harness>(harness: &H, client: &Arc<dyn Discovery>, from: &[u8], to: &[u8]) {
    if !client.capabilities().register {
        let nodes: Vec<_> = to.iter().map(|number| node(*number)).collect();
        return harness.place(&nodes).await;
    }
    for number in to.iter().filter(|number| !from.contains(number)) {
        client
            .register(&node(*number), LONG)
            .await
            .expect("registered");
    }
    for number in from.iter().filter(|number| !to.contains(number)) {
        // Registered again to get hold of it: the entry is replaced.
        let registration = client
            .register(&node(*number), LONG)
            .await
            .expect("registered");
        client.deregister(&registration).await.expect("taken back");
    }
}

async fn listed(client: &Arc<dyn Discovery>) -> Vec<Endpoint> {
    let membership = client.list().await.expect("a healthy backend lists");
    membership
        .nodes
        .into_iter()
        .map(|node| node.endpoint)
        .collect()
}

/// A watch with what its events add up to.
struct Watcher {
    stream: MembershipStream,
    known: BTreeMap<Endpoint, Announcement>,
    problems: usize,
    changes: usize,
}

impl Watcher {
    /// Opens a watch, whose first event must be a full set.
    async fn open<H: Harness>(harness: &H, client: &Arc<dyn Discovery>) -> Self {
        let mut watcher = Self {
            stream: client.watch(),
            known: BTreeMap::new(),
            problems: 0,
            changes: 0,
        };
        let first = tokio::select! {
            biased;
            event = watcher.stream.next() => event.expect("a watch has a first event"),
            () = harness.pass(harness.settle()) => panic!("a watch gave no first event"),
        };
        assert!(
            matches!(first, MembershipEvent::Reset(_)),
            "a watch began with {first:?}"
        );
        watcher.apply(first);
        watcher.changes = 0;
        watcher
    }

    fn apply(&mut self, event: MembershipEvent) {
        if !matches!(event, MembershipEvent::Problem(_)) {
            self.changes += 1;
        }
        match event {
            MembershipEvent::Reset(nodes) => {
                self.known = nodes
                    .into_iter()
                    .map(|node| (node.endpoint.clone(), node))
                    .collect();
            }
            MembershipEvent::Added(node) => drop(self.known.insert(node.endpoint.clone(), node)),
            MembershipEvent::Removed(endpoint) => {
                let known = self.known.remove(&endpoint);
                assert!(
                    known.is_some(),
                    "{endpoint} was removed without having been there"
                );
            }
            MembershipEvent::Problem(_) => self.problems += 1,
        }
    }

    /// Takes events for as long as changes need to be seen.
    async fn settle<H: Harness>(&mut self, harness: &H) {
        let mut pass = harness.pass(harness.settle());
        let mut ended = false;
        loop {
            tokio::select! {
                biased;
                event = self.stream.next(), if !ended => match event {
                    Some(event) => self.apply(event),
                    None => ended = true,
                },
                () = &mut pass => return,
            }
        }
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        self.known.keys().cloned().collect()
    }
}

/// The first event is a [`MembershipEvent::Reset`] with all nodes.
pub async fn a_watch_starts_with_the_full_set<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    let watcher = Watcher::open(harness, &client).await;
    assert_eq!(watcher.endpoints(), endpoints(&[1, 2, 3]));
}

/// Also while others watch, and later.
pub async fn every_watch_starts_with_the_full_set<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let first = Watcher::open(harness, &client).await;
    let second = Watcher::open(harness, &client).await;
    assert_eq!(first.endpoints(), second.endpoints());
    drop(first);
    assert_eq!(
        Watcher::open(harness, &client).await.endpoints(),
        endpoints(&[1, 2])
    );
}

/// Ending a watch leaves other watches and the list alone.
pub async fn a_dropped_watch_harms_nobody<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let mut kept = Watcher::open(harness, &client).await;
    drop(Watcher::open(harness, &client).await);
    drop(client.watch());
    kept.settle(harness).await;
    assert_eq!(kept.endpoints(), endpoints(&[1, 2]));
    assert_eq!(listed(&client).await, endpoints(&[1, 2]));
}

/// By endpoint, each once, in whatever order they came.
pub async fn a_list_is_sorted_without_duplicates<H: Harness>(harness: &H) {
    let client = cluster(harness, &[9, 10, 2, 9]).await;
    assert_eq!(listed(&client).await, endpoints(&[2, 9, 10]));
}

/// What one client sees, all see.
pub async fn clients_see_the_same_cluster<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    assert_eq!(
        listed(&harness.discovery().await).await,
        listed(&client).await
    );
}

/// Come, go and change: what a watch tells adds up to what a list says.
pub async fn applying_the_events_gives_the_list<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    if client.capabilities().watch == WatchMode::Fixed {
        return;
    }
    let mut watcher = Watcher::open(harness, &client).await;
    let steps: [&[u8]; 6] = [
        &[1, 2, 3],
        &[1, 2, 3, 4, 5],
        &[2, 3, 4, 5],
        &[6],
        &[],
        &[7, 8],
    ];
    for pair in steps.windows(2) {
        change(harness, &client, pair[0], pair[1]).await;
        watcher.settle(harness).await;
        assert_eq!(watcher.endpoints(), endpoints(pair[1]));
        assert_eq!(listed(&client).await, endpoints(pair[1]));
    }
}

/// No news is no event.
pub async fn an_unchanged_cluster_tells_nothing<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    for _ in 0..3 {
        watcher.settle(harness).await;
    }
    assert_eq!((watcher.changes, watcher.problems), (0, 0));
}

/// [`ErrorKind::Unsupported`] instead of a promise.
pub async fn a_backend_that_cannot_register_says_so<H: Harness>(harness: &H) {
    let client = harness.discovery().await;
    if client.capabilities().register {
        return;
    }
    let error = client
        .register(&node(1), harness.lease())
        .await
        .expect_err("not offered");
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

/// In lists and watches, from the answer on.
pub async fn a_registration_is_visible_until_taken_back<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let mut watcher = Watcher::open(harness, &client).await;
    let registration = client.register(&node(1), LONG).await.expect("registered");
    assert_eq!(listed(&client).await, endpoints(&[1]));
    watcher.settle(harness).await;
    assert_eq!(watcher.endpoints(), endpoints(&[1]));
    client.deregister(&registration).await.expect("taken back");
    assert_eq!(listed(&client).await, []);
    watcher.settle(harness).await;
    assert_eq!(watcher.endpoints(), []);
}

async fn registering<H: Harness>(harness: &H) -> Option<Arc<dyn Discovery>> {
    let client = harness.discovery().await;
    client.capabilities().register.then_some(client)
}

/// Nobody has to clean up after a node that died, and no live node is dropped early.
pub async fn a_registration_ends_with_its_lease_and_not_before<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let mut watcher = Watcher::open(harness, &client).await;
    let registration = client
        .register(&node(1), harness.lease())
        .await
        .expect("registered");
    client.register(&node(2), LONG).await.expect("registered");
    harness.pass(registration.ttl / 2).await;
    assert_eq!(
        listed(&client).await,
        endpoints(&[1, 2]),
        "gone before the lease ended"
    );
    harness.pass(registration.ttl / 2).await;
    watcher.settle(harness).await;
    assert_eq!(
        watcher.endpoints(),
        endpoints(&[2]),
        "still there after the lease ended"
    );
    assert_eq!(listed(&client).await, endpoints(&[2]));
}

/// Each renewal counts from when it is made.
pub async fn a_renewed_registration_goes_on<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let mut registration = client
        .register(&node(1), harness.lease())
        .await
        .expect("registered");
    for _ in 0..4 {
        harness.pass(registration.ttl * 6 / 10).await;
        let renewed = client.renew(&registration).await.expect("renewed in time");
        assert!(renewed.expires > registration.expires);
        registration = renewed;
    }
    assert_eq!(listed(&client).await, endpoints(&[1]));
}

/// A node that was away too long learns that it must register again.
pub async fn renewing_what_has_expired_is_not_found<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let registration = client
        .register(&node(1), harness.lease())
        .await
        .expect("registered");
    harness.pass(registration.ttl + harness.settle()).await;
    let error = client.renew(&registration).await.expect_err("expired");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(listed(&client).await, []);
}

/// A renewal can't bring back what was taken back.
pub async fn renewing_what_was_taken_back_is_not_found<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let registration = client.register(&node(1), LONG).await.expect("registered");
    client.deregister(&registration).await.expect("taken back");
    let error = client.renew(&registration).await.expect_err("taken back");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(listed(&client).await, []);
}

/// The second time there is nothing to do.
pub async fn taking_back_twice_is_no_error<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let registration = client.register(&node(1), LONG).await.expect("registered");
    for _ in 0..2 {
        client.deregister(&registration).await.expect("taken back");
    }
}

/// The endpoint is the key: one entry, with the newer lease.
pub async fn registering_again_replaces_the_entry<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let short = client
        .register(&node(1), harness.lease())
        .await
        .expect("registered");
    client
        .register(&node(1), LONG)
        .await
        .expect("registered again");
    assert_eq!(listed(&client).await, endpoints(&[1]));
    harness.pass(short.ttl + harness.settle()).await;
    assert_eq!(
        listed(&client).await,
        endpoints(&[1]),
        "the old lease ended the new entry"
    );
}

/// A process that takes back its registration late does not hide its successor.
pub async fn an_old_registration_cannot_end_a_newer_one<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let old = client.register(&node(1), LONG).await.expect("registered");
    client
        .register(&node(1), LONG)
        .await
        .expect("registered again");
    client
        .deregister(&old)
        .await
        .expect("nothing of it is left");
    assert_eq!(listed(&client).await, endpoints(&[1]));
}

/// Zero is no lease.
pub async fn a_lease_of_no_time_is_refused<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    let error = client
        .register(&node(1), Duration::ZERO)
        .await
        .expect_err("no time");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(listed(&client).await, []);
}

/// Where the backend says so, names and labels arrive, and changing them is an event.
pub async fn metadata_is_kept<H: Harness>(harness: &H) {
    let Some(client) = registering(harness).await else {
        return;
    };
    if !client.capabilities().metadata {
        return;
    }
    let named = |zone: &str| {
        node(1)
            .with_name(NodeName::new("node-1").expect("a sound name"))
            .with_labels(Labels::new().with("zone", zone))
    };
    client
        .register(&named("eu"), LONG)
        .await
        .expect("registered");
    assert_eq!(client.list().await.expect("listed").nodes, [named("eu")]);
    let mut watcher = Watcher::open(harness, &client).await;
    assert_eq!(watcher.known.values().collect::<Vec<_>>(), [&named("eu")]);
    client
        .register(&named("us"), LONG)
        .await
        .expect("registered again");
    watcher.settle(harness).await;
    assert_eq!(watcher.known.values().collect::<Vec<_>>(), [&named("us")]);
}

/// Being unable to read is no evidence that somebody left; watchers are told about the problem.
pub async fn an_unreachable_backend_removes_nothing<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    if !harness.set_reachable(false).await {
        return;
    }
    for _ in 0..3 {
        watcher.settle(harness).await;
    }
    assert_eq!(watcher.endpoints(), endpoints(&[1, 2, 3]));
    assert!(
        watcher.problems > 0,
        "the watch did not tell that the backend is unreachable"
    );
    let error = client.list().await.expect_err("there is nothing to read");
    assert!(error.is_retryable(), "{error:?}: the backend may come back");
}

/// After an outage watches go on by themselves, with what changed meanwhile.
pub async fn an_unreachable_backend_comes_back<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2, 3]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    if !harness.set_reachable(false).await {
        return;
    }
    watcher.settle(harness).await;
    assert!(harness.set_reachable(true).await);
    change(harness, &client, &[1, 2, 3], &[1, 2, 4]).await;
    for _ in 0..3 {
        watcher.settle(harness).await;
    }
    assert_eq!(watcher.endpoints(), endpoints(&[1, 2, 4]));
    assert_eq!(listed(&client).await, endpoints(&[1, 2, 4]));
}

/// The others stay and the bad one is reported, in lists and watches.
pub async fn a_bad_entry_loses_no_good_one<H: Harness>(harness: &H) {
    let client = cluster(harness, &[1, 2]).await;
    let mut watcher = Watcher::open(harness, &client).await;
    if !harness.spoil().await {
        return;
    }
    watcher.settle(harness).await;
    assert_eq!(watcher.endpoints(), endpoints(&[1, 2]));
    assert!(
        watcher.problems > 0,
        "the watch did not tell about the bad entry"
    );
    let membership = client.list().await.expect("good entries are listed");
    assert!(
        !membership.problems.is_empty(),
        "the list did not tell about the bad entry"
    );
    let found: Vec<_> = membership
        .nodes
        .into_iter()
        .map(|node| node.endpoint)
        .collect();
    assert_eq!(found, endpoints(&[1, 2]));
}
