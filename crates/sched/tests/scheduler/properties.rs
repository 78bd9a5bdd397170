//! Random histories: the scheduler agrees with the reference after every change, and its promises
//! hold whatever happens.

use longshore_core::*;
use longshore_sched::{ClusterScheduler, Strategy as Order};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{
    reference::{Reference, amount},
    support::NOW,
};

/// What can happen. Small worlds, so that names, ids and ports meet.
#[derive(Clone, Debug)]
enum Step {
    Node(NodeState),
    NodeGone(NodeId),
    Workload(PlacedWorkload),
    WorkloadGone(NodeId, WorkloadId),
    /// Reserve anywhere, whether it fits or not.
    Reserve(Reservation),
    /// Place, and reserve where it says.
    Commit(ReservationId, PlacementRequest, u64),
    Release(ReservationId),
    /// The work of a reservation is seen, as another id.
    Fulfil(ReservationId, WorkloadId),
    Tick(u64),
}

fn node_id() -> impl Strategy<Value = NodeId> {
    (0..7u8).prop_map(|n| format!("n{n}").parse().unwrap())
}

fn workload_id() -> impl Strategy<Value = WorkloadId> {
    (0..12u8).prop_map(|n| format!("w{n}").parse().unwrap())
}

fn reservation_id() -> impl Strategy<Value = ReservationId> {
    (0..6u8).prop_map(|n| format!("r{n}").parse().unwrap())
}

fn resources(most: u64) -> impl Strategy<Value = Resources> {
    let cpu = prop_oneof![Just(0), 1..=most];
    (cpu.clone(), cpu, option::weighted(0.3, 0..3u64)).prop_map(|(cpu, memory, gpu)| {
        let mut resources = Resources::new(MilliCpu(cpu), Bytes(memory));
        resources
            .generic
            .extend(gpu.map(|gpu| ("gpu".to_owned(), gpu)));
        resources
    })
}

fn labels() -> impl Strategy<Value = Labels> {
    let zone = option::of(select(vec!["eu", "eu-west", "us", ""]));
    let slots = option::weighted(0.2, select(vec!["2", "4", "many"]));
    (zone, slots).prop_map(|(zone, slots)| {
        let mut labels = Labels::new();
        labels.extend(zone.map(|zone| ("zone", zone)));
        labels.extend(slots.map(|slots| ("containerslots", slots)));
        labels
    })
}

fn node() -> impl Strategy<Value = NodeState> {
    let health = prop_oneof![
        6 => Just((NodeHealth::Healthy, 100)),
        2 => Just((NodeHealth::Healthy, 67)),
        1 => Just((NodeHealth::Healthy, 0)),
        1 => Just((NodeHealth::Unhealthy, 0)),
    ];
    let availability =
        prop_oneof![8 => Just(Availability::Active), 1 => Just(Availability::Draining)];
    let images = vec(
        select(vec!["redis:7", "redis", "reg:5000/app:1", "sha256:0a"]),
        0..3,
    );
    let name = select(vec!["alpha", "beta", "gamma", "delta"]);
    (
        node_id(),
        name,
        health,
        availability,
        resources(10),
        labels(),
        images,
    )
        .prop_map(
            |(id, name, (health, indicator), availability, capacity, labels, images)| {
                let mut node = NodeState::new(id, name.parse().unwrap(), capacity);
                (node.health, node.health_indicator) = (health, indicator);
                node.availability = availability;
                node.images = images.into_iter().map(str::to_owned).collect();
                node.with_labels(labels)
            },
        )
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => Just(String::new()), 2 => select(vec!["web", "db", "job"]).prop_map(str::to_owned)]
}

fn ports() -> impl Strategy<Value = Vec<HostPort>> {
    let address = select(vec!["", "0.0.0.0", "::", "10.0.0.1", "10.0.0.2"]);
    let protocol = select(vec![PortProtocol::Tcp, PortProtocol::Udp]);
    let port =
        (address, select(vec![0, 80, 81]), protocol).prop_map(|(address, port, protocol)| {
            HostPort {
                address: address.into(),
                port,
                protocol,
            }
        });
    prop_oneof![2 => Just(vec![]), 1 => vec(port, 1..3)]
}

fn tier() -> impl Strategy<Value = Labels> {
    option::of(select(vec!["front", "back"]))
        .prop_map(|t| t.map(|t| ("tier", t)).into_iter().collect())
}

fn workload() -> impl Strategy<Value = PlacedWorkload> {
    (
        workload_id(),
        node_id(),
        name(),
        resources(5),
        ports(),
        tier(),
    )
        .prop_map(|(id, node, name, resources, ports, labels)| {
            let mut workload = PlacedWorkload::new(id, node);
            (workload.name, workload.resources) = (name, resources);
            workload.ports = ports.into_iter().filter(|port| port.port != 0).collect();
            workload.labels = labels;
            workload
        })
}

fn expressions(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<Expression>> {
    let one = (select(texts), any::<bool>()).prop_map(|(text, soft)| {
        let expression: Expression = text.parse().unwrap();
        if soft { expression.soft() } else { expression }
    });
    prop_oneof![2 => Just(vec![]), 1 => vec(one, 1..4)]
}

fn request() -> impl Strategy<Value = PlacementRequest> {
    let constraints = expressions(&[
        "zone==eu",
        "zone!=eu",
        "zone==eu*",
        "zone!=*",
        "zone==*",
        "zone==/^(us|eu)$/",
        "node==alpha",
        "node!=n1",
        "node==/a$/",
        "zone==/u{1}/",
    ]);
    let affinities = expressions(&[
        "container==web",
        "container!=web",
        "container!=/w[0-5]/",
        "image==redis",
        "image!=redis:7",
        "image==reg:5000/app",
        "tier==front",
        "tier!=*",
        "tier!=front",
    ]);
    let whitelists = expressions(&["node==alpha|beta", "node!=alpha", "any==gamma|delta|alpha"]);
    let dependency = select(vec!["web", "db", "w3"]).prop_map(|target| Dependency {
        kind: DependencyKind::Link,
        target: target.into(),
    });
    let dependencies = prop_oneof![9 => Just(vec![]), 1 => vec(dependency, 1..3)];
    let demands = (constraints, affinities, whitelists, dependencies);
    (name(), resources(5), ports(), tier(), demands).prop_map(
        |(name, resources, ports, labels, (constraints, affinities, whitelists, dependencies))| {
            let mut request = PlacementRequest::new("image")
                .with_name(name)
                .with_resources(resources);
            (request.ports, request.labels) = (ports, labels);
            (request.constraints, request.affinities) = (constraints, affinities);
            (request.whitelists, request.dependencies) = (whitelists, dependencies);
            request
        },
    )
}

fn expiry() -> impl Strategy<Value = Timestamp> {
    (1..30u64).prop_map(Timestamp::from_secs)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => node().prop_map(Step::Node),
        1 => node_id().prop_map(Step::NodeGone),
        5 => workload().prop_map(Step::Workload),
        2 => (node_id(), workload_id()).prop_map(|(node, id)| Step::WorkloadGone(node, id)),
        3 => (reservation_id(), node_id(), request(), expiry()).prop_map(
            |(id, node, request, expires)| Step::Reserve(Reservation::new(id, node, request, expires))
        ),
        6 => (reservation_id(), request(), any::<u64>())
            .prop_map(|(id, request, seed)| Step::Commit(id, request, seed)),
        2 => reservation_id().prop_map(Step::Release),
        3 => (reservation_id(), workload_id()).prop_map(|(id, workload)| Step::Fulfil(id, workload)),
        2 => (0..30u64).prop_map(Step::Tick),
    ]
}

/// A step as a change, given what the reference knows and what the scheduler chose.
fn change(step: Step, reference: &Reference) -> Option<Change> {
    Some(match step {
        Step::Node(state) => Change::Node(state),
        Step::NodeGone(id) => Change::NodeGone(id),
        Step::Workload(workload) => Change::Workload(workload),
        Step::WorkloadGone(node, id) => Change::WorkloadGone(node, id),
        Step::Reserve(reservation) => Change::Reserve(reservation),
        Step::Commit(id, request, seed) => {
            let node = reference.place(&request, NOW, seed).ok()?.chosen.node;
            Change::Reserve(Reservation::new(
                id,
                node,
                request,
                Timestamp::from_secs(20),
            ))
        }
        Step::Release(id) => Change::Release(id),
        Step::Fulfil(id, workload) => {
            let held = reference.reservations().iter().find(|held| held.id == id)?;
            Change::Fulfil(id, seen(held, workload))
        }
        Step::Tick(seconds) => Change::Tick(Timestamp::from_secs(seconds)),
    })
}

/// The workload that a reservation turns into.
fn seen(held: &Reservation, id: WorkloadId) -> PlacedWorkload {
    let mut workload = PlacedWorkload::new(id, held.node.clone());
    workload.name = held.request.name.clone();
    workload.resources = held.request.resources.clone();
    workload.labels = held.request.labels.clone();
    workload.ports = held
        .request
        .ports
        .iter()
        .filter(|port| port.port != 0)
        .cloned()
        .collect();
    workload
}

fn order() -> impl Strategy<Value = Order> {
    select(vec![Order::Spread, Order::BinPack, Order::Random])
}

/// Without the parts of scores, which the reference does not word.
fn bare(mut placement: Placement) -> Placement {
    placement.chosen.parts.clear();
    placement
        .runners_up
        .iter_mut()
        .for_each(|scored| scored.parts.clear());
    placement
}

fn is_unplaceable(refusal: Refusal) -> bool {
    matches!(refusal, Refusal::Unplaceable { .. })
}

fn feasible(scheduler: &ClusterScheduler, request: &PlacementRequest) -> Vec<NodeId> {
    let nodes = scheduler.explain(request, NOW, 0).unwrap().nodes;
    let feasible = nodes.into_iter().filter(NodeVerdict::is_feasible);
    let mut ids: Vec<NodeId> = feasible.map(|verdict| verdict.node).collect();
    ids.sort();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The same nodes could take the work, and under the same seed the same one is chosen, with the
    /// same runners-up and unmet wishes, after every change; the same changes are refused, alike.
    #[test]
    fn it_agrees_with_the_reference(
        order in order(),
        nodes in vec(node(), 2..6),
        steps in vec(step(), 1..40),
        probes in vec((request(), any::<u64>()), 1..6),
    ) {
        let (mut scheduler, mut reference) = (ClusterScheduler::new(order), Reference::new(order));
        for step in nodes.into_iter().map(Step::Node).chain(steps) {
            let Some(change) = change(step, &reference) else { continue };
            let told = scheduler.observe(change.clone()).map_err(|error| error.kind());
            let expected = reference.observe(change.clone()).map_err(|error| error.kind());
            prop_assert_eq!(told, expected, "{:?}", change);
            for (request, seed) in &probes {
                prop_assert_eq!(feasible(&scheduler, request), reference.feasible(request));
                let found = scheduler.place(request, NOW, *seed).map(bare);
                let expected = reference.place(request, NOW, *seed);
                match expected {
                    Ok(expected) => prop_assert_eq!(found, Ok(expected)),
                    Err(_) => prop_assert!(found.is_err_and(is_unplaceable)),
                }
            }
        }
    }

    /// Work that comes only by placing, in a cluster that does not shrink, never exceeds capacity,
    /// never shares a port and never stands where its constraints forbid.
    #[test]
    fn placements_never_break_capacity_or_a_hard_filter(
        order in order(),
        mut nodes in vec(node(), 1..6),
        commits in vec((request(), any::<u64>(), 0..4u8), 1..60),
    ) {
        let mut scheduler = ClusterScheduler::new(order);
        // The reference is only the bookkeeper here: it is told what was decided.
        let mut books = Reference::new(order);
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        nodes.dedup_by(|a, b| a.id == b.id);
        for node in &nodes {
            scheduler.observe(Change::Node(node.clone())).unwrap();
            books.observe(Change::Node(node.clone())).unwrap();
        }
        for (number, (mut request, seed, fate)) in commits.into_iter().enumerate() {
            request.name.clear();
            let Ok(placement) = scheduler.place(&request, NOW, seed) else { continue };
            let node = nodes.iter().find(|node| node.id == placement.chosen.node).unwrap();
            for constraint in request.constraints.iter().filter(|e| !e.is_soft() && e.key() == "zone") {
                let Pattern::Glob(text) = constraint.pattern() else { continue };
                if !text.contains('*') {
                    let equal = node.labels.get("zone") == Some(text.as_str());
                    prop_assert_eq!(equal, constraint.operator() == Operator::Equal);
                }
            }
            let id: ReservationId = format!("r{number}").parse().unwrap();
            let held = Reservation::new(id.clone(), node.id.clone(), request, Timestamp::from_secs(20));
            let mut changes = vec![Change::Reserve(held.clone())];
            match fate {
                0 => changes.push(Change::Release(id)),
                1 | 2 => {
                    let workload = seen(&held, format!("w{number}").parse().unwrap());
                    changes.push(Change::Fulfil(id, workload));
                }
                _ => {}
            }
            for change in changes {
                scheduler.observe(change.clone()).unwrap();
                books.observe(change).unwrap();
            }
            for node in &nodes {
                for kind in ["cpu", "memory", "gpu"] {
                    prop_assert!(books.used(node, kind) <= amount(&node.capacity, kind));
                }
                let ports: Vec<Vec<HostPort>> =
                    books.tenants(node).iter().map(|tenant| tenant.4.to_vec()).collect();
                for (at, held) in ports.iter().enumerate() {
                    let clash = ports[..at].iter().flatten()
                        .any(|other| held.iter().any(|port| port.conflicts_with(other)));
                    prop_assert!(!clash, "{ports:?}");
                }
            }
        }
    }

    /// When everything that came has gone, nothing is left behind: an empty cluster of the same
    /// nodes answers alike.
    #[test]
    fn nothing_leaks(
        nodes in vec(node(), 1..5),
        steps in vec(step(), 1..60),
        probes in vec(request(), 1..4),
    ) {
        let order = Order::Spread;
        let (mut scheduler, mut reference) = (ClusterScheduler::new(order), Reference::new(order));
        for step in nodes.into_iter().map(Step::Node).chain(steps) {
            let Some(change) = change(step, &reference) else { continue };
            let _ = scheduler.observe(change.clone());
            let _ = reference.observe(change);
        }
        // Half of the reservations expire, the others are released.
        for held in reference.reservations().iter().step_by(2) {
            scheduler.observe(Change::Release(held.id.clone())).unwrap();
        }
        scheduler.observe(Change::Tick(Timestamp::from_secs(1_000_000))).unwrap();
        for workload in reference.workloads() {
            let gone = Change::WorkloadGone(workload.node.clone(), workload.id.clone());
            scheduler.observe(gone).unwrap();
        }
        let mut fresh = ClusterScheduler::new(order);
        for node in reference.nodes() {
            fresh.observe(Change::Node(node.clone())).unwrap();
        }
        for mut request in probes {
            request.dependencies.clear();
            let after = scheduler.explain(&request, NOW, 0).unwrap();
            prop_assert_eq!(after, fresh.explain(&request, NOW, 0).unwrap());
        }
        for name in ["web", "db", "job"] {
            prop_assert!(!scheduler.is_name_taken(name));
        }
    }

    /// The order in which nodes and workloads came does not matter.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        order in order(),
        mut nodes in vec(node(), 1..8),
        mut workloads in vec(workload(), 0..20),
        rotation in 0..8usize,
        requests in vec((request(), any::<u64>()), 1..5),
    ) {
        nodes.sort_by(|a, b| a.id.cmp(&b.id));
        nodes.dedup_by(|a, b| a.id == b.id);
        workloads.retain(|workload| nodes.iter().any(|node| node.id == workload.node));
        workloads.sort_by(|a, b| (&a.node, &a.id).cmp(&(&b.node, &b.id)));
        workloads.dedup_by(|a, b| (&a.node, &a.id) == (&b.node, &b.id));
        let fill = |nodes: &[NodeState], workloads: &[PlacedWorkload]| {
            let mut scheduler = ClusterScheduler::new(order);
            for node in nodes {
                scheduler.observe(Change::Node(node.clone())).unwrap();
            }
            for workload in workloads {
                scheduler.observe(Change::Workload(workload.clone())).unwrap();
            }
            scheduler
        };
        let one = fill(&nodes, &workloads);
        let by = rotation % nodes.len();
        nodes.rotate_left(by);
        nodes.reverse();
        workloads.reverse();
        let other = fill(&nodes, &workloads);
        for (request, seed) in requests {
            prop_assert_eq!(
                one.explain(&request, NOW, seed).unwrap(),
                other.explain(&request, NOW, seed).unwrap()
            );
        }
    }
}
