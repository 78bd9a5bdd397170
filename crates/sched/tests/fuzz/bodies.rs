//! What the fuzz targets do with bytes. The same bodies run here for a bounded time.

use longshore_core::{
    Batch, Bytes, Change, Expression, HostPort, Labels, MilliCpu, NodeState, PlacedWorkload,
    PlacementRequest, PortProtocol, Reservation, Resources, Scheduler, Timestamp, TopologySpread,
};
use longshore_sched::{ClusterScheduler, Strategy};

/// Whatever text comes: an expression or an error that points into it, never a panic; what is
/// accepted prints back to itself and can be placed with.
pub(crate) fn expression(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let expression = match text.parse::<Expression>() {
        Ok(expression) => expression,
        Err(error) => {
            assert!(error.position() <= text.len(), "{text:?}: {error}");
            assert!(error.pointer().ends_with('^'));
            return;
        }
    };
    assert_eq!(
        expression.to_string().parse::<Expression>().as_ref(),
        Ok(&expression),
        "{text:?}"
    );
    let mut scheduler = ClusterScheduler::default();
    let room = Resources::new(MilliCpu(1000), Bytes(1000));
    for name in ["a", "b"] {
        let node = NodeState::new(
            name.parse().expect("an id"),
            name.parse().expect("a name"),
            room.clone(),
        );
        let labels = Labels::new().with(expression.key(), name);
        scheduler
            .observe(Change::Node(node.with_labels(labels)))
            .expect("a node");
    }
    let request = PlacementRequest::new("image").with_constraint(expression.clone());
    let (once, again) = (
        scheduler.place(&request, Timestamp::ZERO, 0),
        scheduler.place(&request, Timestamp::ZERO, 0),
    );
    assert_eq!(
        once, again,
        "{text:?}: the second answer comes from what the first remembered"
    );
    let explained = scheduler.explain(&request, Timestamp::ZERO, 0);
    match explained {
        Ok(explained) => assert_eq!(explained.placement.is_some(), once.is_ok()),
        Err(_) => assert!(once.is_err()),
    }
}

/// Whatever is observed: no panic, no node over its capacity by reservations, an answer that
/// explains itself, and after everything has gone an empty cluster.
pub(crate) fn changes(bytes: &[u8]) {
    let strategy = [Strategy::Spread, Strategy::BinPack, Strategy::Random];
    let mut scheduler = ClusterScheduler::new(strategy[bytes.len() % 3]);
    for step in bytes.chunks_exact(4) {
        let &[kind, which, amount, extra] = step else {
            continue;
        };
        // Now and then a number that overflows what is summed up carelessly.
        let size = match extra {
            255 => u64::MAX,
            254 => u64::MAX / 3,
            _ => u64::from(amount),
        };
        act(&mut scheduler, kind, which, size, extra);
        let probe = request(which, size / 2, extra);
        let placed = scheduler.place(&probe, Timestamp::ZERO, u64::from(extra));
        let explained = scheduler.explain(&probe, Timestamp::ZERO, u64::from(extra));
        let explained = explained.expect("the request is sound");
        match placed {
            Ok(placed) => {
                let best = explained.nodes.at(0).expect("a node");
                assert_eq!(
                    (&placed.chosen.node, true),
                    (&best.node, best.is_feasible())
                );
            }
            Err(_) => assert!(explained.nodes.iter().all(|node| !node.is_feasible())),
        }
    }
    for node in 0..8 {
        let gone = Change::NodeGone(format!("n{node}").parse().expect("an id"));
        scheduler.observe(gone).expect("no error");
    }
    for name in ["web", "db"] {
        assert!(!scheduler.is_name_taken(name), "{name} was left behind");
    }
}

fn request(which: u8, size: u64, extra: u8) -> PlacementRequest {
    let mut request = PlacementRequest::new("image");
    request.resources = Resources::new(MilliCpu(size), Bytes(size / 2));
    request.service =
        (which.is_multiple_of(3)).then(|| format!("s{}", extra % 3).parse().expect("a name"));
    request.labels = Labels::new().with("tier", format!("t{}", extra % 4));
    if extra.is_multiple_of(5) {
        request
            .ports
            .push(HostPort::any(u16::from(which % 3), PortProtocol::Tcp));
    }
    let terms = [
        "zone==z1",
        "zone!=z1",
        "zone==~z*",
        "zone==/z[12]/",
        "node!=n3",
        "zone!=*",
    ];
    if let Some(term) = terms.get(usize::from(extra % 9)) {
        request.constraints.push(term.parse().expect("a term"));
    }
    let terms = [
        "service!=s1",
        "tier==~t2",
        "tier!=/t[01]/",
        "container!=web",
    ];
    if let Some(term) = terms.get(usize::from(which / 8 % 9)) {
        request.affinities.push(term.parse().expect("a term"));
    }
    if which % 5 == 1 {
        request.topology.push(TopologySpread {
            label: ["zone", "none"][usize::from(extra % 16 / 15)].into(),
            max_skew: u32::from(extra % 3),
        });
    }
    if which % 7 == 2 {
        request.preferences = vec!["zone".into(), "rack".into()];
    }
    if which % 11 == 3 {
        for (at, text) in (0..).zip(["zone==z1", "zone!=z2", "rack==*", "node==n4", "zone==z3"]) {
            let wish: Expression = text.parse().expect("a term");
            request
                .constraints
                .push(wish.weighing(u32::from(extra) >> at & 3));
        }
    }
    request
}

fn act(scheduler: &mut ClusterScheduler, kind: u8, which: u8, size: u64, extra: u8) {
    let node = format!("n{}", which % 8).parse().expect("an id");
    let mut wanted = request(which, size, extra);
    wanted.name = ["", "", "web", "db"][usize::from(extra % 4)].to_owned();
    let expires = Timestamp::from_secs(u64::from(extra));
    let reservation = format!("r{}", which % 5).parse().expect("an id");
    let mut workload =
        PlacedWorkload::new(format!("w{}", extra % 16).parse().expect("an id"), node);
    workload.name.clone_from(&wanted.name);
    workload.service.clone_from(&wanted.service);
    workload.labels.clone_from(&wanted.labels);
    workload.ports.clone_from(&wanted.ports);
    workload.resources = wanted.resources.clone();
    let node = workload.node.clone();
    let change = match kind % 10 {
        0 | 1 => {
            let name = format!("n{}", extra % 8).parse().expect("a name");
            let mut state = NodeState::new(node, name, Resources::new(MilliCpu(size), Bytes(size)));
            state.health_indicator = extra % 120;
            let mut labels = Labels::new().with("zone", format!("z{}", extra % 4));
            labels.extend((which % 3 == 1).then(|| ("rack", format!("r{}", extra / 4 % 2))));
            Change::Node(state.with_labels(labels))
        }
        2 => Change::NodeGone(node),
        3 => Change::Workload(workload),
        4 => Change::WorkloadGone(node, workload.id),
        5 => Change::Reserve(Reservation::new(reservation, node, wanted, expires)),
        6 => Change::Release(
            format!("r{}.{}", which % 5, extra % 7)
                .parse()
                .expect("an id"),
        ),
        7 => Change::Fulfil(reservation, workload),
        8 => Change::Tick(Timestamp::from_secs(u64::from(extra) / 4)),
        _ => {
            let batch = Batch::new(reservation, wanted, u32::from(extra % 7), expires);
            let batch = if extra.is_multiple_of(2) {
                batch
            } else {
                batch.all_or_nothing()
            };
            let _ = scheduler.place_batch(&batch, Timestamp::ZERO, u64::from(which));
            return;
        }
    };
    // Twice is once, also when it is refused.
    let told = scheduler
        .observe(change.clone())
        .map_err(|error| error.kind());
    let again = scheduler
        .observe(change.clone())
        .map_err(|error| error.kind());
    assert!(
        told.is_err() || told == again || matches!(change, Change::Fulfil(..)),
        "{change:?}"
    );
}
