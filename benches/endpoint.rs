//! What the endpoint costs: `cargo bench --bench endpoint`, or `cargo xtask bench endpoint`.
//!
//! * `inspect`: `GET /containers/{id}/json` through the endpoint over a unix socket, p50, beside
//!   the engine asked directly over its own unix socket.
//! * `list-1000`: `GET /containers/json` over 1,000 containers on 100 simulated engines, requests
//!   per second with the plane on one thread, beside a bare hyper server that sends the same bytes.
//! * `exec-echo`: one byte typed into `cat` and read back, p50, beside the engine directly.
//!
//! `inspect` and `exec-echo` need a Docker engine: the bench starts one in a network namespace
//! when it is root, and says so when it can't.

#![expect(unreachable_pub, reason = "a program has no outside")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to people"
)]

#[path = "endpoint/client.rs"]
mod client;
#[path = "endpoint/echo.rs"]
mod echo;
#[path = "endpoint/inspect.rs"]
mod inspect;
#[path = "endpoint/list.rs"]
mod list;
#[path = "endpoint/plane.rs"]
mod plane;
#[path = "common/report.rs"]
mod report;

use longshore_lab::Lab;
use report::{Arguments, Report};

const CASES: [&str; 3] = ["inspect", "list-1000", "exec-echo"];

fn main() {
    let arguments = Arguments::read("endpoint", &CASES);
    let report = Report::new("endpoint", &arguments);
    if arguments.wants("inspect") || arguments.wants("exec-echo") {
        report.progress("starting a Docker engine");
        if let Some(lab) = Lab::builder()
            .hosts(1)
            .start_or_skip("bench inspect and exec-echo")
        {
            lab.import_busybox("busybox:lab")
                .expect("busybox is imported");
            let served = plane::over_docker(&lab);
            if arguments.wants("inspect") {
                inspect::run(&served, &arguments, &report);
            }
            if arguments.wants("exec-echo") {
                echo::run(&served, &arguments, &report);
            }
            served.stop();
        }
    }
    if arguments.wants("list-1000") {
        list::run(&arguments, &report);
    }
}
