//! Tens of thousands of whole clusters, each asked a few questions: breadth where the histories of
//! `properties.rs` have depth.

use std::{cell::Cell, ops::Range};

use longshore_core::*;
use longshore_sched::{ClusterScheduler, Strategy as Order};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use crate::{
    reference::Reference,
    support::NOW,
    worlds::{node, order, request, workload},
};

/// A cluster: its nodes, what is on them and how important that is.
type World = (Vec<NodeState>, Vec<(PlacedWorkload, i32)>);

fn world(works: Range<usize>) -> impl Strategy<Value = World> {
    (vec(node(), 1..6), vec((workload(), 0..3i32), works))
}

/// Both schedulers, told the same.
fn told(order: Order, world: World) -> (ClusterScheduler, Reference) {
    let (mut ours, mut naive) = (ClusterScheduler::new(order), Reference::new(order));
    let mut observe = |change: Change| {
        let told = ours.observe(change.clone()).map_err(|error| error.kind());
        let expected = naive.observe(change).map_err(|error| error.kind());
        assert_eq!(told, expected);
    };
    for node in world.0 {
        observe(Change::Node(node));
    }
    for (mut work, priority) in world.1 {
        work.priority = priority;
        observe(Change::Workload(work));
    }
    (ours, naive)
}

/// Of each choice: the node, its devices, and the same of the runners-up.
type Choice = Vec<(NodeId, Vec<DeviceId>)>;

fn choice(placed: Result<Placement, Refusal>) -> Option<Choice> {
    let placement = placed.ok()?;
    let all = std::iter::once(placement.chosen).chain(placement.runners_up);
    Some(all.map(|scored| (scored.node, scored.devices)).collect())
}

fn run<S: Strategy>(cases: u32, strategy: &S, check: impl Fn(S::Value)) -> u32 {
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(cases)
    };
    let count = Cell::new(0);
    let outcome = TestRunner::new(config).run(strategy, |value| {
        check(value);
        count.set(count.get() + 1);
        Ok(())
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
    count.get()
}

/// The same nodes could take each request, and the same ones are chosen under the same seed, with
/// the same devices.
#[test]
fn tens_of_thousands_of_clusters_agree_with_the_reference() {
    let asked = vec((request(), any::<u64>()), 1..4);
    let (placed, refused) = (Cell::new(0), Cell::new(0));
    let clusters = run(
        20_000,
        &(order(), world(0..7), asked),
        |(order, world, asked)| {
            let (ours, naive) = told(order, world);
            for (request, seed) in asked {
                let verdicts = ours.explain(&request, NOW, seed).unwrap().nodes;
                let feasible = verdicts.iter().filter(NodeVerdict::is_feasible);
                let mut ids: Vec<NodeId> = feasible.map(|verdict| verdict.node).collect();
                ids.sort();
                assert_eq!(ids, naive.feasible(&request), "{request:?}");
                let found = choice(ours.place(&request, NOW, seed));
                assert_eq!(
                    found,
                    choice(naive.place(&request, NOW, seed)),
                    "{request:?}"
                );
                let counter = if found.is_some() { &placed } else { &refused };
                counter.set(counter.get() + 1);
            }
        },
    );
    let (placed, refused) = (placed.get(), refused.get());
    println!("{clusters} clusters: {placed} requests placed, {refused} refused");
    assert!(clusters >= 20_000 && placed >= 5_000 && refused >= 5_000);
}

/// The same with two nodes at most, all open, and all work on them: so that room is what lacks.
fn crowded((mut nodes, mut works): World) -> World {
    nodes.truncate(2);
    for node in &mut nodes {
        (node.health, node.health_indicator) = (NodeHealth::Healthy, 100);
        node.availability = Availability::Active;
        node.labels.remove("tenant");
    }
    for (at, (work, _)) in works.iter_mut().enumerate() {
        work.node = nodes[at % nodes.len()].id.clone();
    }
    (nodes, works)
}

/// How many victims, the most important of them, the sum of importance.
type Price = (usize, Option<i32>, i64);

/// The price of the cheapest victims, by trying every set of them on every node.
fn naive_price(naive: &Reference, order: Order, request: &PlacementRequest) -> Option<Price> {
    let all = naive.workloads();
    let prices = naive.nodes().iter().flat_map(|node| {
        let weak: Vec<&PlacedWorkload> = all
            .iter()
            .filter(|w| w.node == node.id && w.priority < request.priority)
            .collect();
        let sets = 0..1u32 << weak.len();
        sets.filter_map(move |set| {
            let victims: Vec<&PlacedWorkload> = weak
                .iter()
                .enumerate()
                .filter(|(at, _)| set >> at & 1 == 1)
                .map(|(_, victim)| *victim)
                .collect();
            let left = all.iter().filter(|work| !victims.contains(work)).cloned();
            let without = Reference::loaded(order, naive.nodes().to_vec(), left.collect());
            let priorities = || victims.iter().map(|victim| victim.priority);
            let price = (
                victims.len(),
                priorities().max(),
                priorities().map(i64::from).sum(),
            );
            without
                .feasible(request)
                .contains(&node.id)
                .then_some(price)
        })
    });
    prices.min()
}

/// Plans of victims cost what the cheapest of all sets of victims costs, whatever the request asks
/// for besides room.
#[test]
fn thousands_of_preemption_plans_agree_with_the_reference() {
    let victims = Cell::new(0);
    let wanted = (request(), 1..5i32);
    let clusters = run(
        2_000,
        &(world(3..9), wanted),
        |(world, (mut request, priority))| {
            // Both are counted before anybody leaves; see the plan's documentation.
            request.dependencies.clear();
            request.topology.clear();
            request.priority = priority;
            let (ours, naive) = told(Order::Spread, crowded(world));
            let plan = ours.plan_preemption(&request).unwrap();
            let found = plan.map(|plan| {
                let priorities = || plan.victims.iter().map(|victim| victim.priority);
                (
                    plan.victims.len(),
                    priorities().max(),
                    priorities().map(i64::from).sum::<i64>(),
                )
            });
            victims.set(victims.get() + found.map_or(0, |(count, ..)| count));
            assert_eq!(
                found,
                naive_price(&naive, Order::Spread, &request),
                "{request:?}"
            );
        },
    );
    println!("{clusters} clusters: plans with {} victims", victims.get());
    assert!(clusters >= 2_000 && victims.get() >= 100);
}
