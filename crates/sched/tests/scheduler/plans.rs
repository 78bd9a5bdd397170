//! What could be done: plans are exact, and making them changes nothing.

use longshore_core::*;
use longshore_sched::{
    ClusterScheduler, Keyed, NodeFilter, NodeScore, NodeView, RebalanceLimits, Strategy, TieBreak,
};
use proptest::{collection::vec, prelude::*};

use crate::support::{
    EXPIRY, NOW, feasible, filled, node, observe, reasons, request, scheduler, sized, winner,
    workload,
};

fn important(mut workload: PlacedWorkload, priority: i32, cpu: u64) -> PlacedWorkload {
    workload.priority = priority;
    workload.resources = Resources::new(MilliCpu(cpu), Bytes::ZERO);
    workload
}

/// Every set of less important work on every node, in words.
fn naive_victims(
    nodes: &[NodeState],
    workloads: &[PlacedWorkload],
    request: &PlacementRequest,
) -> Option<(usize, Option<i32>, i64)> {
    let mut best = None;
    for node in nodes {
        let here: Vec<_> = workloads.iter().filter(|w| w.node == node.id).collect();
        for bits in 0..1u32 << here.len() {
            let leaves = |at: usize| bits >> at & 1 == 1;
            let (gone, stay): (Vec<_>, Vec<_>) =
                here.iter().enumerate().partition(|(at, _)| leaves(*at));
            let used: u64 = stay.iter().map(|(_, w)| w.resources.cpu.0).sum();
            let fits = used + request.resources.cpu.0 <= node.capacity.cpu.0;
            let ports_free = stay.iter().all(|(_, w)| {
                !w.ports
                    .iter()
                    .any(|held| request.ports.iter().any(|p| p.conflicts_with(held)))
            });
            if fits && ports_free && gone.iter().all(|(_, w)| w.priority < request.priority) {
                let priorities = || gone.iter().map(|(_, w)| w.priority);
                let price = (
                    gone.len(),
                    priorities().max(),
                    priorities().map(i64::from).sum(),
                );
                best = best.min(Some(price)).or(Some(price));
            }
        }
    }
    best
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    /// The fewest victims, then the cheapest, as trying every set of them gives.
    #[test]
    fn preemption_finds_the_fewest_and_cheapest(
        sizes in vec(1..8u64, 1..4),
        works in vec((0..4usize, 0..4i32, 1..5u64, any::<bool>()), 0..13),
        (priority, cpu, port) in (0..5i32, 1..8u64, any::<bool>()),
    ) {
        let nodes: Vec<NodeState> = sizes.iter().enumerate().map(|(at, cpu)| {
            let mut node = node(&format!("n{at}"), &[]);
            node.capacity.cpu = MilliCpu(*cpu * 2);
            node
        }).collect();
        let web = HostPort::any(80, PortProtocol::Tcp);
        let workloads: Vec<PlacedWorkload> = works.iter().enumerate().map(|(at, (on, priority, cpu, port))| {
            let name = format!("n{}", on % nodes.len());
            let mut work = important(workload(&format!("w{at}"), &name), *priority, *cpu);
            work.ports.extend(port.then(|| web.clone()));
            work
        }).collect();
        let mut ours = scheduler(nodes.clone());
        observe(&mut ours, workloads.iter().cloned().map(Change::Workload));
        let mut request = sized(cpu, Bytes::ZERO);
        request.priority = priority;
        request.ports.extend(port.then_some(web));
        let expected = naive_victims(&nodes, &workloads, &request);
        let plan = ours.plan_preemption(&request).unwrap();
        let found = plan.as_ref().map(|plan| {
            let priorities = || plan.victims.iter().map(|victim| victim.priority);
            (plan.victims.len(), priorities().max(), priorities().map(i64::from).sum())
        });
        prop_assert_eq!(found, expected);
        if let Some(plan) = plan {
            for victim in plan.victims {
                ours.observe(Change::WorkloadGone(plan.node.clone(), victim.workload)).unwrap();
            }
            let verdicts = ours.explain(&request, NOW, 0).unwrap().nodes;
            prop_assert!(verdicts.iter().any(|v| v.node == plan.node && v.is_feasible()));
        }
    }
}

#[test]
fn a_crowded_node_gives_up_no_more_than_it_must() {
    let mut crowded = node("a", &[]);
    crowded.capacity.cpu = MilliCpu(40);
    let mut ours = scheduler([crowded]);
    for at in 0..40 {
        let work = important(workload(&format!("w{at}"), "a"), at / 10, 1);
        observe(&mut ours, [Change::Workload(work)]);
    }
    let mut request = sized(3, Bytes::ZERO);
    request.priority = 2;
    let plan = ours.plan_preemption(&request).unwrap().unwrap();
    assert_eq!(
        plan.victims.iter().map(|v| v.priority).collect::<Vec<_>>(),
        [0, 0, 0]
    );
    request.priority = 0;
    assert_eq!(ours.plan_preemption(&request).unwrap(), None);
}

#[test]
fn a_gang_is_held_whole_or_not_at_all() {
    let mut ours = scheduler(["a", "b"].map(|name| node(name, &[])));
    let id = || "gang".parse::<ReservationId>().unwrap();
    let gang = |count| Batch::new(id(), sized(1_000, Bytes::ZERO), count, EXPIRY).all_or_nothing();
    let refused = ours.place_batch(&gang(9), NOW, 0).unwrap();
    assert!(refused.nodes.is_empty() && refused.refusal.is_some());
    // Nothing of it is left: the whole cluster is free for eight, and the id for use.
    let held = ours.place_batch(&gang(8), NOW, 0).unwrap();
    assert_eq!((held.nodes.len(), held.refusal), (8, None));
    assert!(feasible(&ours, &sized(1, Bytes::ZERO)).is_empty());
    assert_eq!(
        ours.place_batch(&gang(1), NOW, 0).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    for replica in 0..8 {
        observe(
            &mut ours,
            [Change::Release(gang(8).reservation(replica).unwrap())],
        );
    }
    assert_eq!(ours.place_batch(&gang(8), NOW, 0).unwrap().nodes.len(), 8);
}

#[test]
fn a_batch_is_checked_before_anything_is_held() {
    let mut ours = scheduler([node("a", &[])]);
    let id: ReservationId = "b".parse().unwrap();
    let twins = Batch::new(id.clone(), request().with_name("twin"), 2, EXPIRY);
    assert_eq!(
        ours.place_batch(&twins, NOW, 0).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    let wrong = request().with_constraint("zone==/(/".parse().unwrap());
    let wrong = Batch::new(id.clone(), wrong, 2, EXPIRY);
    assert_eq!(
        ours.place_batch(&wrong, NOW, 0).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    // A single reservation that reads like a replica keeps its id to itself.
    let single = Reservation::new(
        "b.1".parse().unwrap(),
        "id-a".parse().unwrap(),
        request(),
        EXPIRY,
    );
    observe(&mut ours, [Change::Reserve(single)]);
    let two = Batch::new(id, request(), 2, EXPIRY);
    assert_eq!(
        ours.place_batch(&two, NOW, 0).unwrap_err().kind(),
        ErrorKind::AlreadyExists
    );
    let mut one = two;
    one.count = 1;
    assert_eq!(ours.place_batch(&one, NOW, 0).unwrap().nodes.len(), 1);
}

#[test]
fn a_global_service_is_wanted_once_on_every_node_that_takes_it() {
    let mut draining = node("c", &[("zone", "eu")]);
    draining.availability = Availability::Draining;
    let nodes = [
        node("a", &[("zone", "eu")]),
        node("b", &[("zone", "eu")]),
        draining,
        node("d", &[]),
    ];
    let mut ours = scheduler(nodes);
    let service: ServiceName = "agent".parse().unwrap();
    for (id, on) in [("w1", "b"), ("w0", "b"), ("w2", "c"), ("w3", "d")] {
        let mut work = workload(id, on);
        work.service = Some(service.clone());
        observe(&mut ours, [Change::Workload(work)]);
    }
    let mut wanted = request().with_constraint("zone==eu".parse().unwrap());
    assert_eq!(
        ours.plan_global(&wanted).unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
    wanted.service = Some(service);
    let plan = ours.plan_global(&wanted).unwrap();
    let ids = |nodes: &[NodeId]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(ids(&plan.missing), ["id-a"]);
    assert_eq!(ids(&plan.present), ["id-b"]);
    let surplus: Vec<String> = plan.surplus.iter().map(|(_, id)| id.to_string()).collect();
    assert_eq!(surplus, ["w1", "w2", "w3"]);
    assert_eq!(plan.refused.len(), 2);
}

#[test]
fn rebalancing_moves_the_cheapest_that_helps_and_tells_its_cost() {
    let mut ours = scheduler(["a", "b"].map(|name| node(name, &[])));
    for (id, mib) in [("big", 2_048), ("small", 512), ("mid", 1_024)] {
        let mut work = workload(id, "a");
        work.resources = Resources::new(MilliCpu(1_000), Bytes::from_mib(mib));
        observe(&mut ours, [Change::Workload(work)]);
    }
    let request_of = |_: &NodeId, id: &WorkloadId| {
        (id.as_str() != "mid").then(|| sized(1_000, Bytes::from_mib(512)))
    };
    let before = ours.explain(&request(), NOW, 0).unwrap();
    let limits = RebalanceLimits::default();
    let plan = ours
        .plan_rebalance(limits.with_moves(1), NOW, 0, &request_of)
        .unwrap();
    assert_eq!(
        ours.explain(&request(), NOW, 0).unwrap(),
        before,
        "the plan changed something"
    );
    let moves: Vec<_> = plan
        .moves
        .iter()
        .map(|m| (m.workload.as_str(), m.to.as_str()))
        .collect();
    assert_eq!(moves, [("small", "id-b")]);
    assert_eq!((plan.cost, plan.spread_before), (Bytes::from_mib(512), 875));
    assert!(plan.spread_after < plan.spread_before);
    let more = ours.plan_rebalance(limits, NOW, 0, &request_of).unwrap();
    let moved: Vec<&str> = more.moves.iter().map(|m| m.workload.as_str()).collect();
    assert_eq!(
        moved,
        ["small", "big"],
        "none twice, and not what is not known"
    );
    assert!(more.spread_after < plan.spread_after);
    let none = ours
        .plan_rebalance(limits.with_gain(900), NOW, 0, &request_of)
        .unwrap();
    assert!(none.moves.is_empty() && none.spread_after == 875);
}

#[test]
fn one_key_gets_one_place() {
    let mut ours = scheduler(["a", "b"].map(|name| node(name, &[])));
    let get = |ours: &mut ClusterScheduler, id: &str, name: &str| {
        ours.get_or_hold(
            id.parse().unwrap(),
            request().with_name(name),
            EXPIRY,
            NOW,
            0,
        )
    };
    let first = get(&mut ours, "r1", "user-7").unwrap();
    let Keyed::Held(node) = first else {
        panic!("{first:?}")
    };
    assert_eq!(
        get(&mut ours, "r2", "/user-7").unwrap(),
        Keyed::Existing(node.clone())
    );
    assert!(matches!(get(&mut ours, "r3", "user-8").unwrap(), Keyed::Held(other) if other != node));
    assert_eq!(
        get(&mut ours, "r4", "").unwrap_err().kind(),
        ErrorKind::InvalidInput
    );
}

#[test]
fn what_if_answers_for_another_node_and_for_fewer_demands() {
    let ours = scheduler([node("a", &[("zone", "us")])]);
    let wanted = sized(1_000, Bytes::ZERO).with_constraint("zone==eu".parse().unwrap());
    let new = Change::Node(node("b", &[("zone", "eu")]));
    let explained = ours.explain_after(vec![new], &wanted, NOW, 0).unwrap();
    assert_eq!(explained.placement.unwrap().chosen.name.as_str(), "b");
    let refused = ours.explain(&wanted, NOW, 0).unwrap();
    assert!(refused.placement.is_none());
    let remedies: Vec<String> = refused.remedies.iter().map(ToString::to_string).collect();
    assert_eq!(remedies, ["drop constraint zone==eu: it would go to a"]);
}

#[test]
fn what_if_names_a_node_of_which_one_more_would_do() {
    let mut ours = scheduler([node("a", &[]), node("b", &[("zone", "eu")])]);
    let mut full = workload("w", "b");
    full.resources = Resources::new(MilliCpu::from_cpus(4), Bytes::ZERO);
    observe(&mut ours, [Change::Workload(full)]);
    let wanted = sized(1_000, Bytes::ZERO).with_constraint("zone==eu".parse().unwrap());
    let told = |request: &PlacementRequest| -> Vec<String> {
        let explained = ours.explain(request, NOW, 0).unwrap();
        explained.remedies.iter().map(ToString::to_string).collect()
    };
    let expected = [
        "drop constraint zone==eu: it would go to a",
        "drop the resources: it would go to b",
        "add a node like b",
    ];
    assert_eq!(told(&wanted), expected);
    // No node is that large, empty or not; and what can be placed needs no remedy.
    let huge = sized(9_000, Bytes::ZERO);
    assert_eq!(told(&huge), ["drop the resources: it would go to a"]);
    assert!(told(&request()).is_empty());
}

/// Odd nodes only, and those with the highest number first.
#[derive(Debug)]
struct Number;

fn number(node: &NodeView<'_>) -> i32 {
    node.label("number").map_or(0, |text| text.parse().unwrap())
}

impl NodeFilter for Number {
    fn name(&self) -> &str {
        "odd"
    }
    fn check(&self, _: &PlacementRequest, node: &NodeView<'_>) -> Result<(), String> {
        match number(node) % 2 {
            1 => Ok(()),
            _ => Err(format!("{} is even", number(node))),
        }
    }
}

impl NodeScore for Number {
    fn name(&self) -> &str {
        "number"
    }
    fn points(&self, _: &PlacementRequest, node: &NodeView<'_>) -> i32 {
        number(node)
    }
}

#[test]
fn s19_filters_and_scores_of_the_embedder_count() {
    let nodes = || ["1", "2", "3", "4"].map(|n| node(n, &[("number", n)]));
    let build = |factor| {
        let builder = ClusterScheduler::builder()
            .own_filter(Number)
            .own_score(Number, factor);
        filled(builder.build(), nodes())
    };
    assert_eq!(feasible(&build(1), &request()), ["1", "3"]);
    assert_eq!(reasons(&build(1), &request(), "2"), ["own: 2 is even"]);
    assert_eq!(winner(&build(1), &request(), 0), "3");
    assert_eq!(winner(&build(-1), &request(), 0), "1");
    for strategy in [Strategy::BinPack, Strategy::Random] {
        let builder = ClusterScheduler::builder()
            .strategy(strategy)
            .own_score(Number, 5);
        assert_eq!(
            winner(&filled(builder.build(), nodes()), &request(), 0),
            "4",
            "{strategy}"
        );
    }
    let mut held = build(1);
    let batch = Batch::new("b".parse().unwrap(), sized(4_000, Bytes::ZERO), 3, EXPIRY);
    let placed = held.place_batch(&batch, NOW, 0).unwrap();
    assert_eq!(
        placed.nodes.iter().map(NodeId::as_str).collect::<Vec<_>>(),
        ["id-3", "id-1"]
    );
}

#[test]
fn the_least_recently_failed_node_wins_ties() {
    let failed = |name: &str, at: Option<u64>| {
        let mut node = node(name, &[]);
        node.last_failure = at.map(Timestamp::from_secs);
        node
    };
    let builder = ClusterScheduler::builder().tie_break(TieBreak::LastFailure);
    let nodes = [
        failed("a", Some(9)),
        failed("b", Some(3)),
        failed("c", None),
    ];
    let mut ours = filled(builder.build(), nodes);
    assert_eq!(winner(&ours, &request(), 0), "c");
    observe(&mut ours, [Change::NodeGone("id-c".parse().unwrap())]);
    assert_eq!(winner(&ours, &request(), 0), "b");
}
