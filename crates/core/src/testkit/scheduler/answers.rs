//! What it answers, and that it always answers the same.

use std::collections::BTreeSet;

use super::{
    Harness,
    cluster::{
        NOW, explain, expression, has_filter, node, node_id, observe, request, sized, with_nodes,
        workload, zones,
    },
};
use crate::{
    Bytes, Change, Labels, MilliCpu, NodeState, NodeVerdict, PlacedWorkload, Refusal, Resources,
    Scheduler,
};

/// The same request, time and seed give the same answer, as often as asked.
pub async fn the_same_inputs_give_the_same_answer<H: Harness + ?Sized>(harness: &H) {
    let names: Vec<String> = (0..30).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (one, other) = (with_nodes(harness, &names), with_nodes(harness, &names));
    for seed in 0..20 {
        let answer = one.place(&request(), NOW, seed).expect("a node has room");
        assert_eq!(
            one.place(&request(), NOW, seed).expect("a node has room"),
            answer
        );
        assert_eq!(
            other.place(&request(), NOW, seed).expect("a node has room"),
            answer
        );
    }
}

/// The order in which nodes and workloads came does not matter.
pub async fn the_order_of_nodes_does_not_matter<H: Harness + ?Sized>(harness: &H) {
    let mut states: Vec<NodeState> = (0..20)
        .map(|n| {
            node(&format!("n{n}")).with_labels(Labels::new().with("zone", format!("z{}", n % 3)))
        })
        .collect();
    let mut workloads: Vec<PlacedWorkload> = (0..40)
        .map(|n| {
            let mut workload = workload(&format!("w{n}"), &format!("n{}", n * 7 % 20));
            workload.resources = Resources::new(MilliCpu(n * 20), Bytes::from_mib(n));
            workload
        })
        .collect();
    let fill = |states: &[NodeState], workloads: &[PlacedWorkload]| {
        let mut scheduler = harness.scheduler();
        for state in states {
            observe(&mut *scheduler, Change::Node(state.clone()));
        }
        for workload in workloads {
            observe(&mut *scheduler, Change::Workload(workload.clone()));
        }
        scheduler
    };
    let forward = fill(&states, &workloads);
    states.reverse();
    states.rotate_left(7);
    workloads.reverse();
    let mut backward = fill(&states, &workloads);
    // A node that left and came back stands elsewhere in an index.
    for name in ["n3", "n11"] {
        observe(&mut *backward, Change::NodeGone(node_id(name)));
    }
    for name in ["n11", "n3"] {
        let state = states
            .iter()
            .find(|state| state.id.as_str() == name)
            .expect("it was made above");
        observe(&mut *backward, Change::Node(state.clone()));
        for workload in workloads
            .iter()
            .filter(|workload| workload.node.as_str() == name)
        {
            observe(&mut *backward, Change::Workload(workload.clone()));
        }
    }
    for seed in 0..20 {
        for request in [
            request(),
            sized(500, 64).with_constraint(expression("zone==z1")),
        ] {
            let explain = |s: &dyn Scheduler| {
                s.explain(&request, NOW, seed)
                    .expect("the request is valid")
            };
            assert_eq!(explain(&*forward), explain(&*backward), "seed {seed}");
        }
    }
}

/// Runners-up are other nodes that could take the work, each once, and numbers add up.
pub async fn runners_up_could_take_the_work<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    for full in ["b", "f"] {
        let mut hog = workload(full, full);
        hog.resources = Resources::new(MilliCpu(4000), Bytes::ZERO);
        observe(&mut *scheduler, Change::Workload(hog));
    }
    for seed in 0..20 {
        let placement = scheduler
            .place(&sized(1, 0), NOW, seed)
            .expect("a node has room");
        assert_eq!((placement.feasible, placement.considered), (6, 8));
        let mut named = BTreeSet::from([&placement.chosen.node]);
        for scored in &placement.runners_up {
            assert!(named.insert(&scored.node), "{} is named twice", scored.node);
        }
        assert!(named.iter().all(|id| !["b", "f"].contains(&id.as_str())));
    }
}

/// What is explained is what would be done: the same placement or the same refusal, every node
/// named once, those that could take the work first.
pub async fn explain_agrees_with_place<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = zones(harness);
    let mut hog = workload("hog", "a");
    hog.resources = Resources::new(MilliCpu(3500), Bytes::from_gib(1));
    observe(&mut *scheduler, Change::Workload(hog));
    let requests = [
        request(),
        sized(1000, 1024),
        sized(9000, 0),
        sized(1000, 0).with_constraint(expression("zone==eu")),
        sized(1000, 0).with_constraint(expression("zone==~eu")),
        request().with_constraint(expression("zone==nosuch")),
    ];
    for (request, seed) in requests
        .iter()
        .flat_map(|request| (0..5).map(move |seed| (request, seed)))
    {
        let explanation = scheduler
            .explain(request, NOW, seed)
            .expect("the request is valid");
        let feasible = explanation
            .nodes
            .iter()
            .take_while(NodeVerdict::is_feasible)
            .count();
        assert!(
            explanation
                .nodes
                .iter()
                .skip(feasible)
                .all(|verdict| !verdict.is_feasible())
        );
        let named: BTreeSet<_> = explanation
            .nodes
            .iter()
            .map(|verdict| verdict.node)
            .collect();
        assert_eq!((named.len(), explanation.nodes.len()), (4, 4));
        assert!(!explanation.summary.is_empty());
        match scheduler.place(request, NOW, seed) {
            Ok(placement) => {
                assert_eq!(
                    explanation.nodes.at(0).expect("a node").node,
                    placement.chosen.node
                );
                assert_eq!(placement.feasible, feasible);
                assert_eq!(explanation.placement, Some(placement));
                assert_eq!(explanation.refusal, None);
            }
            Err(Refusal::Unplaceable { message, .. }) => {
                assert_eq!((feasible, explanation.placement), (0, None));
                assert_eq!(explanation.refusal, Some(message));
            }
            Err(other) => panic!("{request:?} is valid, got {other}"),
        }
    }
}

/// Every node that is refused names each filter that refuses it, with a reason.
pub async fn every_refused_node_has_its_reasons<H: Harness + ?Sized>(harness: &H) {
    let scheduler = zones(harness);
    let constrained = has_filter(&*scheduler, "constraint");
    let wanted = sized(9000, 0).with_constraint(expression("zone==us"));
    for verdict in &explain(&*scheduler, &wanted).nodes {
        assert!(
            verdict
                .failures
                .iter()
                .all(|failure| !failure.reason.is_empty())
        );
        let filters: Vec<&str> = verdict.failures.iter().map(|f| f.filter.as_str()).collect();
        let expected: &[&str] = match verdict.node.as_str() {
            "c" => &["resources"],
            _ if constrained => &["constraint", "resources"],
            _ => &["resources"],
        };
        assert_eq!(filters, expected, "on {}", verdict.node);
    }
}
