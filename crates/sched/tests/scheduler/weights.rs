//! Swarm's formulas (spec/swarm.md 2.5) as tables, and where longshore differs (S13, S14).

use longshore_core::*;
use longshore_sched::{ClusterScheduler, Strategy};

use crate::support::*;

const GIB: u64 = 1 << 30;

/// One node with this capacity, load and health; the points of CPU, memory and health.
#[track_caller]
fn check_points(
    strategy: Strategy,
    capacity: (u64, u64),
    used: (u64, u64),
    asked: (u64, u64),
    indicator: u8,
    points: [i64; 3],
) {
    let mut state = node("a", &[]);
    state.capacity = Resources::new(MilliCpu(capacity.0), Bytes(capacity.1));
    state.health_indicator = indicator;
    let mut scheduler = filled(ClusterScheduler::new(strategy), [state]);
    let mut load = workload("w", "a");
    load.resources = Resources::new(MilliCpu(used.0), Bytes(used.1));
    observe(&mut scheduler, [Change::Workload(load)]);
    let placement = scheduler
        .place(&sized(asked.0, Bytes(asked.1)), NOW, 0)
        .unwrap();
    let found: Vec<(&str, i64)> = placement
        .chosen
        .parts
        .iter()
        .map(|part| (part.name.as_str(), part.points))
        .collect();
    let expected = [
        ("cpu", points[0]),
        ("memory", points[1]),
        ("health", points[2]),
    ];
    assert_eq!(found[..3], expected);
    assert_eq!(found[3], ("containers", 1));
}

#[test]
fn weights_follow_swarms_formula() {
    use Strategy::{BinPack, Spread};
    // (used + requested) * 100 / total, rounded down.
    check_points(
        Spread,
        (4000, 4 * GIB),
        (0, 0),
        (1000, GIB),
        100,
        [25, 25, -1000],
    );
    check_points(
        Spread,
        (4000, 4 * GIB),
        (1000, GIB),
        (2000, GIB),
        100,
        [75, 50, -1000],
    );
    check_points(
        Spread,
        (3000, 3 * GIB),
        (0, 0),
        (1000, GIB),
        100,
        [33, 33, -1000],
    );
    check_points(
        Spread,
        (3000, 3 * GIB),
        (1000, GIB),
        (1000, GIB),
        100,
        [66, 66, -1000],
    );
    check_points(Spread, (1000, 1000), (0, 0), (999, 1), 100, [99, 0, -1000]);
    check_points(
        Spread,
        (4000, 4 * GIB),
        (3000, 0),
        (1000, 4 * GIB),
        100,
        [100, 100, -1000],
    );
    // 100 for what is not requested, however full the node is.
    check_points(
        Spread,
        (4000, 4 * GIB),
        (0, 0),
        (0, 0),
        100,
        [100, 100, -1000],
    );
    check_points(
        Spread,
        (4000, 4 * GIB),
        (9000, 0),
        (0, GIB),
        100,
        [100, 25, -1000],
    );
    // Health: ten times the indicator (100, 67, 34 with three allowed failures).
    check_points(
        Spread,
        (4000, 4 * GIB),
        (0, 0),
        (1000, GIB),
        67,
        [25, 25, -670],
    );
    check_points(
        BinPack,
        (4000, 4 * GIB),
        (0, 0),
        (1000, GIB),
        100,
        [25, 25, 1000],
    );
    check_points(
        BinPack,
        (4000, 4 * GIB),
        (2000, GIB),
        (1000, GIB),
        34,
        [75, 50, 340],
    );
    // Beyond 64 bits in between.
    check_points(
        Spread,
        (u64::MAX, u64::MAX),
        (u64::MAX / 2, 0),
        (1, u64::MAX),
        100,
        [50, 100, -1000],
    );
}

/// Nodes as (name, used milli-CPU, containers, health indicator); the order in which they rank.
#[track_caller]
fn check_order(strategy: Strategy, nodes: &[(&str, u64, usize, u8)], cpu: u64, order: &[&str]) {
    let mut scheduler = ClusterScheduler::new(strategy);
    for (name, used, containers, indicator) in nodes {
        let mut state = node(name, &[]);
        state.health_indicator = *indicator;
        observe(&mut scheduler, [Change::Node(state)]);
        for number in 0..*containers {
            let mut load = workload(&format!("{name}-{number}"), name);
            load.resources.cpu = MilliCpu(if number == 0 { *used } else { 0 });
            observe(&mut scheduler, [Change::Workload(load)]);
        }
    }
    let explanation = scheduler.explain(&sized(cpu, Bytes::ZERO), NOW, 0).unwrap();
    let found: Vec<String> = explanation
        .nodes
        .iter()
        .map(|verdict| verdict.name.to_string())
        .collect();
    assert_eq!(found, order);
}

#[test]
fn spread_ranks_as_swarm() {
    let spread = Strategy::Spread;
    check_order(
        spread,
        &[
            ("a", 2000, 1, 100),
            ("b", 1000, 5, 100),
            ("c", 3000, 1, 100),
        ],
        1000,
        &["b", "a", "c"],
    );
    // Equal weight: fewer containers, then the name (S15).
    check_order(
        spread,
        &[("a", 0, 3, 100), ("c", 0, 1, 100), ("b", 0, 1, 100)],
        0,
        &["b", "c", "a"],
    );
    // With nothing requested the load does not count.
    check_order(
        spread,
        &[("a", 4000, 1, 100), ("b", 0, 2, 100)],
        0,
        &["a", "b"],
    );
    // The health term outweighs CPU and memory.
    check_order(
        spread,
        &[("a", 0, 0, 67), ("b", 3000, 9, 100)],
        1000,
        &["b", "a"],
    );
    // Less than a percent apart is equal.
    check_order(
        spread,
        &[("a", 1001, 2, 100), ("b", 1039, 1, 100)],
        1000,
        &["b", "a"],
    );
}

#[test]
fn binpack_ranks_as_swarm() {
    let binpack = Strategy::BinPack;
    check_order(
        binpack,
        &[
            ("a", 2000, 1, 100),
            ("b", 1000, 5, 100),
            ("c", 3000, 1, 100),
        ],
        1000,
        &["c", "a", "b"],
    );
    check_order(
        binpack,
        &[("a", 0, 1, 100), ("b", 0, 3, 100), ("c", 0, 3, 100)],
        0,
        &["b", "c", "a"],
    );
    check_order(
        binpack,
        &[("a", 3000, 9, 67), ("b", 0, 0, 100)],
        1000,
        &["b", "a"],
    );
}

/// A node of `capacity` units takes `fits` and not one more.
#[track_caller]
fn check_admission(strategy: Strategy, capacity: u64, used: u64, fits: u64) {
    for memory in [false, true] {
        let amounts = |n: u64| match memory {
            true => Resources::new(MilliCpu::ZERO, Bytes(n)),
            false => Resources::new(MilliCpu(n), Bytes::ZERO),
        };
        let mut state = node("a", &[]);
        state.capacity = amounts(capacity);
        let mut scheduler = filled(ClusterScheduler::new(strategy), [state]);
        let mut load = workload("w", "a");
        load.resources = amounts(used);
        observe(&mut scheduler, [Change::Workload(load)]);
        assert!(
            scheduler
                .place(&request().with_resources(amounts(fits)), NOW, 0)
                .is_ok()
        );
        assert!(
            scheduler
                .place(&request().with_resources(amounts(fits + 1)), NOW, 0)
                .is_err()
        );
    }
}

#[test]
fn s14_admission_is_exact_where_swarm_rounded() {
    for strategy in [Strategy::Spread, Strategy::BinPack, Strategy::Random] {
        // Swarm took up to, not including, 101 %: 1009 of 1000.
        check_admission(strategy, 1000, 0, 1000);
        check_admission(strategy, 1000, 999, 1);
        // 100 units with 5 % overcommit take 105 and not 106, as in Swarm.
        check_admission(strategy, 105, 0, 105);
        check_admission(strategy, u64::MAX - 1, 5, u64::MAX - 6);
    }
}

#[test]
fn s13_random_checks_resources() {
    let mut small = node("small", &[]);
    small.capacity = Resources::new(MilliCpu(500), Bytes::from_gib(1));
    let scheduler = filled(
        ClusterScheduler::new(Strategy::Random),
        [small, node("large", &[])],
    );
    for seed in 0..50 {
        assert_eq!(winner(&scheduler, &sized(1000, Bytes::ZERO), seed), "large");
    }
}
