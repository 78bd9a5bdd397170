//! Nothing that the process engine started outlives its workload, its session or the engine.
#![cfg(all(feature = "process", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use longshore_core::{
    Clock, ClockExt, Engine, ErrorKind, ExecBackend, ExecRequest, LogOptions, OsRandom,
    RemoveOptions, SystemClock, WorkloadId, WorkloadSpec,
};
use longshore_engine::{ProcessEngine, ProcessOptions};

fn engine(options: ProcessOptions) -> Arc<ProcessEngine> {
    ProcessEngine::new(options, Arc::new(SystemClock::new()), Arc::new(OsRandom)).unwrap()
}

/// The command lines of all processes that have this tag in their environment.
fn processes_with(tag: &str) -> Vec<String> {
    let tag = format!("TAG={tag}");
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Ok(environment) = std::fs::read(entry.path().join("environ")) else {
            continue;
        };
        if environment
            .windows(tag.len())
            .any(|part| part == tag.as_bytes())
        {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push(String::from_utf8_lossy(&line).replace('\0', " "));
        }
    }
    found
}

async fn until_gone(tag: &str) {
    let clock = SystemClock::new();
    let deadline = clock.now().after(Duration::from_secs(20));
    while !processes_with(tag).is_empty() {
        assert!(clock.now() < deadline, "left: {:?}", processes_with(tag));
        clock.sleep(Duration::from_millis(20)).await;
    }
}

/// A tree with everything that is hard to end: children in the background, in sessions of their
/// own, deaf to signals, orphaned; and one without the mark, which is still a descendant.
const TREE: &str = "trap '' TERM HUP
sleep 1000 &
setsid sleep 1000 &
(setsid sh -c 'trap \"\" HUP TERM; while :; do sleep 1000; done' &)
env -i TAG=$TAG sleep 1000 &
echo ready
while :; do sleep 1000; done";

fn tree(tag: &str) -> WorkloadSpec {
    WorkloadSpec::new("host")
        .with_command(["sh", "-c", TREE])
        .with_env(format!("TAG={tag}"))
}

fn tag() -> String {
    use longshore_core::Random;
    format!("longshore-test-{}", OsRandom.hex(8))
}

async fn run_tree(engine: &ProcessEngine, tag: &str) -> WorkloadId {
    let id = engine.create(&tree(tag)).await.unwrap();
    engine.start(&id).await.unwrap();
    let mut log = engine.logs(&id, &LogOptions::follow()).await.unwrap();
    log.next().await.unwrap().unwrap();
    let clock = SystemClock::new();
    while processes_with(tag).len() < 7 {
        clock.sleep(Duration::from_millis(10)).await;
    }
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_ends_the_whole_tree() {
    let (engine, tag) = (engine(ProcessOptions::default()), tag());
    let id = run_tree(&engine, &tag).await;
    let force = RemoveOptions::default().with_force();
    engine.remove(&id, force).await.unwrap();
    assert_eq!(processes_with(&tag), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_the_first_process_ends_the_rest_and_the_log() {
    let (engine, tag) = (engine(ProcessOptions::default()), tag());
    let spec = WorkloadSpec::new("host")
        .with_command([
            "sh",
            "-c",
            "setsid sleep 1000 & sleep 1000 & echo said; exit 4",
        ])
        .with_env(format!("TAG={tag}"));
    let id = engine.create(&spec).await.unwrap();
    engine.start(&id).await.unwrap();
    assert_eq!(engine.wait(&id).await.unwrap().code, Some(4));
    assert_eq!(processes_with(&tag), Vec::<String>::new());
    let log = engine.logs(&id, &LogOptions::follow()).await.unwrap();
    let log: Vec<_> = log.collect().await;
    assert_eq!(log[0].as_ref().unwrap().bytes, "said\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drop_ends_everything_at_once() {
    let (engine, tag) = (engine(ProcessOptions::default()), tag());
    run_tree(&engine, &tag).await;
    run_tree(&engine, &format!("{tag}-2")).await;
    drop(engine);
    until_gone(&tag).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_ends_everything_and_refuses_more() {
    let (engine, tag) = (engine(ProcessOptions::default()), tag());
    let id = run_tree(&engine, &tag).await;
    engine.shutdown(Duration::from_millis(200)).await.unwrap();
    assert_eq!(processes_with(&tag), Vec::<String>::new());
    let error = engine.start(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    let error = engine.create(&tree(&tag)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_a_session_ends_its_tree_and_not_its_workload() {
    let (engine, outer, inner) = (engine(ProcessOptions::default()), tag(), tag());
    let id = run_tree(&engine, &outer).await;
    let before = processes_with(&outer).len();
    for tty in [false, true] {
        let mut request =
            ExecRequest::new(id.clone(), ["sh", "-c", TREE]).with_env(format!("TAG={inner}"));
        if tty {
            request = request.with_tty(longshore_core::TerminalSize::default());
        }
        for close in [true, false] {
            let session = engine.exec(&request).await.unwrap();
            let mut output = session.take_output().unwrap();
            output.next().await.unwrap().unwrap();
            let clock = SystemClock::new();
            while processes_with(&inner).len() < 7 {
                clock.sleep(Duration::from_millis(10)).await;
            }
            if close {
                session.close().await.unwrap();
                assert_eq!(processes_with(&inner), Vec::<String>::new());
            }
            drop(session);
            until_gone(&inner).await;
        }
    }
    assert_eq!(processes_with(&outer).len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_session_left_in_the_background_ends_with_the_workload() {
    let (engine, outer, inner) = (engine(ProcessOptions::default()), tag(), tag());
    let id = run_tree(&engine, &outer).await;
    let command = ["sh", "-c", "setsid sleep 1000 & echo started"];
    let request = ExecRequest::new(id.clone(), command).with_env(format!("TAG={inner}"));
    let session = engine.exec(&request).await.unwrap();
    // The background process holds the output open; the session ends all the same.
    let output: Vec<_> = session.take_output().unwrap().collect().await;
    assert_eq!(output[0].as_ref().unwrap().bytes, "started\n");
    assert_eq!(session.wait().await.unwrap().code, Some(0));
    session.close().await.unwrap();
    drop(session);
    // While a program takes another's place, nobody sees its environment.
    let clock = SystemClock::new();
    let deadline = clock.now().after(Duration::from_secs(20));
    while processes_with(&inner).len() != 1 {
        assert!(clock.now() < deadline, "{:?}", processes_with(&inner));
        clock.sleep(Duration::from_millis(10)).await;
    }
    engine.stop(&id, Duration::ZERO).await.unwrap();
    assert_eq!(processes_with(&inner), Vec::<String>::new());
}

/// Runs this test program once more, as the program that gets killed.
#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_this_program_ends_its_workloads() {
    if let Ok(tag) = std::env::var("LONGSHORE_TEST_VICTIM") {
        return be_the_victim(&tag).await;
    }
    let tag = tag();
    let program = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_kill_of_this_program_ends_its_workloads",
            "--nocapture",
        ])
        .env("LONGSHORE_TEST_VICTIM", &tag)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut victim = Victim(program);
    let mut lines = BufReader::new(victim.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("victim is up")));
    assert!(processes_with(&tag).len() >= 7);
    drop(victim);
    until_gone(&tag).await;
}

struct Victim(std::process::Child);

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[expect(clippy::print_stdout, reason = "its parent reads it")]
async fn be_the_victim(tag: &str) {
    let engine = engine(ProcessOptions::default());
    run_tree(&engine, tag).await;
    println!("victim is up");
    std::future::pending::<()>().await;
}
