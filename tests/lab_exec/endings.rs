//! How a session's end is told when more than its command ends.

use std::time::Duration;

use longshore::{
    ExecBackend, ExecSession,
    core::{ClockExt, ExecRequest, ExitStatus, SystemClock},
};

use crate::{
    drops::runtime,
    world::{World, gateway, stub},
};

/// Nothing of it is a success, and each says in a word what happened.
#[test]
fn an_end_that_nobody_saw_is_told_as_unknown() {
    let Some(world) = World::start("lab exec: endings") else {
        return;
    };
    let runtime = runtime();
    let direct = gateway(world.socket());
    for gateway in [direct.clone(), direct.with_stub(stub())] {
        // The container is stopped, or removed, under the command.
        for (how, words) in [
            ("restart", &["container-gone:", "lost:"][..]),
            ("rm", &["container-gone:", "lost:"]),
        ] {
            let run = [
                "run",
                "--detach",
                "--network",
                "none",
                "bash:lab",
                "sleep",
                "100000",
            ];
            let id = world.host().docker_ok(run).expect("a container");
            let container = longshore::core::WorkloadId::new(id.clone()).expect("an id");
            let session = runtime.block_on(async {
                let request = ExecRequest::new(container, ["sleep", "100000"]);
                gateway.exec(&request).await.expect("a session")
            });
            match how {
                "restart" => world.lab.restart_dockerd(0).expect("it comes back"),
                _ => drop(
                    world
                        .host()
                        .docker_ok(["rm", "--force", &id])
                        .expect("removed"),
                ),
            }
            let status = runtime.block_on(ended(&*session));
            println!("MEASURED the end by {how}: {status:?}");
            assert!(!status.is_success(), "{how}: {status:?}");
            // Killed with the container, it may be known to have been; else there is a word for it.
            let reason = status.reason.clone().unwrap_or_default();
            let worded = words.iter().any(|word| reason.starts_with(word));
            assert!(worded || status.signal.is_some(), "{how}: {status:?}");
            runtime.block_on(async {
                session.close().await.expect("nothing is left to be ended");
            });
        }
    }
    runtime.shutdown_background();
    world.lab.stop().expect("a clean end");
}

async fn ended(session: &dyn ExecSession) -> ExitStatus {
    let limit = Duration::from_secs(90);
    let ended = SystemClock::new()
        .timeout(limit, "the end", session.wait())
        .await;
    ended.expect("it is told").expect("the engine is back")
}
