use longshore_core::{
    Bytes, HostPort, Labels, MilliCpu, NodeState, PlacedWorkload, PortProtocol, Reservation,
    Resources, TopologySpread,
};
use proptest::prelude::*;

use super::*;

/// One change of a small cluster, made out of three numbers.
fn change(kind: u8, which: u8, amount: u8) -> Change {
    let node = format!("n{}", which % 4).parse().unwrap();
    let resources = Resources::new(MilliCpu(amount.into()), Bytes(u64::from(amount) * 3));
    let mut request = PlacementRequest::new("image").with_resources(resources.clone());
    request.name = ["", "web", "db"][usize::from(amount % 3)].to_owned();
    request.ports = vec![HostPort::any(u16::from(amount % 4), PortProtocol::Tcp); 2];
    request.labels = Labels::new().with("com.docker.swarm.id", format!("s{}", amount % 5));
    let mut workload = PlacedWorkload::new(format!("w{}", which % 9).parse().unwrap(), node);
    request
        .labels
        .insert("tier", ["x1", "y"][usize::from(amount % 2)]);
    request.service = amount
        .is_multiple_of(2)
        .then(|| format!("s{}", amount % 3).parse().unwrap());
    workload.name.clone_from(&request.name);
    workload.service.clone_from(&request.service);
    workload.ports.clone_from(&request.ports);
    workload.labels.clone_from(&request.labels);
    workload.resources = resources;
    let node = workload.node.clone();
    let reservation = format!("r{}", which % 5).parse().unwrap();
    let expires = Timestamp::from_secs(amount.into());
    match kind % 8 {
        0 => {
            let capacity = Resources::new(MilliCpu(400), Bytes(1000));
            let name = ["node", "other"][usize::from(amount % 2)].parse().unwrap();
            let zone = ["", "eu"][usize::from(amount / 2 % 2)];
            let mut state = NodeState::new(node, name, capacity);
            let has = |bit: u8| amount >> bit & 1 == 1;
            state.images = (3..5)
                .filter(|bit| has(*bit))
                .map(|n| format!("i{n}:1"))
                .collect();
            state.volumes = (4..6)
                .filter(|bit| has(*bit))
                .map(|n| format!("v{n}"))
                .collect();
            let mut labels = Labels::new();
            labels.extend((!has(6)).then_some(("zone", zone)));
            labels.extend(has(7).then(|| ("rack", ["a", "b"][usize::from(has(2))])));
            Change::Node(state.with_labels(labels))
        }
        1 if amount.is_multiple_of(4) => Change::NodeGone(node),
        1 | 2 => Change::Workload(workload),
        3 => Change::WorkloadGone(node, workload.id),
        4 => Change::Reserve(Reservation::new(reservation, node, request, expires)),
        5 => Change::Release(reservation),
        6 => Change::Fulfil(reservation, workload),
        _ => Change::Tick(Timestamp::from_secs(u64::from(amount) / 8)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Sums, ports, names, ids and expiries that are kept up to date equal a count from scratch,
    /// whatever happens, refused changes included.
    #[test]
    fn the_index_stays_consistent(
        steps in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 1..120),
    ) {
        let mut scheduler = ClusterScheduler::default();
        for (kind, which, amount) in steps {
            let change = change(kind, which, amount);
            let told = scheduler.observe(change.clone());
            prop_assert!(scheduler.index.is_consistent(), "after {change:?}: {told:?}");
            let rules = Rules { pipeline: &scheduler.pipeline, ranking: scheduler.ranking(0) };
            let finder = scheduler.finder.lock().unwrap();
            prop_assert!(finder.is_consistent(&scheduler.index, &rules), "after {change:?}: {told:?}");
            drop(finder);
            for (affinity, constraint) in [
                ("service==s1", "zone==/./"),
                ("tier!=x*", "node!=/n1/"),
                ("image==i3*", "rack==a"),
                ("tier==x1", "rack!=*"),
            ] {
                // Half of them are never seen before the last change.
                if which.is_multiple_of(2) && affinity.contains("==") {
                    continue;
                }
                let mut probe = PlacementRequest::new("image").with_affinity(affinity.parse().unwrap());
                probe.constraints.push(constraint.parse().unwrap());
                let _ = scheduler.place(&probe, Timestamp::ZERO, 0);
            }
            let mut probe = PlacementRequest::new("image");
            probe.service = Some(format!("s{}", amount % 3).parse().unwrap());
            probe.topology = vec![TopologySpread { label: "zone".into(), max_skew: 1 }];
            probe.preferences = vec!["rack".into(), "zone".into()];
            let _ = scheduler.place(&probe, Timestamp::ZERO, 0);
        }
    }
}
