//! What discovery costs: `cargo bench --bench discovery --all-features`, or
//! `cargo xtask bench discovery`.
//!
//! * `etcd-register-10k`: 10,000 nodes registered on etcd, 64 at a time, beside a bare client: the
//!   same requests written to sockets by hand.
//! * `etcd-watch-latency`: from a put to the watcher's callback, p50, beside a bare client's watch.
//! * `lease-requests`: what etcd counts while each of 10,000 leases is renewed once, beside one
//!   request per node.
//! * `memory-per-node`: resident memory of a watch that knows 10,000 nodes, per node.
//! * `file-10k`: processor time to read a file of 10,000 lines again and find what changed.
//!
//! The first four start an etcd of their own, and say so when there is none.

#![expect(unreachable_pub, reason = "a program has no outside")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to people"
)]

#[path = "discovery/bare.rs"]
mod bare;
#[path = "discovery/file.rs"]
mod file;
#[path = "discovery/leases.rs"]
mod leases;
#[path = "discovery/memory.rs"]
mod memory;
#[path = "discovery/nodes.rs"]
mod nodes;
#[path = "discovery/register.rs"]
mod register;
#[path = "common/report.rs"]
mod report;
#[path = "discovery/watch.rs"]
mod watch;

use longshore_lab::{Store, StoreKind, StoreSpec};
use report::{Arguments, Report};

const CASES: [&str; 5] = [
    "etcd-register-10k",
    "etcd-watch-latency",
    "lease-requests",
    "memory-per-node",
    "file-10k",
];

fn main() {
    let arguments = Arguments::read("discovery", &CASES);
    let report = Report::new("discovery", &arguments);
    if CASES[..4].iter().any(|case| arguments.wants(case)) {
        report.progress("starting etcd");
        let (kind, spec) = (StoreKind::Etcd, StoreSpec::default());
        if let Some(mut store) = Store::start_or_skip(kind, 1, &spec, "bench discovery on etcd") {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .expect("a runtime");
            if arguments.wants("etcd-register-10k") {
                register::run(&runtime, &mut store, &arguments, &report);
            }
            if arguments.wants("etcd-watch-latency") {
                runtime.block_on(watch::run(&store, &arguments, &report));
            }
            if arguments.wants("lease-requests") {
                runtime.block_on(leases::run(&store, &report));
            }
            if arguments.wants("memory-per-node") {
                runtime.block_on(memory::run(&store, &arguments, &report));
            }
        }
    }
    if arguments.wants("file-10k") {
        file::run(&arguments, &report);
    }
}
