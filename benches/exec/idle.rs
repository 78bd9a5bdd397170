//! `idle-memory`, `idle-10k`

use std::{
    convert::Infallible,
    future::pending,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore::{
    core::{Shutdown, WorkloadId},
    exec::{ScriptedExec, gateway::Gateway},
};
use tokio::task::JoinSet;

use crate::{
    gateway,
    line::Program,
    report::{Arguments, Measurement, Report},
    wire::WireSession,
};

const IDLE: Program = Program {
    argv: &["idle"],
    tty: true,
};

/// Bytes a session, of client and gateway together.
pub fn memory(report: &Report) {
    const SESSIONS: usize = 2_000;
    runtime().block_on(async {
        let shutdown = Shutdown::new();
        let gateway = idle_gateway(&shutdown);
        // What is made once is not a session's.
        let mut clients = open(&gateway, 50).await;
        let before = resident();
        report.progress(&format!("idle-memory: opening {SESSIONS} sessions"));
        let more = open(&gateway, SESSIONS).await;
        let each = (resident() - before) / SESSIONS as f64;
        report.add(&Measurement {
            case: "idle-memory",
            ours: each,
            peer: 65_536.0,
            peer_name: "the bar",
            unit: "bytes",
            bar: "ratio at most 1",
        });
        drop(more);
        clients.abort_all();
        shutdown.trigger();
    });
}

/// Cores.
pub fn load(arguments: &Arguments, report: &Report) {
    const SESSIONS: usize = 10_000;
    let span = Duration::from_secs(if arguments.quick { 12 } else { 40 });
    runtime().block_on(async {
        let shutdown = Shutdown::new();
        let gateway = idle_gateway(&shutdown);
        report.progress(&format!("idle-10k: opening {SESSIONS} sessions"));
        let clients = open(&gateway, SESSIONS).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        report.progress(&format!("idle-10k: watching for {span:?}"));
        let (start, used) = (Instant::now(), processor());
        tokio::time::sleep(span).await;
        let cores = (processor() - used) / start.elapsed().as_secs_f64();
        report.add(&Measurement {
            case: "idle-10k",
            ours: cores,
            peer: 0.01,
            peer_name: "the bar, of a core",
            unit: "x",
            bar: "ratio at most 1",
        });
        drop(clients);
        shutdown.trigger();
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn idle_gateway(shutdown: &Shutdown) -> Gateway {
    let web = WorkloadId::new("web").expect("an id");
    let exec = ScriptedExec::new()
        .with_workload(web)
        .with_program("idle", |_process| pending());
    let limits = longshore::exec::session::HubLimits::default().with_sessions(20_000, 20_000);
    gateway::limited(Arc::new(exec), shutdown, limits)
}

/// Sessions over streams in memory, whose clients answer the gateway's pings.
async fn open(gateway: &Gateway, count: usize) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..count {
        let (near, far) = tokio::io::duplex(4096);
        let gateway = gateway.clone();
        tokio::spawn(async move {
            let answer = service_fn(move |request| {
                let gateway = gateway.clone();
                async move { Ok::<_, Infallible>(gateway.handle(request).await) }
            });
            let served = http1::Builder::new().serve_connection(TokioIo::new(far), answer);
            let _ = served.with_upgrades().await;
        });
        let session = WireSession::over(near, "web", IDLE).await;
        clients.spawn(session.idle());
    }
    clients
}

/// Bytes of memory that this process has in use.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: f64 = text
        .split(' ')
        .nth(1)
        .and_then(|word| word.parse().ok())
        .expect("a number");
    pages * rustix::param::page_size() as f64
}

/// Seconds of processor time that this process has used.
fn processor() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
