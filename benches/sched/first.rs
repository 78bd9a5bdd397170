//! What is asked for the first time, and what is asked of groups of nodes.

use longshore_core::{PlacementRequest, Scheduler, TopologySpread};
use longshore_sched::Strategy;

use crate::{
    cases::{NOW, PEER},
    cluster::{filled, naive, request},
    process::timed,
    report::{Arguments, Measurement, Report, median},
};

/// Microseconds for a placement under an expression that the scheduler has never seen: constraints
/// as text, glob and regular expression, and affinities.
pub fn first_use(arguments: &Arguments, report: &Report) {
    report.progress("first-use-100k: a cluster of 100000 nodes");
    let scheduler = filled(100_000, Strategy::Spread);
    // Its ladder is made once in its life, whatever the expression.
    let _ = scheduler.place(&request(0), NOW, 0);
    let mut ours = Vec::new();
    for round in 0..arguments.rounds(5) as u64 {
        let fresh: Vec<PlacementRequest> = (0..40).map(|nth| never_seen(round, nth)).collect();
        let (placed, seconds) = timed(|| {
            let placed = fresh.iter().map(|request| scheduler.place(request, NOW, 0));
            placed.filter(Result::is_ok).count()
        });
        assert_eq!(placed, fresh.len(), "a refusal is another question");
        ours.push(seconds / fresh.len() as f64 * 1e6);
    }
    drop(scheduler);
    let peer = naive(100_000, Strategy::Spread);
    let (_, seconds) = timed(|| peer.place(&never_seen(0, 0), NOW, 0).expect("a placement"));
    report.add(&Measurement {
        case: "first-use-100k",
        ours: median(&mut ours),
        peer: seconds * 1e6,
        peer_name: PEER,
        unit: "us",
        bar: "far below a look at each node",
    });
}

fn never_seen(round: u64, nth: u64) -> PlacementRequest {
    let number = round * 40 + nth;
    let request = PlacementRequest::clone(&request(number % 100));
    match nth % 5 {
        0 => request.with_constraint(format!("rack==rack-{number}").parse().expect("a term")),
        1 => request.with_constraint(
            format!("owner==owner-*{}", number % 9)
                .parse()
                .expect("a term"),
        ),
        2 => request.with_constraint(
            format!("team==/^team-([{}]|x{number})/", number % 9)
                .parse()
                .expect("a term"),
        ),
        3 => request.with_affinity(
            format!("service!=/service-{}$|x{number}/", number % 90)
                .parse()
                .expect("a term"),
        ),
        _ => request.with_constraint(format!("zone!=zone-{number}").parse().expect("a term")),
    }
}

/// Placements per second of a service that is spread over zones, each held before the next.
pub fn topology(arguments: &Arguments, report: &Report) {
    report.progress("topology-100k: a cluster of 100000 nodes");
    // It counts the replicas of every domain for every node.
    let mut peer = naive(100, Strategy::Spread);
    let mut rates = Vec::new();
    let spread = |service: u64| {
        let mut request = PlacementRequest::clone(&request(service));
        let label = "zone".to_owned();
        request.topology = vec![TopologySpread { label, max_skew: 1 }];
        std::sync::Arc::new(request)
    };
    for round in 0..arguments.rounds(5) as u64 {
        let mut scheduler = filled(100_000, Strategy::Spread);
        crate::cases::single_rate(&mut scheduler, spread, 1_000, 1_000 + round);
        rates.push(crate::cases::single_rate(
            &mut scheduler,
            spread,
            10_000,
            round,
        ));
    }
    report.add(&Measurement {
        case: "topology-100k",
        ours: median(&mut rates),
        peer: crate::cases::naive_rate(&mut peer, spread, 100, 0),
        peer_name: "naive reference, 100 nodes",
        unit: "1/s",
        bar: "none",
    });
}
