//! The exec suite against a real Docker engine through a tunnel with mutual TLS: all is as it is locally.
#![cfg(all(
    feature = "agent",
    feature = "docker",
    feature = "exec",
    feature = "tunnel",
    unix
))]
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests may be blunt"
)]
#![expect(unreachable_pub, reason = "a test has no outside")]

#[expect(dead_code, reason = "the suite alone does not need all of it")]
#[path = "../crates/exec/tests/live_docker/live.rs"]
mod live;
#[path = "../benches/common/tunnel.rs"]
mod tunnel;

use std::path::Path;

use longshore::core::Shutdown;

use live::Live;

/// The engine under test, behind a tunnel of its own; without one the test says that it was skipped.
async fn tunnelled() -> Option<Live> {
    let socket = live::socket("exec on docker through a tunnel")?;
    // The process is the test's.
    let engine = tunnel::to_engine(Path::new(&socket), Shutdown::new()).await;
    Some(Live::over(engine))
}

mod beside {
    longshore_core::exec_suite!(
        live,
        match super::tunnelled().await {
            Some(live) => live,
            None => return,
        }
    );
}

mod stub {
    longshore_core::exec_suite!(
        live,
        match super::tunnelled().await {
            Some(live) => live.with_stub(),
            None => return,
        }
    );
}
