//! Desired stacks in a store: they outlive a control plane, all managers know them, and only the one
//! that leads acts on them.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use longshore::{
    Engine, ErrorKind, KvStore, Result,
    control::{ControlPlane, ServiceSpec, StackSpec},
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
        let names: Vec<String> = self
            .engines
            .engines()
            .iter()
            .map(|engine| format!("{}:1", engine.name()))
            .collect();
        let url = format!("nodes://{}", names.join(","));
        let plane = ControlPlane::builder()
            .discovery(open(&url, &DiscoveryOptions::new(self.clock.clone())).unwrap())
            .engines(self.engines.clone())
            .scheduler(Box::new(ClusterScheduler::default()))
            .authorizer(Arc::new(AllowAll))
            .clock(self.clock.clone())
            .election(Arc::new(election.clone()))
            .state(Arc::clone(&self.store), "longshore/test")
            .build()
            .unwrap();
        plane.start();
        (plane, election)
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
    let left = world.store.range("", "", 10).await.unwrap();
    assert!(left.entries.is_empty(), "{left:?}");
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
async fn any_manager_may_be_told_and_the_leader_acts() {
    let world = World::new();
    let elsewhere = Leader::Elsewhere("manager:1".into());
    let (leading, leads) = world.manager(HERE);
    let (following, follows) = world.manager(elsewhere.clone());
    following.deploy(stack(1)).await.unwrap();
    world.until_running(&["shop-web-1"]).await;
    assert_eq!(leading.stacks().len(), 1);

    // The next one to lead knows all of it.
    leads.set(elsewhere);
    follows.set(Leader::Here { token: 2 });
    leading.deploy(stack(2)).await.unwrap();
    world.until_running(&["shop-web-1", "shop-web-2"]).await;
    leading.remove_stack("shop").await.unwrap();
    world.until_running(&[]).await;
    world
        .until("both forget it", async || {
            leading.stacks().is_empty() && following.stacks().is_empty()
        })
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
