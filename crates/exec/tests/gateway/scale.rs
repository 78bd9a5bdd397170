//! Many sessions that do nothing cost little.

use std::sync::Arc;

use longshore_core::{ExecRequest, Identity, OsRandom, Shutdown, SystemClock, TerminalSize};
use longshore_exec::session::{HubLimits, Launch, OpenRequest, SessionHub};

use crate::{programs, server::id};

/// What the process has resident, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

/// Goal 13, without the WebSocket: 10,000 idle sessions, each within 64 KiB, its scripted process
/// included. Pages of 4 KiB are assumed; larger ones only make the figure smaller.
#[tokio::test]
async fn ten_thousand_idle_sessions_fit() {
    let backend = Arc::new(programs::scripted().with_workload(id("web")));
    let hub = SessionHub::new(
        Arc::new(SystemClock::new()),
        Arc::new(OsRandom),
        Shutdown::new(),
    )
    .with_limits(HubLimits::default().with_sessions(10_000, 10_000));
    let before = resident();
    let mut sessions = Vec::new();
    for _ in 0..10_000 {
        let exec = ExecRequest::new(id("web"), ["forever"]).with_tty(TerminalSize::default());
        let who = Identity::new("ann", "test");
        let request = OpenRequest::new(backend.clone(), Launch::Exec(exec), who);
        sessions.push(hub.open(request).unwrap());
    }
    for session in &sessions {
        // It runs, and has said so.
        session.next().await.unwrap();
    }
    let each = resident().saturating_sub(before) / sessions.len();
    assert!(each <= 64 << 10, "{each} bytes each");
    println!("{each} bytes for each idle session");
    assert!(
        hub.open(OpenRequest::new(
            backend,
            Launch::Exec(ExecRequest::new(id("web"), ["forever"])),
            Identity::new("bob", "test")
        ))
        .is_err()
    );
}
