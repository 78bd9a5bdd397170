//! Desired stacks in a store: they outlive a control plane, all managers know them, and only the one
//! that leads acts on them.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use longshore::{
    Engine, ErrorKind, KvStore, Result,
    control::{ControlPlane, ControlPlaneBuilder, ServiceSpec, StackSpec},
    core::{
        AllowAll, Expect, Leader, ListFilter, PutOptions, RemoveOptions, RestartPolicy, Timestamp,
        WorkloadSpec,
        decorate::{Decorated, Fault, Faulty},
        testkit::{ManualClock, ManualElection},
    },
    discovery::{DiscoveryOptions, KvLimits, MemoryKv, RedbKv, open},
    engine::{SimCluster, SimOptions},
    sched::ClusterScheduler,
};

struct World {
    clock: Arc<ManualClock>,
    store: Arc<dyn KvStore>,
    engines: Arc<SimCluster>,
}

impl World {
    fn new() -> Self {
        Self::on(|clock| Arc::new(MemoryKv::new(clock)))
    }

    fn on(store: impl FnOnce(Arc<ManualClock>) -> Arc<dyn KvStore>) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000)));
        let engines = SimCluster::new(3, 1, clock.clone(), |_| SimOptions::default());
        Self {
            store: store(clock.clone()),
            engines: Arc::new(engines.unwrap()),
            clock,
        }
    }

    /// A control plane over the same engines and the same store.
    fn manager(&self, leader: Leader) -> (ControlPlane, ManualElection) {
        let election = ManualElection::new(leader);
        let plane = self
            .plane()
            .election(Arc::new(election.clone()))
            .state(Arc::clone(&self.store), "longshore/test")
            .build()
            .unwrap();
        plane.start();
        (plane, election)
    }

    fn plane(&self) -> ControlPlaneBuilder {
        let names: Vec<String> = self
            .engines
            .engines()
            .iter()
            .map(|engine| format!("{}:1", engine.name()))
            .collect();
        let url = format!("nodes://{}", names.join(","));
        ControlPlane::builder()
            .discovery(open(&url, &DiscoveryOptions::new(self.clock.clone())).unwrap())
            .engines(self.engines.clone())
            .scheduler(Box::new(ClusterScheduler::default()))
            .authorizer(Arc::new(AllowAll))
            .clock(self.clock.clone())
    }

    /// Lets virtual time pass until something is so.
    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..2_000 {
            if holds().await {
                return;
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
            self.clock.advance(Duration::from_millis(100));
        }
        panic!("waited in vain: {what}");
    }

    /// What really runs, over all nodes.
    async fn running(&self) -> Vec<String> {
        let mut names = Vec::new();
        for engine in self.engines.engines() {
            let found = engine.list(&ListFilter::default()).await.unwrap();
            names.extend(found.iter().flat_map(|workload| workload.names.clone()));
        }
        names.sort();
        names
    }

    async fn until_running(&self, expected: &[&str]) {
        let what = format!("{expected:?} run");
        self.until(&what, async || self.running().await == expected)
            .await;
    }
}

fn stack(replicas: u32) -> StackSpec {
    let template = WorkloadSpec::new("busybox").with_restart(RestartPolicy::Always);
    let web = ServiceSpec::new("web".parse().unwrap(), template).with_replicas(replicas);
    StackSpec::new("shop".parse().unwrap(), vec![web])
}

const HERE: Leader = Leader::Here { token: 1 };

#[tokio::test]
async fn what_is_desired_outlives_the_control_plane() {
    let world = World::new();
    let (first, _) = world.manager(HERE);
    first.deploy(stack(2)).await.unwrap();
    world.until_running(&["shop-web-1", "shop-web-2"]).await;
    first.stop().await;

    let (second, _) = world.manager(HERE);
    world
        .until("the second knows the stack", async || {
            second
                .stack_status("shop")
                .is_ok_and(|status| status.is_ready())
        })
        .await;
    assert_eq!(
        world.running().await,
        ["shop-web-1", "shop-web-2"],
        "adopted"
    );
    second.deploy(stack(3)).await.unwrap();
    world
        .until_running(&["shop-web-1", "shop-web-2", "shop-web-3"])
        .await;
    second.remove_stack("shop").await.unwrap();
    world.until_running(&[]).await;
    world
        .until("it is forgotten", async || second.stacks().is_empty())
        .await;
    let left = world.store.range("longshore/test/stacks/", "", 10).await;
    assert_eq!(left.unwrap().entries, []);
}

#[tokio::test]
async fn a_file_keeps_what_is_desired_when_the_program_ends() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.redb");
    let open = |clock: Arc<ManualClock>| RedbKv::open(&path, clock, KvLimits::default());
    let mut file = None;
    let mut world = World::on(|clock| {
        let store = file.insert(open(clock).unwrap());
        Arc::new(store.clone())
    });
    let (first, _) = world.manager(HERE);
    first.deploy(stack(2)).await.unwrap();
    first.stop().await;
    file.unwrap().close().await;
    world.store = Arc::new(open(world.clock.clone()).unwrap());
    let (second, _) = world.manager(HERE);
    world.until_running(&["shop-web-1", "shop-web-2"]).await;
    assert_eq!(second.stacks().len(), 1);
}

#[tokio::test]
async fn while_the_store_is_away_what_is_known_holds_and_changes_are_refused() {
    let mut outages = None;
    let world = World::on(|clock| {
        let store: Arc<dyn KvStore> = Arc::new(MemoryKv::new(clock.clone()));
        let faulty = Faulty::new(clock, 1, Fault::refusing(1.0));
        let store = Arc::new(Decorated::new(store, faulty));
        outages = Some(Arc::clone(&store));
        store
    });
    let outages = outages.unwrap();
    let faulty = outages.layer();
    faulty.suspend();
    let (plane, _) = world.manager(HERE);
    plane.deploy(stack(2)).await.unwrap();
    world.until_running(&["shop-web-1", "shop-web-2"]).await;
    faulty.resume();
    let refused = [
        plane.deploy(stack(5)).await.unwrap_err(),
        plane.remove_stack("shop").await.unwrap_err(),
    ];
    for error in refused {
        assert!(error.is_retryable(), "{}", error.chain());
    }
    // It still repairs what breaks.
    let engine = &world.engines.engines()[0];
    let lost = engine.list(&ListFilter::default()).await.unwrap();
    for workload in lost {
        let options = RemoveOptions::default().with_force();
        engine.remove(&workload.id, options).await.unwrap();
    }
    world
        .until("two of them again", async || {
            world.running().await.len() == 2
        })
        .await;
    faulty.suspend();
    plane.deploy(stack(3)).await.unwrap();
    world
        .until("three of them", async || world.running().await.len() == 3)
        .await;
}

#[tokio::test]
async fn l2_the_one_that_leads_is_told_and_all_know() {
    let world = World::new();
    let elsewhere = Leader::Elsewhere("manager:1".into());
    let (leading, leads) = world.manager(HERE);
    let (following, follows) = world.manager(elsewhere.clone());
    let error = following.deploy(stack(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    assert!(error.message().ends_with("manager:1"), "{error}");
    leading.deploy(stack(1)).await.unwrap();
    world.until_running(&["shop-web-1"]).await;

    // The next one to lead knows all of it.
    leads.set(elsewhere);
    follows.set(Leader::Here { token: 2 });
    assert_eq!(
        leading.remove_stack("shop").await.unwrap_err().kind(),
        ErrorKind::Stale
    );
    world
        .until("the second knows the stack", async || {
            following.stacks().len() == 1
        })
        .await;
    following.deploy(stack(2)).await.unwrap();
    world.until_running(&["shop-web-1", "shop-web-2"]).await;
    following.remove_stack("shop").await.unwrap();
    world.until_running(&[]).await;
    world
        .until("both forget it", async || {
            leading.stacks().is_empty() && following.stacks().is_empty()
        })
        .await;
}

/// What a leader's store is when its writes come late: another one has led since, and it has not heard.
#[tokio::test]
async fn l2_the_store_refuses_a_leader_that_was_replaced_without_its_knowledge() {
    let world = World::new();
    let (old, _) = world.manager(HERE);
    old.deploy(stack(1)).await.unwrap();
    world.until_running(&["shop-web-1"]).await;
    let records = async || {
        let range = world.store.range("longshore/test/", "", 10).await.unwrap();
        let of = |entry: &longshore::core::KvEntry| (entry.key.clone(), entry.value.clone());
        range.entries.iter().map(of).collect::<Vec<_>>()
    };
    let (new, _) = world.manager(Leader::Here { token: 2 });
    let token = "longshore/test/stacks-token";
    world
        .until("the new one is in the store", async || {
            let entry = world.store.get(token).await.unwrap();
            entry.is_some_and(|entry| entry.value == "2")
        })
        .await;
    let before = records().await;
    for error in [
        old.deploy(stack(5)).await.unwrap_err(),
        old.remove_stack("shop").await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Stale);
        let said = error.message();
        assert!(
            said.starts_with("this manager no longer leads: its fencing token 1 is older than 2"),
            "{said}"
        );
    }
    assert_eq!(records().await, before);

    // What the old one would delete by itself stays, too.
    new.remove_stack("shop").await.unwrap();
    world.until_running(&[]).await;
    world
        .until("it is forgotten", async || records().await.len() == 1)
        .await;
    // Its own token is no way back.
    assert!(old.deploy(stack(1)).await.is_err());
    assert_eq!(records().await, [(token.to_owned(), Bytes::from("2"))]);
    new.deploy(stack(1)).await.unwrap();
}

/// Whatever is under way when the leader changes is done before or not at all.
#[tokio::test]
async fn l2_a_write_on_its_way_is_refused_once_another_leader_was_there() {
    let world = World::new();
    let (old, _) = world.manager(HERE);
    old.deploy(stack(1)).await.unwrap();
    // What the old one remembers of the token's record is not what it is: only the store can tell.
    let (store, options) = (&world.store, PutOptions::default());
    let token = "longshore/test/stacks-token";
    store.put(token, "7".into(), options).await.unwrap();
    let stored = store.get("longshore/test/stacks/shop").await.unwrap();
    let error = old.deploy(stack(2)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    assert_eq!(
        store.get("longshore/test/stacks/shop").await.unwrap(),
        stored
    );

    // Deleted by hand, or the store was wiped: the token alone decides.
    store.delete(token, Expect::Any).await.unwrap();
    old.deploy(stack(2)).await.unwrap();
    let entry = store.get(token).await.unwrap().unwrap();
    assert_eq!(entry.value, "1");
    // What is no token is in the way of everybody, and is named.
    store.put(token, "x".into(), options).await.unwrap();
    let error = old.deploy(stack(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains(token), "{error}");
}

#[tokio::test]
async fn a_manager_without_an_election_writes_without_a_token() {
    let world = World::new();
    let plane = world
        .plane()
        .state(Arc::clone(&world.store), "longshore/test")
        .build()
        .unwrap();
    plane.start();
    plane.deploy(stack(1)).await.unwrap();
    world.until_running(&["shop-web-1"]).await;
    let range = world.store.range("", "", 10).await.unwrap();
    let keys: Vec<_> = range.entries.iter().map(|entry| &entry.key).collect();
    assert_eq!(keys, ["longshore/test/stacks/shop"]);
    plane.remove_stack("shop").await.unwrap();
    world.until_running(&[]).await;
    world
        .until("it is forgotten", async || plane.stacks().is_empty())
        .await;
}

#[tokio::test]
async fn what_others_wrote_into_the_store_does_no_harm() {
    let world = World::new();
    let (plane, _) = world.manager(HERE);
    plane.deploy(stack(1)).await.unwrap();
    world.until_running(&["shop-web-1"]).await;
    let put = async |key: &str, value: &'static str| -> Result<()> {
        let (store, options) = (&world.store, PutOptions::default());
        store.put(key, Bytes::from(value), options).await.map(drop)
    };
    put("longshore/test/stacks/shop", "not JSON").await.unwrap();
    put(
        "longshore/test/stacks/other",
        r#"{"stack":{"name":"shop","services":[]}}"#,
    )
    .await
    .unwrap();
    put("longshore/test/stacks/a b", "{}").await.unwrap();
    put("longshore/test/elsewhere", "x").await.unwrap();
    plane.deploy(stack(2)).await.unwrap();
    world.until_running(&["shop-web-1", "shop-web-2"]).await;
    assert_eq!(plane.stacks().len(), 1);
    let error = plane.remove_stack("other").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");

    // Whoever deletes the key by hand makes it unknown, which leaves the instances alone.
    let key = "longshore/test/stacks/shop";
    assert!(world.store.delete(key, Expect::Any).await.unwrap());
    world
        .until("unknown", async || plane.stacks().is_empty())
        .await;
    assert_eq!(world.running().await, ["shop-web-1", "shop-web-2"]);
}
