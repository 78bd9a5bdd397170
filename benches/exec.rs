//! What a gateway costs: `cargo bench --bench exec`, or `cargo xtask bench exec`.
//!
//! Everything is measured beside the Docker API asked directly over the engine's own unix socket, and
//! beside `docker exec`, and beside ttyd in front of `docker exec` where `LONGSHORE_BENCH_TTYD` names
//! that program, in turns; the gateway has one thread, and a unix socket of its own.
//!
//! * `echo-ws`: one byte typed into `cat` on a terminal and read back, p50, over WebSocket.
//! * `echo-tunnel`: the same where the engine is reached through a tunnel with mutual TLS.
//! * `stdout-tty`, `stdout-raw`: text through a session, with and without a terminal.
//! * `recording-raw`, `recording-tty`: the same text with a record of the session on disk, beside our
//!   own gateway without one.
//! * `interrupt-under-flood`: from ^C under `yes` to the next prompt, at 100 kB/s, in a session that
//!   drops unsent output then (`with_interrupt_flush`).
//! * `interrupt-lossless`, `interrupt-stub`: the same in a session as it is by default, which drops
//!   nothing: what has left the process comes first.
//! * `open`: from asking for a session to its first byte, p50.
//! * `echo-stub`, `stdout-tty-stub`, `stdout-raw-stub`, `open-stub`: the same where the stub owns the
//!   sessions, as `platform manage` has it; still beside the Docker API, which has no stub.
//! * `open-warm`: the same where a stub waits for the session, as with `platform manage
//!   --exec-waiting 1`. The peers are started by the engine, as all others.
//! * `idle-memory`: what 2,000 idle sessions hold, client and gateway together, a session.
//! * `idle-10k`: what share of a core 10,000 idle sessions take, clients included.
//!
//! All but the last two need a Docker engine: the bench starts one in a network namespace when it is
//! root, and says so when it can't.

#![expect(unreachable_pub, reason = "a program has no outside")]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program talks to people"
)]

#[path = "exec/command.rs"]
mod command;
#[path = "exec/direct.rs"]
mod direct;
#[path = "exec/echo.rs"]
mod echo;
#[path = "exec/flood.rs"]
mod flood;
#[path = "exec/gateway.rs"]
mod gateway;
#[path = "exec/idle.rs"]
mod idle;
#[path = "exec/line.rs"]
mod line;
#[path = "exec/opening.rs"]
mod opening;
#[path = "exec/peers.rs"]
mod peers;
#[path = "exec/recording.rs"]
mod recording;
#[path = "common/report.rs"]
mod report;
#[path = "exec/stdout.rs"]
mod stdout;
#[path = "exec/ttyd.rs"]
mod ttyd;
#[path = "common/tunnel.rs"]
mod tunnel;
#[path = "exec/tunnelled.rs"]
mod tunnelled;
#[path = "exec/wire.rs"]
mod wire;

use longshore::exec::{
    gateway::GatewayOptions,
    session::{SessionOptions, WhileDetached},
};
use longshore_lab::Lab;
use report::{Arguments, Report};

const CASES: [&str; 17] = [
    "echo-ws",
    "echo-tunnel",
    "stdout-tty",
    "stdout-raw",
    "interrupt-under-flood",
    "interrupt-lossless",
    "open",
    "echo-stub",
    "stdout-tty-stub",
    "stdout-raw-stub",
    "open-stub",
    "interrupt-stub",
    "open-warm",
    "recording-raw",
    "recording-tty",
    "idle-memory",
    "idle-10k",
];

fn main() {
    let arguments = Arguments::read("exec", &CASES);
    let report = Report::new("exec", &arguments);
    // First, while the process is small.
    if arguments.wants("idle-memory") {
        idle::memory(&report);
    }
    if arguments.wants("idle-10k") {
        idle::load(&arguments, &report);
    }
    if !CASES[..15].iter().any(|case| arguments.wants(case)) {
        return;
    }
    report.progress("starting a Docker engine");
    let Some(lab) = Lab::builder().hosts(1).start_or_skip("bench exec") else {
        return;
    };
    lab.import_busybox("busybox:lab")
        .expect("busybox is imported");
    with_engine(lab.host(0).socket(), &arguments, &report);
}

fn with_engine(engine: &std::path::Path, arguments: &Arguments, report: &Report) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let direct = direct::Direct::new(engine);
    let container = runtime.block_on(direct.container());
    let near = gateway::over_unix(engine, GatewayOptions::default());
    let scene = line::Scene {
        direct,
        client: command::Client::new(engine),
        container,
        gateway: near.socket.clone(),
    };
    if arguments.wants("echo-ws") {
        runtime.block_on(echo::run("echo-ws", &scene, arguments, report));
    }
    if arguments.wants("echo-tunnel") {
        let far = tunnelled::over_tunnel(engine);
        let scene = line::Scene {
            gateway: far.socket.clone(),
            ..scene.clone()
        };
        runtime.block_on(echo::run("echo-tunnel", &scene, arguments, report));
        far.stop();
    }
    for (case, tty) in [("stdout-tty", true), ("stdout-raw", false)] {
        if arguments.wants(case) {
            runtime.block_on(stdout::run(case, tty, &scene, arguments, report));
        }
    }
    if arguments.wants("interrupt-under-flood") {
        // As for a person at a terminal, who would rather see the prompt than all of the flood.
        let live = SessionOptions::default()
            .with_detached(WhileDetached::Live)
            .with_interrupt_flush();
        let live = gateway::over_unix(engine, GatewayOptions::default().with_session(live));
        let scene = line::Scene {
            gateway: live.socket.clone(),
            ..scene.clone()
        };
        let (case, bar) = ("interrupt-under-flood", "ours at most 1 s");
        runtime.block_on(flood::run(case, bar, &scene, arguments, report));
        live.stop();
    }
    if arguments.wants("interrupt-lossless") {
        runtime.block_on(flood::run(
            "interrupt-lossless",
            "none",
            &scene,
            arguments,
            report,
        ));
    }
    if arguments.wants("open") {
        runtime.block_on(opening::run("open", &scene, arguments, report));
    }
    if CASES[12..14].iter().any(|case| arguments.wants(case)) {
        recording::run(&runtime, &scene, engine, arguments, report);
    }
    near.stop();
    if CASES[7..12].iter().any(|case| arguments.wants(case)) {
        let owned = gateway::with_stub(engine);
        let scene = line::Scene {
            gateway: owned.socket.clone(),
            ..scene.clone()
        };
        if arguments.wants("echo-stub") {
            runtime.block_on(echo::run("echo-stub", &scene, arguments, report));
        }
        for (case, tty) in [("stdout-tty-stub", true), ("stdout-raw-stub", false)] {
            if arguments.wants(case) {
                runtime.block_on(stdout::run(case, tty, &scene, arguments, report));
            }
        }
        if arguments.wants("open-stub") {
            runtime.block_on(opening::run("open-stub", &scene, arguments, report));
        }
        if arguments.wants("interrupt-stub") {
            runtime.block_on(flood::run(
                "interrupt-stub",
                "none",
                &scene,
                arguments,
                report,
            ));
        }
        owned.stop();
    }
    if arguments.wants("open-warm") {
        let (served, waiting) = gateway::with_waiting_stubs(engine);
        let scene = line::Scene {
            gateway: served.socket.clone(),
            ..scene
        };
        runtime.block_on(opening::warm(&scene, &waiting, arguments, report));
        served.stop();
    }
}
