use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use longshore_core::{
    ClockExt, Connector, ErrorKind, ExecBackend, ExecRequest, OsRandom, Signal, TerminalSize,
    WorkloadId,
    testkit::{
        exec::{Attachable, Harness, Place},
        programs::Programs,
    },
};
use longshore_exec::{
    Cleanup, CleanupOutcome, CleanupReport, CleanupRung, DockerExec, ScriptedExec, Stub,
    session::HELPER_SHELL,
};
use serde_json::json;

use crate::{
    daemon::{Daemon, ToDaemon, clock},
    programs::{Names, scripted},
};

/// A daemon that lives on another runtime than its client.
#[derive(Debug)]
struct FarDaemon(ToDaemon, tokio::runtime::Handle);

#[async_trait::async_trait]
impl Connector for FarDaemon {
    async fn connect(&self) -> longshore_core::Result<longshore_core::BoxByteStream> {
        let daemon = self.0.clone();
        let connecting = self.1.spawn(async move { daemon.connect().await });
        connecting.await.unwrap()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

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
    over(programs, buffer)
}

fn over(programs: ScriptedExec, buffer: usize) -> InMemory {
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

mod beside;
mod reaping;
mod waiting;

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
    // The lifeline's come first.
    let requests = place.daemon.requests();
    assert_eq!(requests[0].1["Cmd"][3], "longshore-lifeline");
    assert_eq!(
        (&requests[0].1["User"], &requests[0].1["Env"]),
        (&json!("1000"), &json!([]))
    );
    let requests = &requests[2..];
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

/// Every session would upload a megabyte for nothing, and warn.
#[tokio::test(start_paused = true)]
async fn an_engine_that_takes_no_stub_is_asked_once() {
    let place = fresh(4096);
    let mut program = b"\x7fELF\x02\x01".to_vec();
    program.resize(64, 0);
    let exec = place.exec.clone().with_stub(Stub::new(program).unwrap());
    for _ in 0..3 {
        let request = ExecRequest::new(id("web"), Names.exit(3));
        let session = exec.exec(&request).await.unwrap();
        assert_eq!(session.wait().await.unwrap().code, Some(3));
        let helper = ExecRequest::new(id("web"), [HELPER_SHELL]);
        let error = exec.exec(&helper).await.unwrap_err();
        assert_eq!(error.context("exit_code"), Some("127"), "{error:?}");
    }
    let requests = place.daemon.requests();
    let uploads = requests.iter().filter(|(line, _)| line.starts_with("PUT "));
    assert_eq!(uploads.count(), 1, "{requests:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_stub_the_helper_shell_says_how_to_have_one() {
    let request = ExecRequest::new(id("web"), [HELPER_SHELL]);
    let error = fresh(4096).exec.exec(&request).await.unwrap_err();
    for words in ["cargo xtask stub", "--exec-stub"] {
        assert!(error.message().contains(words), "{error}");
    }
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
    let said = "start-failed: OCI runtime exec failed: cannot run";
    assert!(unread.reason.unwrap().starts_with(said));
    // And they are there for whoever comes later.
    let output: Vec<_> = futures::StreamExt::collect(session.take_output().unwrap()).await;
    let text = &output[0].as_ref().unwrap().bytes;
    assert!(text.starts_with(b"OCI runtime exec failed: cannot run"));
    assert_eq!(output.len(), 1);

    let request = ExecRequest::new(id("web"), ["missing"]);
    let session = place.exec.exec(&request).await.unwrap();
    let output = session.take_output().unwrap();
    // Asked for before the words were read, and while they are.
    let (read, _) = tokio::join!(
        session.wait(),
        futures::StreamExt::collect::<Vec<_>>(output)
    );
    assert!(read.unwrap().reason.unwrap().starts_with(said));

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

/// An engine answers a start before the command begins, on a busy machine many seconds before.
#[tokio::test(start_paused = true)]
async fn a_command_that_begins_behind_the_end_of_its_session_is_ended_too() {
    for policy in [Cleanup::Tree, Cleanup::Foreground] {
        let place = fresh(4096);
        place.daemon.delay.store(12_000, Ordering::SeqCst);
        let reports = Arc::new(std::sync::Mutex::new(Vec::new()));
        let heard = Arc::clone(&reports);
        let exec = place.exec.clone().with_cleanup(policy);
        let exec = exec.with_cleanup_listener(move |report| {
            heard.lock().unwrap().push(report.outcome.clone());
        });
        let request = ExecRequest::new(id("web"), Names.stubborn());
        let session = exec.exec(&request).await.unwrap();
        assert_eq!(place.daemon.running().await, 0, "it has not begun");
        drop(session);
        let clock = clock();
        clock.sleep(Duration::from_secs(13)).await;
        // It did begin, and is not told to be clean while that may come.
        clock.sleep(Duration::from_secs(5)).await;
        assert_eq!(place.daemon.running().await, 0, "{policy:?}");
        let began = place.daemon.requests();
        assert!(
            began.iter().any(|(line, _)| line.ends_with("/start")),
            "{began:?}"
        );
        clock.sleep(Duration::from_secs(60)).await;
        if policy == Cleanup::Tree {
            assert_eq!(*reports.lock().unwrap(), [CleanupOutcome::Clean]);
        }
        assert_eq!(place.daemon.running().await, 0, "{policy:?}");
    }
}

/// Containers besides the usual one.
const OTHERS: [&str; 5] = ["a", "b", "c", "d", "e"];

fn crowded() -> InMemory {
    let others = OTHERS.iter().fold(scripted(), |programs, other| {
        programs.with_workload(id(other))
    });
    over(others.with_workload(id("web")), 4096)
}

fn at_once(count: usize) -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::new(count).unwrap()
}

/// An engine that is asked for more than it can do starts all of it too late; and one container is
/// not all that it has.
#[tokio::test(start_paused = true)]
async fn an_engine_is_asked_for_a_few_commands_at_a_time() {
    let place = crowded();
    place.daemon.delay.store(300, Ordering::SeqCst);
    let exec = place.exec.clone().with_starts(at_once(8));
    let ask = async |workloads: &[&str]| {
        let requests: Vec<_> = (0..40)
            .map(|nth| ExecRequest::new(id(workloads[nth % workloads.len()]), Names.exit(3)))
            .collect();
        let opening = requests.iter().map(|request| exec.exec(request));
        let sessions = futures::future::try_join_all(opening).await.unwrap();
        for session in &sessions {
            assert_eq!(session.wait().await.unwrap().code, Some(3));
        }
        place.daemon.most_starting.swap(0, Ordering::SeqCst)
    };
    assert_eq!(ask(&["web"]).await, 2);
    assert_eq!(ask(&OTHERS).await, 8);
}

/// A container in which everything takes its time holds up nobody in another one.
#[tokio::test(start_paused = true)]
async fn a_slow_container_holds_up_no_other() {
    let place = crowded();
    place.daemon.delay.store(20_000, Ordering::SeqCst);
    let exec = place.exec.clone().with_starts(at_once(4));
    let slow = ExecRequest::new(id("web"), Names.exit(3));
    let waiting: Vec<_> = (0..40)
        .map(|_| {
            let (exec, slow) = (exec.clone(), slow.clone());
            tokio::spawn(async move { exec.exec(&slow).await.map(drop) })
        })
        .collect();
    let clock = clock();
    clock.sleep(Duration::from_secs(1)).await;
    let other = ExecRequest::new(id("a"), Names.exit(3));
    let limit = Duration::from_secs(1);
    let opened = clock.timeout(limit, "a turn", exec.exec(&other)).await;
    assert!(opened.is_ok_and(|opened| opened.is_ok()));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Whoever gives up while it waits has cost the engine nothing.
#[tokio::test(start_paused = true)]
async fn who_waits_in_line_can_leave_it() {
    let place = fresh(4096);
    place.daemon.delay.store(1_000, Ordering::SeqCst);
    let exec = place.exec.clone().with_starts(std::num::NonZeroUsize::MIN);
    let request = ExecRequest::new(id("web"), Names.exit(3));
    let first = exec.exec(&request).await.unwrap();
    let made = || {
        let requests = place.daemon.requests();
        let made = requests.iter().filter(|(line, _)| line.ends_with("/exec"));
        made.count() - started(&place)
    };
    let clock = clock();
    for _ in 0..20 {
        let limit = Duration::from_millis(10);
        let waiting = clock.timeout(limit, "a turn", exec.exec(&request)).await;
        assert_eq!(waiting.unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert_eq!(made(), 1);
    let second = exec.exec(&request).await.unwrap();
    for session in [first, second] {
        assert_eq!(session.wait().await.unwrap().code, Some(3));
    }
    assert_eq!(made(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_ends_by_itself_needs_nothing_but_a_look() {
    let place = fresh(4096);
    let (told, mut reports) = tokio::sync::mpsc::unbounded_channel();
    let exec = place
        .exec
        .clone()
        .with_cleanup_listener(move |report: &CleanupReport| {
            let _ = told.send(report.clone());
        });
    let session = exec
        .exec(&ExecRequest::new(id("web"), Names.exit(3)))
        .await
        .unwrap();
    assert_eq!(session.wait().await.unwrap().code, Some(3));
    let report = reports.recv().await.unwrap();
    assert_eq!(report.outcome, CleanupOutcome::Clean);
    assert_eq!(report.rungs, []);
    assert_eq!(&report.session, session.id());
    // Left alone, its processes are ended first.
    let request = ExecRequest::new(id("web"), Names.stubborn());
    drop(exec.exec(&request).await.unwrap());
    let report = reports.recv().await.unwrap();
    assert_eq!(report.outcome, CleanupOutcome::Clean);
    assert_eq!(report.rungs, [CleanupRung::Lifeline]);
}

/// How many shells were started to be lifelines.
fn started(place: &InMemory) -> usize {
    let requests = place.daemon.requests();
    let lifeline =
        |(_, body): &&(String, serde_json::Value)| body["Cmd"][3] == "longshore-lifeline";
    requests.iter().filter(lifeline).count()
}

#[tokio::test(start_paused = true)]
async fn the_sessions_of_a_container_share_a_lifeline_that_is_let_go_when_idle() {
    let place = fresh(4096);
    let request = ExecRequest::new(id("web"), Names.stubborn());
    let all = futures::future::join_all((0..5).map(|_| place.exec.exec(&request))).await;
    let mut sessions: Vec<_> = all.into_iter().map(Result::unwrap).collect();
    assert_eq!((started(&place), place.daemon.running().await), (1, 5));
    let lifelines = || place.daemon.lifelines.load(Ordering::SeqCst);
    assert_eq!(lifelines(), 1);
    // One that ends takes no other with it, and beats keep the rest for longer than silence may last.
    sessions.pop();
    clock().sleep(Duration::from_secs(30)).await;
    assert_eq!((started(&place), place.daemon.running().await), (1, 4));
    // Another user's processes are hidden from it.
    let mut other = request.clone();
    other.user = "1000".to_owned();
    sessions.push(place.exec.exec(&other).await.unwrap());
    assert_eq!(started(&place), 2);
    drop(sessions);
    clock().sleep(Duration::from_secs(30)).await;
    assert_eq!((lifelines(), place.daemon.running().await), (2, 0));
    // Warm, it is there for the next.
    drop(place.exec.exec(&request).await.unwrap());
    assert_eq!(started(&place), 2);
    clock().sleep(Duration::from_secs(90)).await;
    assert_eq!(lifelines(), 0);
    drop(place.exec.exec(&request).await.unwrap());
    assert_eq!(started(&place), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lifeline_goes_with_its_backend_and_its_sessions() {
    let place = fresh(4096);
    let connector = Arc::new(ToDaemon(Arc::clone(&place.daemon)));
    let exec = DockerExec::new(connector, clock(), Arc::new(OsRandom));
    let request = ExecRequest::new(id("web"), Names.stubborn());
    let session = exec.exec(&request).await.unwrap();
    drop(exec);
    clock().sleep(Duration::from_secs(90)).await;
    assert_eq!(place.daemon.lifelines.load(Ordering::SeqCst), 1);
    drop(session);
    clock().sleep(Duration::from_secs(30)).await;
    assert_eq!(place.daemon.lifelines.load(Ordering::SeqCst), 0);
    assert_eq!(place.daemon.running().await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lifeline_that_was_killed_is_replaced_under_its_sessions() {
    let place = fresh(4096);
    let request = ExecRequest::new(id("web"), Names.stubborn());
    let session = place.exec.exec(&request).await.unwrap();
    place.daemon.killed.notify_one();
    clock().sleep(Duration::from_secs(1)).await;
    // The session lives, and another shell watches over it.
    assert_eq!((started(&place), place.daemon.running().await), (2, 1));
    assert_eq!(place.daemon.lifelines.load(Ordering::SeqCst), 1);
    session.signal(Signal::WINCH).await.unwrap();
    session.close().await.unwrap();
    assert_eq!(place.daemon.running().await, 0);
}

#[test]
fn a_gateway_that_dies_leaves_nothing_also_what_was_just_asked_for() {
    dies(|| fresh(4096));
}

/// The gateway is gone with its runtime: no word is said, the streams just end.
fn dies(place: impl Fn() -> InMemory) {
    let near = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let far = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let entered = far.enter();
    let place = place();
    drop(entered);
    let connector = Arc::new(FarDaemon(
        ToDaemon(Arc::clone(&place.daemon)),
        far.handle().clone(),
    ));
    near.block_on(async {
        let exec = DockerExec::new(connector, clock(), Arc::new(OsRandom));
        let exec = exec.with_sidecar_image(beside::IMAGE);
        let request = ExecRequest::new(id("web"), Names.stubborn());
        let sessions = futures::future::join_all((0..3).map(|_| exec.exec(&request))).await;
        assert!(sessions.iter().all(Result::is_ok));
        // Their starts are answered before the daemon, in its own thread, has counted them.
        while place.daemon.running().await < 3 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        std::mem::forget(sessions);
    });
    near.shutdown_background();
    let helpers = &place.daemon.helpers;
    far.block_on(async {
        while place.daemon.running().await > 0 || !helpers.names().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert_eq!(place.daemon.lifelines.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn what_can_not_be_ended_is_reported_aloud() {
    let place = fresh(4096);
    place.daemon.helpless.store(true, Ordering::SeqCst);
    let session = place
        .exec
        .exec(&ExecRequest::new(id("web"), Names.stubborn()))
        .await
        .unwrap();
    let error = session.close().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Internal);
    assert!(
        error.message().starts_with("cleanup-incomplete:"),
        "{error}"
    );
    assert_eq!(place.daemon.running().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_signal_goes_through_the_lifeline() {
    let place = fresh(4096);
    let session = place
        .exec
        .exec(&ExecRequest::new(id("web"), Names.exit_on_usr1(33)))
        .await
        .unwrap();
    session.signal(Signal::USR1).await.unwrap();
    assert_eq!(session.wait().await.unwrap().code, Some(33));
    session.signal(Signal::USR1).await.unwrap();
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

/// The container is asked for a stub, and the engine takes its time: started beside it, the command would
/// run twice.
#[tokio::test(start_paused = true)]
async fn a_stub_that_is_late_is_not_called_twice() {
    let place = fresh(4096);
    place.daemon.silent_stubs.store(true, Ordering::SeqCst);
    let mut program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    program.truncate(4096);
    program[56..58].fill(0);
    let exec = place.exec.clone().with_stub(Stub::new(program).unwrap());
    let request = ExecRequest::new(id("web"), Names.stubborn());
    let error = exec.exec(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    clock().sleep(Duration::from_secs(120)).await;
    let requests = place.daemon.requests();
    let made: Vec<_> = requests
        .iter()
        .filter(|(line, _)| line.ends_with("/exec"))
        .map(|(_, body)| &body["Cmd"])
        .collect();
    assert_eq!(made.len(), 1, "{made:?}");
    assert_eq!(made[0][1], "session");
    assert_eq!(place.daemon.running().await, 0);
}

/// The processes of a session that was let go end also while the engine says nothing about it.
#[tokio::test(start_paused = true)]
async fn the_lifelines_end_comes_before_the_engines_answer() {
    for policy in [Cleanup::Tree, Cleanup::Foreground] {
        let place = fresh(4096);
        let exec = place.exec.clone().with_cleanup(policy);
        let request = ExecRequest::new(id("web"), Names.stubborn());
        let session = exec.exec(&request).await.unwrap();
        clock().sleep(Duration::from_secs(2)).await;
        assert_eq!(place.daemon.running().await, 1);
        place.daemon.mute.store(true, Ordering::SeqCst);
        drop(session);
        clock().sleep(Duration::from_millis(100)).await;
        assert_eq!(place.daemon.running().await, 0, "{policy:?}");
    }
}
