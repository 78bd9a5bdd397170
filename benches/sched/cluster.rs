//! Clusters and requests, the same in every run.

use std::sync::Arc;

use longshore_core::{
    Bytes, Change, HostPort, Labels, MilliCpu, NodeState, PlacedWorkload, PlacementRequest,
    PortProtocol, Resources, Scheduler,
};
use longshore_sched::{ClusterScheduler, Strategy};

use crate::reference::Reference;

/// A small generator, so that every run has the same cluster.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x5851_f42d_4c95_7f2d)
    }

    pub fn roll(&mut self, sides: u64) -> u64 {
        let step = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = step.wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

pub const SERVICES: u64 = 100;

/// CPUs and GiB of the machine types.
const SIZES: [(u64, u64); 16] = [
    (2, 4),
    (2, 8),
    (4, 8),
    (4, 16),
    (8, 16),
    (8, 32),
    (8, 64),
    (16, 32),
    (16, 64),
    (16, 128),
    (32, 64),
    (32, 128),
    (48, 192),
    (64, 128),
    (64, 256),
    (96, 384),
];

/// A node with 20 labels. Machines of one type differ by some MiB, as real ones do.
pub fn node(number: u64) -> NodeState {
    let mut dice = Dice::new(number);
    let (cpus, gib) = SIZES[dice.roll(SIZES.len() as u64) as usize];
    let memory = (gib << 30) - (dice.roll(64) << 20);
    let labels = Labels::new()
        .with("zone", format!("zone-{}", dice.roll(8)))
        .with("rack", format!("rack-{}", number / 40))
        .with("region", ["eu", "us", "asia"][dice.roll(3) as usize])
        .with(
            "disk",
            ["ssd", "hdd", "nvme", "none"][dice.roll(4) as usize],
        )
        .with("hostname", format!("host-{number}.example"))
        .with("instance", format!("m{cpus}-{gib}"))
        .with(
            "environment",
            ["production", "staging"][dice.roll(2) as usize],
        )
        .with("team", format!("team-{}", dice.roll(12)))
        .with("kernelversion", format!("6.1.{}", dice.roll(9)))
        .with("operatingsystem", "Debian GNU/Linux 12")
        .with("ostype", "linux")
        .with("architecture", ["x86_64", "aarch64"][dice.roll(2) as usize])
        .with("storagedriver", "overlay2")
        .with("engine", format!("27.{}", dice.roll(5)))
        .with("network", ["10g", "25g", "100g"][dice.roll(3) as usize])
        .with("power", ["a", "b"][dice.roll(2) as usize])
        .with("owner", format!("owner-{}", dice.roll(50)))
        .with("cost", format!("{}", dice.roll(10)))
        .with("generation", format!("g{}", dice.roll(4)))
        .with("purpose", "general");
    let capacity = Resources::new(MilliCpu::from_cpus(cpus), Bytes(memory));
    let id = format!("{number:06}:node").parse().expect("an id");
    let name = format!("node-{:06}", number * 7919 % 1_000_003)
        .parse()
        .expect("a name");
    NodeState::new(id, name, capacity).with_labels(labels)
}

/// One of the ten containers on a node: a thirtieth or fortieth of it.
pub fn container(node: &NodeState, number: u64, nth: u64) -> PlacedWorkload {
    let mut dice = Dice::new(number * 16 + nth + 1);
    let service = dice.roll(SERVICES);
    let id = format!(
        "{:016x}{:048x}",
        dice.roll(u64::MAX >> 1) ^ number << 20,
        number * 10 + nth
    );
    let mut workload = PlacedWorkload::new(id.parse().expect("an id"), node.id.clone());
    workload.name = format!("service-{service}.{number}.{nth}");
    workload.service = Some(format!("stack.service-{service}").parse().expect("a name"));
    workload.image = format!("registry.example/team/service-{service}:1.{service}");
    workload.labels = Labels::new()
        .with("com.docker.compose.project", "stack")
        .with("com.docker.compose.service", format!("service-{service}"));
    let part = 30 + dice.roll(10);
    let size = (node.capacity.cpu.0 / part, node.capacity.memory.0 / part);
    workload.resources = Resources::new(MilliCpu(size.0), Bytes(size.1 >> 20 << 20));
    workload
}

pub fn filled(nodes: u64, strategy: Strategy) -> ClusterScheduler {
    let mut scheduler = ClusterScheduler::new(strategy);
    for number in 0..nodes {
        let state = node(number);
        scheduler
            .observe(Change::Node(state.clone()))
            .expect("a node");
        for nth in 0..10 {
            let container = container(&state, number, nth);
            scheduler
                .observe(Change::Workload(container))
                .expect("a workload");
        }
    }
    scheduler
}

pub fn naive(nodes: u64, strategy: Strategy) -> Reference {
    let states: Vec<NodeState> = (0..nodes).map(node).collect();
    let containers = (0..nodes).flat_map(|number| {
        let state = &states[number as usize];
        (0..10).map(move |nth| container(state, number, nth))
    });
    Reference::loaded(strategy, states.clone(), containers.collect())
}

/// What a replica of a service asks for.
pub fn request(service: u64) -> Arc<PlacementRequest> {
    Arc::new(plain(service))
}

fn plain(service: u64) -> PlacementRequest {
    let mut dice = Dice::new(service + 7_000_000);
    let resources = Resources::new(
        MilliCpu(50 + dice.roll(950)),
        Bytes((32 + dice.roll(2_000)) << 20),
    );
    let image = format!("registry.example/team/service-{service}:1.{service}");
    let mut request = PlacementRequest::new(image).with_resources(resources);
    request.service = Some(format!("fresh.service-{service}").parse().expect("a name"));
    request
}

/// With two label constraints, a port and an anti-affinity to the own service.
pub fn constrained(service: u64) -> Arc<PlacementRequest> {
    let mut request = plain(service);
    let disk = ["ssd", "hdd", "nvme"][service as usize % 3];
    let own = format!("service!=fresh.service-{service}");
    request.constraints.push(
        format!("zone==zone-{}", service % 8)
            .parse()
            .expect("a term"),
    );
    request
        .constraints
        .push(format!("disk=={disk}").parse().expect("a term"));
    request.affinities.push(own.parse().expect("a term"));
    request
        .ports
        .push(HostPort::any(8000 + service as u16, PortProtocol::Tcp));
    Arc::new(request)
}

/// With one constraint on the zone: as a label, or the same as a regular expression.
pub fn in_zone(service: u64, regex: bool) -> Arc<PlacementRequest> {
    let zone = service % 8;
    let text = match regex {
        true => format!("zone==/^zone-[{zone}]$/"),
        false => format!("zone==zone-{zone}"),
    };
    let mut request = plain(service);
    request.constraints.push(text.parse().expect("a term"));
    Arc::new(request)
}
