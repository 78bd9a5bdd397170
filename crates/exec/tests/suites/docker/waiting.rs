//! Stubs that wait for sessions to come.

use std::{num::NonZeroUsize, sync::atomic::Ordering, time::Duration};

use futures::StreamExt;
use longshore_core::{
    ClockExt, ErrorKind, ExecBackend, ExecRequest, ExecSession, testkit::programs::Programs,
};
use longshore_exec::{Cleanup, DockerExec, GatewayLife, Stub, WaitingStubs};
use serde_json::Value;

use super::{InMemory, fresh, id, over};
use crate::{
    daemon::{Mood, clock},
    programs::{Names, scripted},
};

fn stub() -> Stub {
    let mut program = b"\x7fELF\x02\x01".to_vec();
    program.resize(64, 0);
    Stub::new(program).unwrap()
}

fn waiting(place: &InMemory, options: WaitingStubs) -> DockerExec {
    place.daemon.stubs.allow();
    let exec = place.exec.clone().with_stub(stub());
    exec.with_waiting_stubs(options)
}

fn exits() -> ExecRequest {
    ExecRequest::new(id("web"), Names.exit(3))
}

/// Lets what is done in the background be done.
async fn settle() {
    clock().sleep(Duration::from_millis(500)).await;
}

/// With one that waits for the next.
async fn entered(place: &InMemory) -> DockerExec {
    let exec = waiting(place, WaitingStubs::default());
    let session = exec.exec(&exits()).await.unwrap();
    assert_eq!(session.wait().await.unwrap().code, Some(3));
    settle().await;
    assert_eq!(waits(place, &exec), 1);
    exec
}

/// How many wait, as both sides see it.
#[track_caller]
fn waits(place: &InMemory, exec: &DockerExec) -> usize {
    let count = place.daemon.stubs.waiting.load(Ordering::SeqCst);
    assert_eq!(exec.waiting_stubs(), count);
    count
}

/// What the engine was asked to make: each command's second word.
fn made(place: &InMemory) -> Vec<String> {
    let requests = place.daemon.requests();
    let made = requests.iter().filter(|(line, _)| line.ends_with("/exec"));
    made.map(|(_, body)| body["Cmd"][1].as_str().unwrap().to_owned())
        .collect()
}

async fn output(session: &dyn ExecSession) -> String {
    let pieces = session.take_output().unwrap().map(|piece| piece.unwrap());
    let pieces: Vec<_> = pieces.map(|piece| piece.bytes.to_vec()).collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_unless_that_was_asked_for() {
    let place = fresh(4096);
    place.daemon.stubs.allow();
    let exec = place.exec.clone().with_stub(stub());
    for _ in 0..2 {
        let session = exec.exec(&exits()).await.unwrap();
        assert_eq!(session.wait().await.unwrap().code, Some(3));
        settle().await;
    }
    assert_eq!(
        (waits(&place, &exec), made(&place)),
        (0, vec!["session".to_owned(); 2])
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_begins_without_the_engine_where_somebody_was_let_in() {
    let place = fresh(4096);
    let exec = entered(&place).await;
    assert_eq!(made(&place), ["session", "wait"]);
    for round in 1..4 {
        let before = place.daemon.requests().len();
        let mut request = ExecRequest::new(id("web"), Names.print_env("A")).with_env("A=b=c");
        request.working_dir = "/srv".to_owned();
        let session = exec.exec(&request).await.unwrap();
        let asked = place.daemon.requests()[before..].to_vec();
        let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
        assert_eq!(lines, ["GET /containers/web/json"]);
        // By the command that the engine knows.
        assert_eq!(session.id().as_str(), format!("{:064x}", round + 1));
        assert_eq!(output(&*session).await, "b=c");
        assert_eq!(session.wait().await.unwrap().code, Some(0));
        let openings = place.daemon.stubs.openings.lock().unwrap().clone();
        let last = openings.last().unwrap();
        assert_eq!((openings.len(), last.directory.as_str()), (round, "/srv"));
        assert_eq!(last.environment[0], "A=b=c");
        assert!(last.environment[1].starts_with("LONGSHORE_EXEC_ID=t"));
        // One for the next.
        settle().await;
        assert_eq!((waits(&place, &exec), made(&place).len()), (1, round + 2));
    }
}

/// What was sent to the engine when this was opened.
async fn engine_body(place: &InMemory, exec: &DockerExec, request: &ExecRequest) -> Value {
    let before = place.daemon.requests().len();
    let session = exec.exec(request).await.unwrap();
    let _ = session.wait().await.unwrap();
    let requests = place.daemon.requests()[before..].to_vec();
    let made = requests
        .into_iter()
        .find(|(line, _)| line.ends_with("/exec"));
    made.expect("the engine was asked").1
}

#[tokio::test(start_paused = true)]
async fn what_the_engine_does_itself_it_is_asked_for() {
    let place = fresh(1 << 20);
    let exec = entered(&place).await;
    let privileged = |request: &mut ExecRequest| request.privileged = true;
    let relative = |request: &mut ExecRequest| request.working_dir = "srv".to_owned();
    let unset = |request: &mut ExecRequest| request.env.push("A".to_owned());
    let home = |request: &mut ExecRequest| request.env.push("HOME=".to_owned());
    let cut = |request: &mut ExecRequest| request.env.push("A=\0".to_owned());
    let long = |request: &mut ExecRequest| request.env.push(format!("A={}", "x".repeat(40_000)));
    let other = |request: &mut ExecRequest| request.user = "ann".to_owned();
    let changes: [&dyn Fn(&mut ExecRequest); 6] =
        [&privileged, &relative, &unset, &home, &cut, &long];
    for change in changes {
        let mut request = exits();
        change(&mut request);
        let body = engine_body(&place, &exec, &request).await;
        assert_eq!(body["Cmd"][1], "session");
        settle().await;
        assert_eq!(waits(&place, &exec), 1);
    }
    assert_eq!(*place.daemon.stubs.openings.lock().unwrap(), []);
    // Somebody else than it was started as.
    let mut request = exits();
    other(&mut request);
    // Who was let in last has the place that they share, unless they take turns.
    for pause in [0, 30, 31] {
        clock().sleep(Duration::from_secs(pause)).await;
        let body = engine_body(&place, &exec, &request).await;
        assert_eq!(
            (&body["Cmd"][1], &body["Cmd"][3]),
            (&"session".into(), &"--user".into())
        );
        settle().await;
        assert_eq!(waits(&place, &exec), 1);
    }
    let session = exec.exec(&request).await.unwrap();
    let _ = session.wait().await.unwrap();
    let openings = place.daemon.stubs.openings.lock().unwrap().clone();
    assert_eq!(openings[0].arguments[1..4], ["--no-input", "--user", "ann"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_waits_where_it_would_hold_somebody_up() {
    let place = fresh(4096);
    let exec = entered(&place).await;
    // Frozen, it would not answer.
    place.daemon.stubs.paused.store(true, Ordering::SeqCst);
    engine_body(&place, &exec, &exits()).await;
    assert_eq!(*place.daemon.stubs.openings.lock().unwrap(), []);
    let place = fresh(4096);
    place.daemon.among_hosts.store(true, Ordering::SeqCst);
    let exec = waiting(&place, WaitingStubs::default());
    for _ in 0..2 {
        engine_body(&place, &exec, &exits()).await;
        settle().await;
        assert_eq!(waits(&place, &exec), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stub_that_is_gone_deaf_or_declines_is_passed_over() {
    for mood in [None, Some(Mood::Deaf), Some(Mood::Declining)] {
        let place = fresh(4096);
        let exec = entered(&place).await;
        match mood {
            Some(mood) => *place.daemon.stubs.mood.lock().unwrap() = mood,
            None => place.daemon.stubs.killed.notify_waiters(),
        }
        let session = exec.exec(&exits()).await.unwrap();
        assert_eq!(session.wait().await.unwrap().code, Some(3));
        let made = made(&place);
        assert_eq!(made[..3], ["session", "wait", "session"], "{mood:?}");
        let told = place.daemon.stubs.openings.lock().unwrap().len();
        assert_eq!(told, usize::from(mood == Some(Mood::Declining)));
    }
}

/// One that is silent for long is let go before anybody asks for it.
#[tokio::test(start_paused = true)]
async fn a_stub_that_answers_no_beats_is_let_go() {
    let place = fresh(4096);
    let exec = entered(&place).await;
    *place.daemon.stubs.mood.lock().unwrap() = Mood::Deaf;
    clock().sleep(Duration::from_secs(15)).await;
    assert_eq!(waits(&place, &exec), 0);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_a_stub_was_told_to_start_is_not_started_once_more() {
    for mood in [Mood::Silent, Mood::Leaving] {
        let place = fresh(4096);
        let exec = entered(&place).await;
        *place.daemon.stubs.mood.lock().unwrap() = mood;
        let error = exec.exec(&exits()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        // Else somebody else might.
        assert!(!error.is_retryable());
        clock().sleep(Duration::from_secs(60)).await;
        assert_eq!(made(&place), ["session", "wait"], "{mood:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_not_there_uses_no_stub_up() {
    let place = fresh(4096);
    let exec = entered(&place).await;
    let before = place.daemon.requests().len();
    for _ in 0..3 {
        let missing = ExecRequest::new(id("web"), ["missing"]).with_stdin();
        let session = exec.exec(&missing).await.unwrap();
        let status = session.wait().await.unwrap();
        assert_eq!(status.code, Some(127));
        assert!(status.reason.unwrap().starts_with("start-failed: "));
        assert_eq!(output(&*session).await, "");
        session.close().await.unwrap();
    }
    settle().await;
    // Nobody looks for what never began.
    let asked = place.daemon.requests()[before..].to_vec();
    let lines: Vec<&str> = asked.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(lines, ["GET /containers/web/json"; 3]);
    let session = exec.exec(&exits()).await.unwrap();
    assert_eq!(session.wait().await.unwrap().code, Some(3));
    assert_eq!(made(&place), ["session", "wait"]);
    assert_eq!(place.daemon.stubs.openings.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn what_waits_unused_is_let_go_until_somebody_is_let_in_again() {
    let place = fresh(4096);
    let exec = entered(&place).await;
    clock().sleep(Duration::from_secs(290)).await;
    assert_eq!(waits(&place, &exec), 1);
    clock().sleep(Duration::from_secs(15)).await;
    assert_eq!(waits(&place, &exec), 0);
    clock().sleep(Duration::from_secs(600)).await;
    assert_eq!(made(&place), ["session", "wait"]);
    engine_body(&place, &exec, &exits()).await;
    settle().await;
    assert_eq!(waits(&place, &exec), 1);
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_than_was_asked_for() {
    let names = ["a", "b", "c"];
    let programs = names.iter().fold(scripted(), |programs, name| {
        programs.with_workload(id(name))
    });
    let place = over(programs, 4096);
    let count = |number| NonZeroUsize::new(number).unwrap();
    let options = WaitingStubs::default()
        .with_per_container(count(2))
        .with_in_all(count(3));
    let exec = waiting(&place, options);
    for (name, expected) in [("a", 2), ("b", 3), ("c", 3), ("a", 3)] {
        let request = ExecRequest::new(id(name), Names.exit(0));
        exec.exec(&request).await.unwrap().wait().await.unwrap();
        settle().await;
        assert_eq!(waits(&place, &exec), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_its_last_backend_all_that_waits_ends_and_sessions_go_on() {
    let place = fresh(4096);
    let exec = entered(&place).await;
    let session = exec
        .exec(&ExecRequest::new(id("web"), Names.stubborn()))
        .await
        .unwrap();
    settle().await;
    let clone = exec.clone();
    drop(exec);
    settle().await;
    assert_eq!(waits(&place, &clone), 1);
    drop(clone);
    settle().await;
    assert_eq!(place.daemon.stubs.waiting.load(Ordering::SeqCst), 0);
    assert_eq!(place.daemon.running().await, 1);
    session.close().await.unwrap();
    assert_eq!(place.daemon.running().await, 0);
}

/// Whoever asks comes first, however long that goes on.
#[tokio::test(start_paused = true)]
async fn nobody_waits_behind_a_stub_that_is_to_wait() {
    let place = fresh(4096);
    let exec = waiting(&place, WaitingStubs::default());
    let exec = exec.with_starts(NonZeroUsize::new(1).unwrap());
    place.daemon.delay.store(1000, Ordering::SeqCst);
    let opening = (0..5).map(|_| async {
        let session = exec.exec(&exits()).await.unwrap();
        session.wait().await.unwrap();
    });
    futures::future::join_all(opening).await;
    settle().await;
    let made = made(&place);
    assert_eq!(
        (&made[..5], &made[5..]),
        (
            &[(); 5].map(|()| "session".to_owned())[..],
            &["wait".to_owned()][..]
        )
    );
    assert_eq!(waits(&place, &exec), 1);
}

/// Nobody looks for what ended before their eyes, and for what did not, they do.
#[tokio::test(start_paused = true)]
async fn what_was_not_seen_to_end_may_be_looked_for() {
    for (mood, unsettled) in [(Mood::Good, 0), (Mood::Deaf, 1)] {
        let place = fresh(4096);
        let life = GatewayLife::begin("gate", &longshore_core::OsRandom);
        let exec = waiting(&place, WaitingStubs::default()).with_gateway(life.clone());
        engine_body(&place, &exec, &exits()).await;
        settle().await;
        *place.daemon.stubs.mood.lock().unwrap() = mood;
        clock().sleep(Duration::from_secs(400)).await;
        assert_eq!(waits(&place, &exec), 0);
        assert_eq!(life.unsettled(), unsettled, "{mood:?}");
    }
}

/// Also where nobody waited for the answer. What is in the background of a session that leaves it is
/// looked for by nobody; the stub itself is.
#[tokio::test(start_paused = true)]
async fn what_may_have_begun_is_looked_for_unless_it_is_to_stay() {
    for (mood, cleanup, unsettled) in [
        (Mood::Silent, Cleanup::Tree, 2),
        (Mood::Silent, Cleanup::Foreground, 1),
        (Mood::Good, Cleanup::Tree, 0),
    ] {
        for limit in [Duration::from_secs(5), Duration::from_secs(60)] {
            let place = fresh(4096);
            let life = GatewayLife::begin("gate", &longshore_core::OsRandom);
            let exec = waiting(&place, WaitingStubs::default()).with_gateway(life.clone());
            engine_body(&place, &exec, &exits()).await;
            settle().await;
            *place.daemon.stubs.mood.lock().unwrap() = mood;
            let exec = exec.with_cleanup(cleanup);
            let request = exits();
            match tokio::time::timeout(limit, exec.exec(&request)).await {
                Ok(Ok(session)) => session.close().await.unwrap(),
                other => assert_eq!((mood, other.is_err()), (Mood::Silent, limit.as_secs() < 20)),
            }
            assert_eq!(
                life.unsettled(),
                unsettled,
                "{mood:?} {cleanup:?} {limit:?}"
            );
        }
    }
}

/// A machine that is slow is not made faster by starts.
#[tokio::test(start_paused = true)]
async fn a_stub_that_is_slow_is_passed_over_and_goes_on_waiting() {
    let place = fresh(4096);
    let exec = entered(&place).await;
    *place.daemon.stubs.mood.lock().unwrap() = Mood::Slow;
    assert_eq!(
        engine_body(&place, &exec, &exits()).await["Cmd"][1],
        "session"
    );
    clock().sleep(Duration::from_secs(10)).await;
    assert_eq!(waits(&place, &exec), 1);
    *place.daemon.stubs.mood.lock().unwrap() = Mood::Good;
    clock().sleep(Duration::from_secs(3)).await;
    let session = exec.exec(&exits()).await.unwrap();
    assert_eq!(session.wait().await.unwrap().code, Some(3));
    assert_eq!(made(&place), ["session", "wait", "session"]);
}

/// A container may be anybody's.
#[tokio::test(start_paused = true)]
async fn a_stub_that_says_more_than_it_was_asked_for_is_let_go() {
    let place = fresh(1 << 20);
    let exec = entered(&place).await;
    *place.daemon.stubs.mood.lock().unwrap() = Mood::Loud;
    clock().sleep(Duration::from_secs(15)).await;
    assert_eq!(waits(&place, &exec), 0);
}

#[tokio::test(start_paused = true)]
async fn where_stubs_never_speak_nobody_else_waits_for_them() {
    let programs = scripted().with_workload(id("web")).with_workload(id("db"));
    let place = over(programs, 4096);
    let exec = waiting(&place, WaitingStubs::default());
    *place.daemon.stubs.mood.lock().unwrap() = Mood::Mute;
    engine_body(&place, &exec, &exits()).await;
    settle().await;
    *place.daemon.stubs.mood.lock().unwrap() = Mood::Good;
    let db = ExecRequest::new(id("db"), Names.exit(3));
    engine_body(&place, &exec, &db).await;
    settle().await;
    assert_eq!(waits(&place, &exec), 1);
    // It is tried again, but not by each who is let in.
    *place.daemon.stubs.mood.lock().unwrap() = Mood::Mute;
    clock().sleep(Duration::from_secs(25)).await;
    for (pause, started) in [(0, 1), (60, 2), (60, 1)] {
        clock().sleep(Duration::from_secs(pause)).await;
        let before = made(&place).len();
        engine_body(&place, &exec, &exits()).await;
        settle().await;
        assert_eq!(made(&place).len() - before, started, "{pause}");
    }
}

/// A session that is given up while it is opened ends, and is not another's.
#[tokio::test(start_paused = true)]
async fn an_opening_that_is_given_up_leaves_nothing() {
    let place = fresh(4096);
    let exec = entered(&place).await;
    *place.daemon.stubs.mood.lock().unwrap() = Mood::Deaf;
    let request = exits();
    let opening = exec.exec(&request);
    let given_up = tokio::time::timeout(Duration::from_millis(300), opening).await;
    assert!(given_up.is_err());
    clock().sleep(Duration::from_secs(15)).await;
    assert_eq!((waits(&place, &exec), place.daemon.running().await), (0, 0));
    assert_eq!(made(&place), ["session", "wait"]);
}

/// A policy is the session's own, whatever its stub was started under.
#[tokio::test(start_paused = true)]
async fn a_session_has_its_own_policy() {
    let place = fresh(4096);
    let exec = entered(&place).await.with_cleanup(Cleanup::Foreground);
    let session = exec.exec(&exits()).await.unwrap();
    session.wait().await.unwrap();
    let openings = place.daemon.stubs.openings.lock().unwrap().clone();
    assert!(openings[0].arguments.contains(&"--keep".to_owned()));
    assert!(openings[0].environment[0].starts_with("LONGSHORE_EXEC_ID=f"));
}
