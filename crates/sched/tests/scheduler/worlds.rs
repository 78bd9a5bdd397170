//! Random small worlds and what can happen in them.

use longshore_core::*;
use longshore_sched::Strategy as Order;
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::{reference::Reference, support::NOW};

/// What can happen. Small worlds, so that names, ids and ports meet.
#[derive(Clone, Debug)]
pub(crate) enum Step {
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
    let tenant = option::weighted(0.1, select(vec!["acme", "acme,other"]));
    let rack = option::of(select(vec!["r1", "r2", "r3"]));
    let processor = option::of(select(vec!["x86_64", "arm64"]));
    (zone, slots, tenant, rack, processor).prop_map(|(zone, slots, tenant, rack, processor)| {
        let mut labels = Labels::new();
        labels.extend(tenant.map(|tenant| ("tenant", tenant)));
        labels.extend(rack.map(|rack| ("rack", rack)));
        labels.extend(processor.map(|processor| ("architecture", processor)));
        labels.extend(zone.map(|zone| ("zone", zone)));
        labels.extend(slots.map(|slots| ("containerslots", slots)));
        labels
    })
}

pub(crate) fn node() -> impl Strategy<Value = NodeState> {
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
    let volumes = prop_oneof![3 => Just(vec![]), 1 => Just(vec!["data".to_owned()])];
    let extra = (volumes, devices());
    (
        node_id(),
        name,
        health,
        availability,
        resources(10),
        labels(),
        images,
        extra,
    )
        .prop_map(
            |(id, name, (health, indicator), availability, capacity, labels, images, extra)| {
                let mut node = NodeState::new(id, name.parse().unwrap(), capacity);
                (node.health, node.health_indicator) = (health, indicator);
                node.availability = availability;
                (node.volumes, node.devices) = extra;
                node.images = images.into_iter().map(str::to_owned).collect();
                node.with_labels(labels)
            },
        )
}

fn devices() -> impl Strategy<Value = Vec<Device>> {
    let device = (select(vec!["8", "16", "lots"]), select(vec!["a", "b"]));
    let some = vec(device, 1..4).prop_map(|devices| {
        let devices = devices.into_iter().zip(["g0", "g1", "g2"]);
        let device = |((memory, model), name): ((&str, &str), &str)| {
            Device::new("gpu", name)
                .with("memory", memory)
                .with("model", model)
        };
        // In whatever order they are told.
        devices.map(device).rev().collect::<Vec<_>>()
    });
    prop_oneof![2 => Just(vec![]), 1 => some]
}

fn devices_wanted() -> impl Strategy<Value = Vec<DeviceRequest>> {
    let texts = [
        "gpu",
        "2 gpu",
        "gpu where memory>=16",
        "gpu where memory<16 and model!=b",
        "gpu where model==a",
        "all gpu",
        "all gpu where model==b",
        "fpga",
    ];
    vec(select(texts.to_vec()), 1..3)
        .prop_map(|texts| texts.iter().map(|text| text.parse().unwrap()).collect())
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

pub(crate) fn workload() -> impl Strategy<Value = PlacedWorkload> {
    let service = option::of(select(vec!["a", "b"]));
    (
        workload_id(),
        node_id(),
        name(),
        resources(5),
        ports(),
        tier(),
        service,
    )
        .prop_map(|(id, node, name, resources, ports, labels, service)| {
            let mut workload = PlacedWorkload::new(id, node);
            workload.service = service.map(|name| name.parse().unwrap());
            (workload.name, workload.resources) = (name, resources);
            workload.ports = ports.into_iter().filter(|port| port.port != 0).collect();
            workload.labels = labels;
            workload
        })
}

fn expressions(texts: &'static [&'static str]) -> impl Strategy<Value = Vec<Expression>> {
    let weight = option::of(prop_oneof![3 => Just(1), 1 => 0..9u32]);
    let one = (select(texts), weight).prop_map(|(text, soft)| {
        let expression: Expression = text.parse().unwrap();
        match soft {
            None => expression,
            Some(1) => expression.soft(),
            Some(weight) => expression.weighing(weight),
        }
    });
    prop_oneof![2 => Just(vec![]), 1 => vec(one, 1..4)]
}

pub(crate) fn request() -> impl Strategy<Value = PlacementRequest> {
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
    let many_wishes = proptest::bool::weighted(0.2);
    (
        name(),
        resources(5),
        ports(),
        tier(),
        demands,
        beyond(),
        many_wishes,
    )
        .prop_map(
            |(name, resources, ports, labels, demands, beyond, many_wishes)| {
                let (constraints, affinities, whitelists, dependencies) = demands;
                let mut request = beyond.with_name(name).with_resources(resources);
                (request.ports, request.labels) = (ports, labels);
                (request.constraints, request.affinities) = (constraints, affinities);
                (request.whitelists, request.dependencies) = (whitelists, dependencies);
                if many_wishes {
                    let texts = [
                        "rack==~r1",
                        "zone==~eu*",
                        "zone!=~us",
                        "rack!=~*",
                        "node==~/a/",
                    ];
                    let more = texts.iter().zip([1, 1, 3, 2, 0]);
                    request.constraints.extend(more.map(|(text, weight)| {
                        text.parse::<Expression>().unwrap().weighing(weight)
                    }));
                }
                request
            },
        )
}

/// A request with what has fields of its own; most ask for none of it.
fn beyond() -> impl Strategy<Value = PlacementRequest> {
    let service = option::of(select(vec!["a", "b"]));
    (service, 0..24u8, 1..3u32, devices_wanted()).prop_map(|(service, kind, skew, devices)| {
        let mut request = PlacementRequest::new("image");
        request.service = service.map(|name| name.parse().unwrap());
        let spread = |label: &str| TopologySpread {
            label: label.into(),
            max_skew: skew,
        };
        match kind {
            0 => request.topology = vec![spread("zone")],
            1 => request.topology = vec![spread("zone"), spread("rack")],
            2 => request.preferences = vec!["zone".into()],
            3 => request.preferences = vec!["rack".into(), "zone".into()],
            11 => {
                request.topology = vec![spread("rack")];
                request.preferences = vec!["zone".into(), "none".into()];
            }
            4 => request.volumes = vec!["data".into()],
            5 => request.volumes = vec!["none".into()],
            8..=10 => request.devices = devices,
            6 => request.tenant = Some("acme".into()),
            7 => {
                request.platforms = vec![Platform {
                    os: String::new(),
                    architecture: "amd64".into(),
                }];
            }
            _ => {}
        }
        request
    })
}

fn expiry() -> impl Strategy<Value = Timestamp> {
    (1..30u64).prop_map(Timestamp::from_secs)
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
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
pub(crate) fn change(step: Step, reference: &Reference) -> Option<Change> {
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
pub(crate) fn seen(held: &Reservation, id: WorkloadId) -> PlacedWorkload {
    let mut workload = PlacedWorkload::new(id, held.node.clone());
    workload.name = held.request.name.clone();
    workload.resources = held.request.resources.clone();
    workload.labels = held.request.labels.clone();
    workload.service = held.request.service.clone();
    workload.ports = held
        .request
        .ports
        .iter()
        .filter(|port| port.port != 0)
        .cloned()
        .collect();
    workload
}

pub(crate) fn order() -> impl Strategy<Value = Order> {
    select(vec![Order::Spread, Order::BinPack, Order::Random])
}
