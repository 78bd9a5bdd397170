//! The cases one by one.

use std::{process::Command, sync::Arc};

use longshore_core::{
    Batch, Bytes, Change, MilliCpu, NodeHealth, PlacementRequest, Resources, Scheduler, Timestamp,
};
use longshore_sched::{ClusterScheduler, Strategy};

use crate::{
    cluster::{Dice, SERVICES, constrained, container, filled, in_zone, naive, node, request},
    first,
    process::{resident, timed},
    reference::Reference,
    report::{Arguments, Measurement, Report, median},
};

pub const NOW: Timestamp = Timestamp::from_secs(1);
const EXPIRY: Timestamp = Timestamp::from_secs(1_000_000);
pub const PEER: &str = "naive reference";

/// A case, its bar, and its requests.
type Single = (&'static str, &'static str, fn(u64) -> Arc<PlacementRequest>);

pub fn run(arguments: &Arguments, report: &Report) {
    let batched = [
        (
            "spread-1k",
            1_000,
            Strategy::Spread,
            "at most twice spread-100k",
        ),
        ("spread-10k", 10_000, Strategy::Spread, "1,000,000/s"),
        (
            "spread-100k",
            100_000,
            Strategy::Spread,
            "half of spread-1k",
        ),
        (
            "binpack-1k",
            1_000,
            Strategy::BinPack,
            "at most twice binpack-100k",
        ),
        ("binpack-10k", 10_000, Strategy::BinPack, "1,000,000/s"),
        (
            "binpack-100k",
            100_000,
            Strategy::BinPack,
            "half of binpack-1k",
        ),
    ];
    for (case, nodes, strategy, bar) in batched {
        if arguments.wants(case) {
            batches(case, bar, nodes, strategy, arguments, report);
        }
    }
    let singles: [Single; 3] = [
        ("mixed-10k", "300,000/s", request),
        ("constrained-10k", "200,000/s", constrained),
        ("regex-10k", "as a label", |service| in_zone(service, true)),
    ];
    for (case, bar, make) in singles {
        if arguments.wants(case) {
            single(case, bar, make, arguments, report);
        }
    }
    if arguments.wants("bulk-1m-on-100k") {
        bulk(report);
    }
    if arguments.wants("observe-100k") {
        observe(arguments, report);
    }
    if arguments.wants("explain-100k") {
        explain(arguments, report);
    }
    if arguments.wants("first-use-100k") {
        first::first_use(arguments, report);
    }
    if arguments.wants("topology-100k") {
        first::topology(arguments, report);
    }
    if arguments.wants("memory-per-node-100k") {
        memory(report);
    }
}

/// Placements per second in batches of 100, 100 services in turn.
pub fn batch_rate(scheduler: &mut ClusterScheduler, placements: u64, round: u64) -> f64 {
    let requests: Vec<_> = (0..SERVICES).map(request).collect();
    let batches = placements / 100;
    let (placed, seconds) = timed(|| {
        let mut placed = 0;
        for number in 0..batches {
            let request = requests[(number % SERVICES) as usize].clone();
            let id = format!("batch-{round}-{number}").parse().expect("an id");
            let batch = Batch::new(id, request, 100, EXPIRY);
            placed += scheduler
                .place_batch(&batch, NOW, number)
                .expect("a batch")
                .nodes
                .len();
        }
        placed
    });
    assert_eq!(
        placed as u64,
        batches * 100,
        "the cluster is full: the rate means nothing"
    );
    placed as f64 / seconds
}

/// How many placements make a round: as many as leave a cluster far from full.
pub fn placements(nodes: u64) -> u64 {
    (nodes * 10).min(200_000)
}

fn batches(
    case: &'static str,
    bar: &'static str,
    nodes: u64,
    strategy: Strategy,
    arguments: &Arguments,
    report: &Report,
) {
    report.progress(&format!("{case}: a cluster of {nodes} nodes"));
    let mut peer = naive(nodes, strategy);
    let mut rates = Vec::new();
    let mut peers = Vec::new();
    for round in 0..arguments.rounds(5) as u64 {
        let mut scheduler = filled(nodes, strategy);
        // The first of each kind makes what later ones use.
        batch_rate(&mut scheduler, 10_000.min(nodes), 1_000 + round);
        rates.push(batch_rate(&mut scheduler, placements(nodes), round));
        peers.push(naive_rate(&mut peer, request, nodes, round));
        report.progress(&format!(
            "{case}: round {round}: {:.0}/s",
            rates[round as usize]
        ));
    }
    report.add(&Measurement {
        case,
        ours: median(&mut rates),
        peer: median(&mut peers),
        peer_name: PEER,
        unit: "1/s",
        bar,
    });
}

/// Placements per second, one at a time.
pub fn naive_rate(
    peer: &mut Reference,
    make: impl Fn(u64) -> Arc<PlacementRequest>,
    nodes: u64,
    round: u64,
) -> f64 {
    let count = (20_000 / nodes).clamp(2, 20);
    let (_, seconds) = timed(|| {
        for number in 0..count {
            let id = format!("single-{round}-{number}").parse().expect("an id");
            let batch = Batch::new(id, make(number % SERVICES), 1, EXPIRY);
            peer.place_batch(&batch, NOW, number).expect("a placement");
        }
    });
    count as f64 / seconds
}

pub fn single_rate(
    scheduler: &mut ClusterScheduler,
    make: impl Fn(u64) -> Arc<PlacementRequest>,
    count: u64,
    round: u64,
) -> f64 {
    let requests: Vec<_> = (0..SERVICES).map(make).collect();
    let mut dice = Dice::new(round);
    let order: Vec<usize> = (0..count).map(|_| dice.roll(SERVICES) as usize).collect();
    let (placed, seconds) = timed(|| {
        let mut placed = 0;
        for (number, service) in order.iter().enumerate() {
            let id = format!("s{round}-{number}").parse().expect("an id");
            let batch = Batch::new(id, requests[*service].clone(), 1, EXPIRY);
            let found = scheduler.place_batch(&batch, NOW, number as u64);
            placed += found.expect("a placement").nodes.len();
        }
        placed
    });
    assert_eq!(
        placed as u64, count,
        "the cluster is full: the rate means nothing"
    );
    count as f64 / seconds
}

fn single(
    case: &'static str,
    bar: &'static str,
    make: fn(u64) -> Arc<PlacementRequest>,
    arguments: &Arguments,
    report: &Report,
) {
    report.progress(&format!("{case}: a cluster of 10000 nodes"));
    let mut peer = naive(10_000, Strategy::Spread);
    // Of a service with an anti-affinity to itself, no more than nodes that it may use.
    let count = if case == "constrained-10k" {
        15_000
    } else {
        50_000
    };
    let (mut rates, mut peers, mut labels) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..arguments.rounds(5) as u64 {
        let rate = |make: &dyn Fn(u64) -> Arc<PlacementRequest>| {
            let mut scheduler = filled(10_000, Strategy::Spread);
            single_rate(&mut scheduler, make, 1_000, 1_000 + round);
            single_rate(&mut scheduler, make, count, round)
        };
        let label = |service| in_zone(service, false);
        // In turns, each first as often as the other.
        if case == "regex-10k" && round % 2 == 1 {
            labels.push(rate(&label));
        }
        rates.push(rate(&make));
        if case == "regex-10k" && round % 2 == 0 {
            labels.push(rate(&label));
        }
        peers.push(naive_rate(&mut peer, make, 10_000, round));
        report.progress(&format!(
            "{case}: round {round}: {:.0}/s",
            rates[round as usize]
        ));
    }
    if !labels.is_empty() {
        report.progress(&format!(
            "{case}: a label instead: {:.0}/s",
            median(&mut labels)
        ));
    }
    report.add(&Measurement {
        case,
        ours: median(&mut rates),
        peer: median(&mut peers),
        peer_name: PEER,
        unit: "1/s",
        bar,
    });
}

fn bulk(report: &Report) {
    report.progress("bulk-1m-on-100k: a cluster of 100000 nodes");
    let mut scheduler = filled(100_000, Strategy::Spread);
    let rate = batch_rate(&mut scheduler, 1_000_000, 0);
    drop(scheduler);
    let mut peer = naive(100_000, Strategy::Spread);
    let naive = naive_rate(&mut peer, request, 100_000, 0);
    report.add(&Measurement {
        case: "bulk-1m-on-100k",
        ours: 1_000_000.0 / rate,
        peer: 1_000_000.0 / naive,
        peer_name: "naive reference, extrapolated",
        unit: "s",
        bar: "at most 10 s",
    });
}

/// Changes of all kinds: a workload comes, leaves, a node fails and recovers, a label changes.
pub fn changes(count: u64) -> Vec<Change> {
    let mut dice = Dice::new(99);
    let mut changes = Vec::new();
    while (changes.len() as u64) < count {
        let number = dice.roll(100_000);
        let mut state = node(number);
        let mut extra = container(&state, number, 3);
        extra.id = format!("extra-{number}").parse().expect("an id");
        extra.name.clear();
        let (id, on) = (extra.id.clone(), extra.node.clone());
        changes.push(Change::Workload(extra));
        changes.push(Change::WorkloadGone(on, id));
        state.health = NodeHealth::Unhealthy;
        changes.push(Change::Node(state.clone()));
        state.health = NodeHealth::Healthy;
        state.labels.insert("zone", "zone-9");
        changes.push(Change::Node(state));
        changes.push(Change::Node(node(number)));
    }
    changes
}

fn observe(arguments: &Arguments, report: &Report) {
    report.progress("observe-100k: a cluster of 100000 nodes");
    let mut scheduler = filled(100_000, Strategy::Spread);
    // What placing keeps must be kept up too.
    for service in 0..SERVICES {
        for request in [
            request(service),
            constrained(service),
            in_zone(service, true),
        ] {
            let _ = scheduler.place(&request, NOW, 0);
        }
    }
    let mut ours = Vec::new();
    for _ in 0..arguments.rounds(5) {
        let all = changes(50_000);
        let count = all.len() as f64;
        let ((), seconds) = timed(|| {
            for change in all {
                scheduler.observe(change).expect("a change");
            }
        });
        ours.push(seconds / count * 1e6);
    }
    drop(scheduler);
    let mut peer = naive(100_000, Strategy::Spread);
    let few = changes(5);
    let count = few.len() as f64;
    let ((), seconds) = timed(|| {
        for change in few {
            peer.observe(change).expect("a change");
        }
    });
    report.add(&Measurement {
        case: "observe-100k",
        ours: median(&mut ours),
        peer: seconds / count * 1e6,
        peer_name: PEER,
        unit: "us",
        bar: "at most 5 us",
    });
}

fn explain(arguments: &Arguments, report: &Report) {
    report.progress("explain-100k: a cluster of 100000 nodes");
    let scheduler = filled(100_000, Strategy::Spread);
    let mut request = PlacementRequest::clone(&constrained(3));
    request.resources = Resources::new(MilliCpu::from_cpus(90), Bytes::from_gib(380));
    let mut ours = Vec::new();
    for _ in 0..arguments.rounds(5) {
        let (explained, seconds) = timed(|| scheduler.explain(&request, NOW, 0));
        let explained = explained.expect("an explanation");
        assert!(explained.placement.is_none() && explained.nodes.len() == 100_000);
        ours.push(seconds * 1e3);
    }
    drop(scheduler);
    let peer = naive(100_000, Strategy::Spread);
    let (_, seconds) = timed(|| peer.explain(&request, NOW, 0).expect("an explanation"));
    report.add(&Measurement {
        case: "explain-100k",
        ours: median(&mut ours),
        peer: seconds * 1e3,
        peer_name: PEER,
        unit: "ms",
        bar: "at most 50 ms",
    });
}

/// In processes of their own, whose memory nothing has used before.
fn memory(report: &Report) {
    report.progress("memory-per-node-100k: two processes");
    let measure = |whose: &str| {
        let program = std::env::current_exe().expect("this program");
        let output = Command::new(program).args([MEASURE_MEMORY, whose]).output();
        let text = String::from_utf8(output.expect("a figure").stdout).expect("a figure");
        text.trim().parse::<f64>().expect("a figure")
    };
    report.add(&Measurement {
        case: "memory-per-node-100k",
        ours: measure("ours"),
        peer: measure("naive"),
        peer_name: PEER,
        unit: "bytes",
        bar: "at most 4096",
    });
}

/// What the program is told to measure its own memory.
pub const MEASURE_MEMORY: &str = "--measure-memory";

/// Resident bytes per node, after placements of every kind.
pub fn measure_memory(whose: &str) {
    let before = resident();
    let held: Box<dyn Scheduler> = match whose {
        "ours" => {
            let mut scheduler = filled(100_000, Strategy::Spread);
            for service in 0..SERVICES {
                for request in [
                    request(service),
                    constrained(service),
                    in_zone(service, true),
                ] {
                    let _ = scheduler.place(&request, NOW, 0);
                }
            }
            batch_rate(&mut scheduler, 1_000, 0);
            Box::new(scheduler)
        }
        _ => Box::new(naive(100_000, Strategy::Spread)),
    };
    println!("{}", (resident() - before) / 100_000.0);
    drop(held);
}
