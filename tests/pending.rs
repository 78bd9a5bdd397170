//! S21 with the real scheduler: whoever could be placed is never left waiting.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use longshore::{
    Engine,
    control::{Admission, ControlPlane, Pending},
    core::{
        AllowAll, Availability, Bytes, HostPort, MilliCpu, NodeHealth, PlacementRequest,
        PortProtocol, Random, RemoveOptions, Resources, SeededRandom, Timestamp, TopologySpread,
        WorkloadId, WorkloadSpec, testkit::ManualClock,
    },
    discovery::{DiscoveryOptions, open},
    engine::{SimCluster, SimOptions},
    sched::ClusterScheduler,
};

struct World {
    clock: Arc<ManualClock>,
    engines: Arc<SimCluster>,
    plane: ControlPlane,
    random: SeededRandom,
    /// Admissions that are neither fulfilled nor dropped.
    held: Vec<Admission>,
    made: Vec<(String, WorkloadId)>,
    waiting: Arc<Mutex<Vec<Pending>>>,
}

impl World {
    async fn new(seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000)));
        let engines = SimCluster::new(NODES, seed, clock.clone(), |node| {
            let zone = ["eu", "us"][node % 2];
            let options = SimOptions::default().with_label("zone", zone);
            match node {
                0 => options.with_label("containerslots", "2"),
                _ => options,
            }
        });
        let engines = Arc::new(engines.unwrap());
        let names = (0..NODES).map(|node| format!("sim-{node:03}:1"));
        let url = format!("nodes://{}", names.collect::<Vec<_>>().join(","));
        let plane = ControlPlane::builder()
            .discovery(open(&url, &DiscoveryOptions::new(clock.clone())).unwrap())
            .engines(engines.clone())
            .scheduler(Box::new(ClusterScheduler::default()))
            .authorizer(Arc::new(AllowAll))
            .clock(clock.clone())
            .random(Arc::new(SeededRandom::new(seed)))
            .build()
            .unwrap();
        plane.start();
        let world = Self {
            clock,
            engines,
            plane,
            random: SeededRandom::new(seed),
            held: Vec::new(),
            made: Vec::new(),
            waiting: Arc::default(),
        };
        for _ in 0..200 {
            world.pass(Duration::from_millis(100)).await;
        }
        let nodes = world.plane.nodes();
        assert!(nodes.iter().all(|node| node.health == NodeHealth::Healthy));
        world
    }

    async fn pass(&self, time: Duration) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.clock.advance(time);
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.random.next_u64() % bound
    }

    fn request(&self) -> PlacementRequest {
        let resources = Resources::new(
            MilliCpu::from_cpus(1 + self.below(3)),
            Bytes::from_gib(self.below(4)),
        );
        let mut request = PlacementRequest::new("busybox").with_resources(resources);
        request.priority = self.below(2) as i32;
        match self.below(8) {
            0 => request.constraints.push("zone==eu".parse().unwrap()),
            1 => request.constraints.push("node==sim-001".parse().unwrap()),
            2 => request.ports.push(HostPort::any(80, PortProtocol::Tcp)),
            3 => request.affinities.push("app==db".parse().unwrap()),
            4..=6 => {
                request.service = Some("shop.web".parse().unwrap());
                request.topology.push(TopologySpread {
                    label: "zone".to_owned(),
                    max_skew: 1,
                });
            }
            _ => request.labels.insert("app", "db"),
        }
        request
    }

    /// Makes what was admitted, or holds it for a while.
    async fn take(&mut self, admission: Admission) {
        // What is made is not of the service, for want of a stack.
        if self.below(4) == 0 || admission.request().service.is_some() {
            self.held.push(admission);
            return;
        }
        let view = admission.node().unwrap();
        let asked = admission.request();
        let mut spec = WorkloadSpec::new("busybox").with_resources(asked.resources.clone());
        for (key, value) in asked.labels.iter() {
            spec = spec.with_label(key, value);
        }
        let id = view.engine.unwrap().create(&spec).await.unwrap();
        admission.fulfil(&id);
        self.made.push((view.name, id));
    }

    async fn step(&mut self) {
        match self.below(8) {
            0..=2 => {
                let request = self.request();
                let pending = self.plane.enqueue(&request, None, None).unwrap();
                self.waiting.lock().unwrap().push(pending);
            }
            3 if !self.made.is_empty() => {
                let which = self.below(self.made.len() as u64) as usize;
                let (node, id) = self.made.swap_remove(which);
                let gone = RemoveOptions::default().with_force();
                let engine = self.engines.engine(&node).unwrap();
                engine.remove(&id, gone).await.unwrap();
            }
            4 if !self.held.is_empty() => {
                let which = self.below(self.held.len() as u64) as usize;
                self.held.swap_remove(which);
            }
            5 => {
                let node = format!("sim-{:03}", self.below(NODES as u64));
                let states = [Availability::Active, Availability::Cordoned];
                let state = states[self.below(2) as usize];
                self.plane.set_availability(&node, state).unwrap();
            }
            6 => {
                let mut waiting = self.waiting.lock().unwrap();
                let count = waiting.len() as u64;
                if count > 0 {
                    let which = self.below(count) as usize;
                    waiting.swap_remove(which);
                }
            }
            _ => self.pass(Duration::from_secs(1)).await,
        }
    }

    /// Takes what was found; says how much.
    async fn collect(&mut self) -> usize {
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap());
        let mut found = 0;
        for mut pending in waiting {
            if pending.view().is_some() {
                self.waiting.lock().unwrap().push(pending);
            } else {
                let admission = pending.admitted().await.unwrap();
                found += 1;
                self.take(admission).await;
            }
        }
        found
    }

    /// How many of those who wait were tried before.
    fn check(&self, seed: u64) -> usize {
        let views = self.plane.pending();
        assert_eq!(views.len(), self.waiting.lock().unwrap().len());
        for view in &views {
            let now = self.plane.explain(&view.request).unwrap();
            let sleeps = now.placement.is_none();
            assert!(
                sleeps,
                "seed {seed}: {:?} waits, and {}",
                view.request, now.summary
            );
        }
        views.len()
    }
}

#[tokio::test]
async fn s21_nobody_waits_who_could_be_placed() {
    let (mut placed, mut waited) = (0, 0);
    for seed in 0..20 {
        let mut world = World::new(seed).await;
        for _ in 0..60 {
            world.step().await;
            world.pass(Duration::from_millis(50)).await;
            placed += world.collect().await;
            world.pass(Duration::from_millis(50)).await;
            waited += world.check(seed);
        }
        world.plane.stop().await;
    }
    // Else it shows nothing.
    assert!(
        placed > 200 && waited > 200,
        "{placed} placed, {waited} waited"
    );
}

const NODES: usize = 3;
