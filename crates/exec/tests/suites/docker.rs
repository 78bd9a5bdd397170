use std::{sync::Arc, time::Duration};

use longshore_core::{
    ClockExt, ErrorKind, ExecBackend, ExecRequest, OsRandom, TerminalSize, WorkloadId,
    testkit::{
        exec::{Attachable, Harness, Place},
        programs::Programs,
    },
};
use longshore_exec::{DockerExec, ScriptedExec};
use serde_json::json;

use crate::{
    daemon::{Daemon, ToDaemon, clock},
    programs::{Names, scripted},
};

struct InMemory {
    programs: ScriptedExec,
    daemon: Arc<Daemon>,
    exec: DockerExec,
}

fn id(text: &str) -> WorkloadId {
    WorkloadId::new(text).unwrap()
}

fn fresh(buffer: usize) -> InMemory {
    let programs = scripted()
        .with_workload(id("web"))
        .with_stopped_workload(id("stopped"));
    let daemon = Daemon::new(programs.clone(), buffer);
    let connector = Arc::new(ToDaemon(Arc::clone(&daemon)));
    let exec = DockerExec::new(connector, clock(), Arc::new(OsRandom));
    InMemory {
        programs,
        daemon,
        exec,
    }
}

impl InMemory {
    fn at(&self, workload: &str) -> Place {
        Place {
            backend: Arc::new(self.exec.clone()),
            workload: id(workload),
            keep: Box::new(()),
        }
    }
}

#[async_trait::async_trait]
impl Harness for InMemory {
    async fn place(&self) -> Place {
        self.at("web")
    }

    async fn stopped(&self) -> Option<Place> {
        Some(self.at("stopped"))
    }

    async fn attachable(&self, kind: Attachable) -> Option<Place> {
        let mut request = ExecRequest::new(id("main"), Names.copy());
        if kind == Attachable::Terminal {
            request.command = Names.copy_raw(260);
            request = request.with_tty(TerminalSize::default());
            self.daemon.add_terminal(id("main"));
        }
        if kind == Attachable::PipesOnce {
            self.daemon.add_once(id("main"));
        }
        self.programs.start_workload(&request).unwrap();
        Some(self.at("main"))
    }

    fn programs(&self) -> &dyn Programs {
        &Names
    }
}

mod roomy {
    use super::fresh;
    longshore_core::exec_suite!(paused, fresh(64 * 1024));
}

/// Frames, heads and bodies cut at every place.
mod narrow {
    use super::fresh;
    longshore_core::exec_suite!(paused, fresh(61));
}

#[tokio::test(start_paused = true)]
async fn the_engine_is_told_the_same_in_both_calls() {
    let place = fresh(4096);
    let mut request = ExecRequest::new(id("web"), Names.copy())
        .with_tty(TerminalSize::new(100, 30))
        .with_env("A=1");
    request.user = "1000".to_owned();
    request.working_dir = "/srv".to_owned();
    place.exec.exec(&request).await.unwrap();
    let requests = place.daemon.requests();
    let (line, create) = &requests[0];
    assert_eq!(line, "POST /containers/web/exec");
    assert_eq!(create["Cmd"], json!(["copy"]));
    assert_eq!(
        (&create["Tty"], &create["AttachStdin"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        (&create["User"], &create["WorkingDir"]),
        (&json!("1000"), &json!("/srv"))
    );
    assert_eq!(create["Env"][0], "A=1");
    assert!(
        create["Env"][1]
            .as_str()
            .unwrap()
            .starts_with("LONGSHORE_EXEC_ID=")
    );
    assert!(
        create["DetachKeys"]
            .as_str()
            .unwrap()
            .matches("ctrl-")
            .count()
            >= 16
    );
    let (line, start) = &requests[1];
    assert!(line.starts_with("POST /exec/") && line.ends_with("/start"));
    let expected = json!({ "Detach": false, "Tty": true, "ConsoleSize": [30, 100] });
    assert_eq!(start, &expected);
    assert!(
        requests[2].0.ends_with("/resize"),
        "only after the start: {requests:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_command_that_can_not_start_says_why() {
    let place = fresh(4096);
    let session = place
        .exec
        .exec(&ExecRequest::new(id("web"), ["missing"]))
        .await
        .unwrap();
    let unread = session.wait().await.unwrap();
    assert_eq!(unread.code, Some(126));
    assert_eq!(unread.reason.unwrap(), "the command could not be started");

    let request = ExecRequest::new(id("web"), ["missing"]);
    let session = place.exec.exec(&request).await.unwrap();
    let _: Vec<_> = futures::StreamExt::collect(session.take_output().unwrap()).await;
    let read = session.wait().await.unwrap();
    assert!(
        read.reason
            .unwrap()
            .starts_with("OCI runtime exec failed: cannot run")
    );

    // A command that gives the code itself did start.
    let request = ExecRequest::new(id("web"), Names.exit(126));
    let session = place.exec.exec(&request).await.unwrap();
    assert_eq!(session.wait().await.unwrap().reason, None);
}

#[tokio::test(start_paused = true)]
async fn what_is_closed_or_dropped_leaves_nothing_running() {
    let place = fresh(4096);
    let request = ExecRequest::new(id("web"), Names.stubborn());
    let session = place.exec.exec(&request).await.unwrap();
    assert_eq!(place.daemon.running().await, 1);
    session.close().await.unwrap();
    assert_eq!(session.wait().await.unwrap().code, Some(137));

    drop(place.exec.exec(&request).await.unwrap());
    let clock = clock();
    clock.sleep(Duration::from_secs(1)).await;
    assert_eq!(place.daemon.running().await, 0);
}

#[tokio::test(start_paused = true)]
async fn without_cleanup_a_closed_command_runs_on_and_wait_does_not_lie() {
    let place = fresh(4096);
    let exec = place
        .exec
        .clone()
        .with_cleanup(longshore_exec::Cleanup::Nothing);
    let request = ExecRequest::new(id("web"), Names.stubborn());
    let session = exec.exec(&request).await.unwrap();
    session.close().await.unwrap();
    let error = session.wait().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(place.daemon.running().await, 1);
}
