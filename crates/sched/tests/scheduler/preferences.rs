//! Wishes and ties: what decides before and after the weight (S8, S15).

use std::collections::HashMap;

use longshore_core::*;
use longshore_sched::{ClusterScheduler, Strategy, TieBreak};

use crate::support::*;

fn counts(scheduler: &ClusterScheduler, seeds: u64) -> HashMap<String, u64> {
    let mut counts = HashMap::new();
    for seed in 0..seeds {
        *counts
            .entry(winner(scheduler, &request(), seed))
            .or_default() += 1;
    }
    counts
}

#[test]
fn random_is_uniform_over_seeds_and_repeats_under_one() {
    let names = ["a", "b", "c", "d", "e"];
    let scheduler = filled(
        ClusterScheduler::new(Strategy::Random),
        names.map(|name| node(name, &[])),
    );
    let counts = counts(&scheduler, 5000);
    for name in names {
        // 1000 expected, standard deviation 28: five of them either way.
        assert!((860..1140).contains(&counts[name]), "{counts:?}");
    }
    assert_eq!(
        winner(&scheduler, &request(), 42),
        winner(&scheduler, &request(), 42)
    );
}

#[test]
fn s15_ties_end_by_name_or_by_seed() {
    let names = ["c", "a", "b"];
    let by_name = scheduler(names.map(|name| node(name, &[])));
    assert_eq!(counts(&by_name, 50), HashMap::from([("a".to_owned(), 50)]));
    let by_seed = ClusterScheduler::builder()
        .tie_break(TieBreak::Seed)
        .build();
    let mut by_seed = filled(by_seed, names.map(|name| node(name, &[])));
    assert_eq!(counts(&by_seed, 100).len(), 3);
    // Only ties: a node that ranks better still wins.
    observe(
        &mut by_seed,
        ["a", "b"].map(|name| Change::Workload(workload(name, name))),
    );
    assert_eq!(counts(&by_seed, 50), HashMap::from([("c".to_owned(), 50)]));
    // Equal names: the id.
    let mut twins = scheduler([]);
    for id in ["2", "1"] {
        let mut state = node("twin", &[]);
        state.id = id.parse().unwrap();
        observe(&mut twins, [Change::Node(state)]);
    }
    assert_eq!(
        twins
            .place(&request(), NOW, 0)
            .unwrap()
            .chosen
            .node
            .as_str(),
        "1"
    );
}

/// Nodes by their labels; the winner under these soft constraints, and those it does not fulfil.
#[track_caller]
fn check_wishes(wishes: &[&str], expected: &str, unmet: &[&str]) {
    let scheduler = scheduler([
        node("a", &[]),
        node("b", &[("zone", "eu")]),
        node("c", &[("zone", "us"), ("disk", "ssd")]),
        node("d", &[("zone", "us"), ("disk", "hdd"), ("gpu", "yes")]),
    ]);
    let request = wishes.iter().fold(request(), |request, text| {
        request.with_constraint(expression(text))
    });
    let placement = scheduler.place(&request, NOW, 0).unwrap();
    assert_eq!(placement.chosen.name.as_str(), expected);
    assert_eq!(placement.unmet_wishes, unmet);
}

#[test]
fn s8_wishes_yield_one_at_a_time() {
    // All can hold: as in Swarm.
    check_wishes(&["zone==~us", "disk==~ssd"], "c", &[]);
    // Swarm gave up all wishes where one could not hold, and took `a`.
    check_wishes(&["zone==~us", "disk==~tape"], "c", &["disk==~tape"]);
    check_wishes(&["disk==~tape"], "a", &["disk==~tape"]);
    // More fulfilled wishes beat an earlier one.
    check_wishes(
        &["zone==~eu", "zone==~us", "gpu==~yes"],
        "d",
        &["zone==~eu"],
    );
    // As many: the earlier declared wins.
    check_wishes(&["zone==~eu", "zone==~us"], "b", &["zone==~us"]);
    check_wishes(&["zone==~us", "zone==~eu"], "c", &["zone==~eu"]);
    check_wishes(
        &["disk==~hdd", "disk==~ssd", "gpu!=~yes"],
        "c",
        &["disk==~hdd"],
    );
}

/// Wishes with their weights on the nodes of [`check_wishes`]; the winner.
#[track_caller]
fn check_weights(wishes: &[(&str, u32)], expected: &str) {
    let mut request = request();
    for (text, weight) in wishes {
        request.constraints.push(expression(text).weighing(*weight));
    }
    let scheduler = scheduler([
        node("a", &[]),
        node("b", &[("zone", "eu")]),
        node("c", &[("zone", "us"), ("disk", "ssd")]),
        node("d", &[("zone", "us"), ("disk", "hdd"), ("gpu", "yes")]),
    ]);
    assert_eq!(winner(&scheduler, &request, 0), expected, "{wishes:?}");
}

#[test]
fn s8_weights_count_before_the_number_of_wishes() {
    let two = [("zone==~us", 1), ("gpu==~yes", 1)];
    check_weights(&two, "d");
    // As heavy: the earlier declared.
    check_weights(&[("zone==~eu", 2), two[0], two[1]], "b");
    check_weights(&[two[0], two[1], ("zone==~eu", 2)], "d");
    check_weights(&[("zone==~eu", 3), two[0], two[1]], "b");
    check_weights(&[two[0], two[1], ("disk!=~*", 5)], "a");
    // 0 only breaks ties.
    check_weights(&[("zone==~us", 1), ("disk==~hdd", 0)], "d");
    check_weights(&[("zone==~eu", 1), ("disk==~hdd", 0)], "b");
    // More than are tried one by one.
    let many = [
        ("zone==~us", 1),
        ("gpu==~yes", 1),
        ("disk==~hdd", 1),
        ("disk==~ssd", 1),
        ("zone==~asia", 9),
        ("zone==~eu", 1),
    ];
    check_weights(&many, "d");
    check_weights(
        &[
            many[0],
            many[1],
            many[2],
            many[3],
            many[4],
            ("zone==~eu", 4),
        ],
        "b",
    );
    check_weights(
        &[many[0], many[1], many[2], many[4], ("disk==~ssd", u32::MAX)],
        "c",
    );
}

#[test]
fn a_weight_is_told_with_the_score() {
    let scheduler = scheduler([node("a", &[("zone", "eu")])]);
    let mut request = request().with_constraint(expression("zone==eu").weighing(7));
    request.constraints.push(expression("disk==~ssd"));
    let placement = scheduler.place(&request, NOW, 0).unwrap();
    let soft = &placement.chosen.parts[0];
    assert_eq!((&*soft.name, soft.points), ("soft", 7));
    assert_eq!(soft.reason, "1 of 2 wishes met, weighing 7 of 8");
}

#[test]
fn the_reason_of_a_placement_reads_well() {
    let mut scheduler = scheduler([node("a", &[("zone", "eu")]), node("b", &[])]);
    let placement = scheduler.place(&request(), NOW, 0).unwrap();
    assert_eq!(
        placement.reason(),
        "spread: 0 containers; 2 of 2 nodes feasible"
    );
    let mut load = workload("w", "a");
    load.resources = Resources::new(MilliCpu(500), Bytes::from_mib(512));
    observe(&mut scheduler, [Change::Workload(load)]);
    let wishful = sized(1000, Bytes::from_gib(1))
        .with_constraint(expression("zone==~eu"))
        .with_constraint(expression("disk==~ssd"));
    let explanation = scheduler.explain(&wishful, NOW, 0).unwrap();
    assert_eq!(
        explanation.summary,
        "a: spread: 1 of 2 wishes met, 1.5 of 4 CPUs, 1.5 GiB of 4 GiB of memory, 1 container; \
         2 of 2 nodes feasible; wishes not met: disk==~ssd"
    );
    let random = filled(ClusterScheduler::new(Strategy::Random), [node("a", &[])]);
    let placement = random.place(&request(), NOW, 7).unwrap();
    assert_eq!(
        placement.reason(),
        "random: order of seed 7; 1 of 1 nodes feasible"
    );
}
