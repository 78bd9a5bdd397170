//! How fast the scheduler places: `cargo bench --bench sched`, or `cargo xtask bench sched`.
//!
//! Clusters have nodes of sixteen sizes, each with 20 labels and 10 containers of 100 services.
//! Rates are placements per second of processor time of this process, on one thread; each placement
//! is held before the next is made. The peer of each case is the naive scheduler of
//! `crates/sched/tests`, which looks at each node for each placement, on the same cluster in the
//! same run.
//!
//! * `spread-1k`, `spread-10k`, `spread-100k`, `binpack-1k`, `binpack-10k`, `binpack-100k`: replicas
//!   in batches of 100, 100 services of different shapes in turn.
//! * `mixed-10k`: single placements, 100 shapes in random order.
//! * `constrained-10k`: two label constraints, a port and an anti-affinity to the own service.
//! * `regex-10k`: single placements with one label constraint as a regular expression; the progress
//!   tells the rate with a plain label.
//! * `bulk-1m-on-100k`: 1,000,000 tasks onto 100,000 nodes; the peer's time is extrapolated from
//!   the few placements that it can make.
//! * `observe-100k`: one change (a workload comes or leaves, a node's health or label changes).
//! * `explain-100k`: a refusal explained over all nodes.
//! * `first-use-100k`: a placement under an expression that was never seen.
//! * `topology-100k`: single placements of services that are spread over zones.
//! * `memory-per-node-100k`: resident memory for the index, per node, in a process of its own.
//!
//! With all cases the curve over the number of nodes is drawn into `docs/sched.svg`.

#![expect(unreachable_pub, reason = "a program has no outside")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to people"
)]

#[path = "sched/cases.rs"]
mod cases;
#[path = "sched/cluster.rs"]
mod cluster;
#[path = "sched/first.rs"]
mod first;
#[path = "sched/plot.rs"]
mod plot;
#[path = "sched/process.rs"]
mod process;
#[expect(
    dead_code,
    clippy::unwrap_used,
    reason = "the tests' own: they ask it more, and are blunt"
)]
#[path = "../crates/sched/tests/scheduler/reference.rs"]
mod reference;
#[path = "common/report.rs"]
mod report;
#[expect(clippy::unwrap_used, reason = "the tests' own, and blunt")]
#[path = "../crates/sched/tests/scheduler/rules.rs"]
mod rules;

use report::{Arguments, Report};

const CASES: [&str; 15] = [
    "spread-1k",
    "spread-10k",
    "spread-100k",
    "binpack-1k",
    "binpack-10k",
    "binpack-100k",
    "mixed-10k",
    "constrained-10k",
    "regex-10k",
    "bulk-1m-on-100k",
    "observe-100k",
    "explain-100k",
    "first-use-100k",
    "topology-100k",
    "memory-per-node-100k",
];

fn main() {
    let mut words = std::env::args().skip(1);
    if words.next().as_deref() == Some(cases::MEASURE_MEMORY) {
        cases::measure_memory(&words.next().unwrap_or_default());
        return;
    }
    let arguments = Arguments::read("sched", &CASES);
    let report = Report::new("sched", &arguments);
    cases::run(&arguments, &report);
    if CASES.iter().all(|case| arguments.wants(case)) {
        plot::draw(&arguments, &report);
    }
}
