//! What the process engine does beyond the suites.
#![cfg(all(feature = "process", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{
    AttachRequest, Clock, ClockExt, Engine, ErrorKind, ExecBackend, ExecRequest, ExecSession,
    LogOptions, OsRandom, PullOptions, RestartPolicy, Signal, SystemClock, WorkloadSpec,
    WorkloadState,
};
use longshore_engine::{ProcessEngine, ProcessOptions};
use tokio::io::AsyncWriteExt;

fn engine(options: ProcessOptions) -> Arc<ProcessEngine> {
    ProcessEngine::new(options, Arc::new(SystemClock::new()), Arc::new(OsRandom)).unwrap()
}

fn shell(script: &str) -> WorkloadSpec {
    WorkloadSpec::new("host").with_command(["sh", "-c", script])
}

async fn output_of(engine: &ProcessEngine, spec: &WorkloadSpec) -> String {
    let id = engine.create(spec).await.unwrap();
    engine.start(&id).await.unwrap();
    engine.wait(&id).await.unwrap();
    let log = engine.logs(&id, &LogOptions::default()).await.unwrap();
    let pieces: Vec<_> = log.map(|piece| piece.unwrap().bytes).collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

async fn said(session: &dyn ExecSession) -> String {
    let output = session.take_output().unwrap();
    let pieces: Vec<_> = output.map(|piece| piece.unwrap().bytes).collect().await;
    String::from_utf8(pieces.concat()).unwrap()
}

#[tokio::test]
async fn another_image_is_refused_in_words() {
    let engine = engine(ProcessOptions::default());
    let expected =
        "the process engine runs only the image \"host\" (programs of this machine), not \"nginx\"";
    let error = engine
        .create(&WorkloadSpec::new("nginx"))
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), expected);
    let error = engine.pull("nginx", &PullOptions::default()).await;
    assert_eq!(error.err().unwrap().to_string(), expected);
    let error = engine.create(&WorkloadSpec::new("host")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the image \"host\" has no command of its own: give one"
    );
}

#[tokio::test]
async fn a_start_that_fails_says_why() {
    let engine = engine(ProcessOptions::default());
    let cases = [
        (
            "/no/such/thing",
            "",
            "127",
            "cannot run \"/no/such/thing\": executable file not found in $PATH",
        ),
        (
            "/etc/passwd",
            "",
            "126",
            "cannot run \"/etc/passwd\": permission denied",
        ),
        (
            "sh",
            "/no/such",
            "127",
            "the working directory \"/no/such\" does not exist: no such file or directory",
        ),
    ];
    for (program, dir, code, message) in cases {
        let mut spec = WorkloadSpec::new("host").with_command([program]);
        spec.working_dir = dir.to_owned();
        let id = engine.create(&spec).await.unwrap();
        let error = engine.start(&id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            (error.message(), error.context("exit_code")),
            (message, Some(code))
        );
        let workload = engine.inspect(&id).await.unwrap();
        assert_eq!(workload.state, WorkloadState::Created);
        assert!(workload.detail.unwrap().error.contains(message));
    }
    let mut spec = shell("true");
    spec.user = "nobody-here".to_owned();
    let error = engine.create(&spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test]
async fn only_the_named_variables_of_this_program_are_passed_on() {
    let engine = engine(ProcessOptions::default());
    let spec = shell("env")
        .with_env("A=1")
        .with_env("B=x=y")
        .with_env("HOME");
    let output = output_of(&engine, &spec).await;
    let has = |pair: &str| output.lines().any(|line| line.starts_with(pair));
    assert!(has("A=1") && has("B=x=y") && has("PATH=") && has("LONGSHORE_WORKLOAD="));
    assert!(!has("HOME="), "taken away: {output}");
    assert!(!has("CARGO"), "not asked for: {output}");
}

#[tokio::test]
async fn a_session_shares_directory_and_environment_with_its_workload() {
    let engine = engine(ProcessOptions::default());
    let mut spec = shell("sleep 1000")
        .with_env("WHO=workload")
        .with_env("ONLY=here");
    spec.working_dir = "/usr".to_owned();
    let id = engine.create(&spec).await.unwrap();
    engine.start(&id).await.unwrap();
    let request =
        ExecRequest::new(id.clone(), ["sh", "-c", "echo $PWD $WHO $ONLY"]).with_env("WHO=session");
    let session = engine.exec(&request).await.unwrap();
    assert_eq!(said(&*session).await, "/usr session here\n");
    let mut request = ExecRequest::new(id, ["pwd"]);
    request.working_dir = "/etc".to_owned();
    let session = engine.exec(&request).await.unwrap();
    assert_eq!(said(&*session).await, "/etc\n");
}

#[tokio::test]
async fn the_log_is_bounded_and_keeps_the_newest() {
    let engine = engine(ProcessOptions::default().with_log_capacity(64 * 1024));
    let output = output_of(&engine, &shell("seq 1 200000")).await;
    assert!(output.len() <= 64 * 1024, "{}", output.len());
    assert!(output.ends_with("199999\n200000\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_attachment_slows_the_workload_and_loses_nothing() {
    let engine = engine(ProcessOptions::default().with_log_capacity(32 * 1024));
    let id = engine.create(&shell("seq 1 200000")).await.unwrap();
    // Attached before the start, as `docker run` does.
    let session = engine
        .attach(&AttachRequest::new(id.clone()).with_next_run())
        .await
        .unwrap();
    engine.start(&id).await.unwrap();
    SystemClock::new().sleep(Duration::from_millis(500)).await;
    assert_eq!(
        engine.inspect(&id).await.unwrap().state,
        WorkloadState::Running
    );
    let text = said(&*session).await;
    let expected: String = (1..=200_000).map(|number| format!("{number}\n")).collect();
    assert!(
        text == expected,
        "{} of {} bytes",
        text.len(),
        expected.len()
    );
    assert_eq!(session.wait().await.unwrap().code, Some(0));
}

/// More than the log holds, less than log and pipe together: the process can end although nobody
/// has read, and what is in the pipe then is not lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_in_the_pipe_at_the_end_reaches_a_late_attachment() {
    let engine = engine(ProcessOptions::default().with_log_capacity(32 * 1024));
    let script = shell("head -c 70000 /dev/zero | tr '\\000' x; printf end");
    let id = engine.create(&script).await.unwrap();
    let request = AttachRequest::new(id.clone()).with_next_run();
    let session = engine.attach(&request).await.unwrap();
    engine.start(&id).await.unwrap();
    assert!(engine.wait(&id).await.unwrap().is_success());
    let text = said(&*session).await;
    assert_eq!(text.len(), 70_003);
    assert!(text.ends_with("xxend"));
}

#[tokio::test(flavor = "multi_thread")]
async fn input_written_before_the_start_is_read_after_it() {
    let engine = engine(ProcessOptions::default());
    let id = engine.create(&shell("cat").with_stdin()).await.unwrap();
    let request = AttachRequest::new(id.clone()).with_stdin().with_next_run();
    let session = engine.attach(&request).await.unwrap();
    let mut input = session.take_input().unwrap();
    input.write_all(b"early").await.unwrap();
    input.shutdown().await.unwrap();
    engine.start(&id).await.unwrap();
    assert_eq!(said(&*session).await, "early");
    assert!(session.wait().await.unwrap().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_workload_has_a_terminal() {
    let engine = engine(ProcessOptions::default());
    let output = output_of(&engine, &shell("tty; stty size; echo $TERM").with_tty()).await;
    assert!(output.starts_with("/dev/pts/"), "{output}");
    assert!(output.ends_with("24 80\r\nxterm\r\n"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_typed_input_is_the_end_key() {
    let engine = engine(ProcessOptions::default());
    let id = engine.create(&shell("sleep 1000")).await.unwrap();
    engine.start(&id).await.unwrap();
    for (typed, expected) in [("one\n", "one\r\none\r\n"), ("two", "twotwo")] {
        let request =
            ExecRequest::new(id.clone(), ["cat"]).with_tty(longshore_core::TerminalSize::default());
        let session = engine.exec(&request).await.unwrap();
        let mut input = session.take_input().unwrap();
        input.write_all(typed.as_bytes()).await.unwrap();
        input.shutdown().await.unwrap();
        assert_eq!(said(&*session).await, expected);
        assert_eq!(session.wait().await.unwrap().code, Some(0));
    }
}

#[tokio::test]
async fn bounds_are_told() {
    let mut options = ProcessOptions::default();
    (options.max_workloads, options.max_sessions) = (1, 1);
    let engine = engine(options);
    let id = engine.create(&shell("sleep 1000")).await.unwrap();
    let error = engine.create(&shell("true")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    engine.start(&id).await.unwrap();
    let request = ExecRequest::new(id, ["sleep", "1000"]);
    let session = engine.exec(&request).await.unwrap();
    let error = engine.exec(&request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
    session.close().await.unwrap();
    drop(session);
    // The place is free as soon as the end was seen.
    engine.exec(&request).await.unwrap().close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loop_backs_off() {
    let engine = engine(ProcessOptions::default());
    let spec = shell("exit 1").with_restart(RestartPolicy::Always);
    let id = engine.create(&spec).await.unwrap();
    engine.start(&id).await.unwrap();
    let clock = SystemClock::new();
    let deadline = clock.now().after(Duration::from_secs(4));
    clock.sleep_until(deadline).await;
    let detail = engine.inspect(&id).await.unwrap().detail.unwrap();
    // With delays that double from 100 ms, jitter included; without, it would be hundreds.
    assert!((2..=25).contains(&detail.restarts), "{}", detail.restarts);
    assert_eq!(detail.exit.unwrap().code, Some(1));
    engine.shutdown(Duration::ZERO).await.unwrap();
}

/// An interactive shell has each job in a process group of its own.
#[tokio::test]
async fn a_signal_reaches_what_is_in_the_foreground_of_a_terminal() {
    let engine = engine(ProcessOptions::default());
    let id = engine.create(&shell("sleep 100")).await.unwrap();
    engine.start(&id).await.unwrap();
    let request = ExecRequest::new(id, ["sh", "-i"]).with_tty(<_>::default());
    let session = engine.exec(&request).await.unwrap();
    let mut input = session.take_input().unwrap();
    let mut output = session.take_output().unwrap();
    let job = "sh -c 'trap \"echo c''aught; exit 5\" USR1; echo re''ady; \
               while :; do sleep 0.1; done'\n";
    input.write_all(job.as_bytes()).await.unwrap();
    let mut seen = String::new();
    // The shell itself, whose group it is not, would die of it.
    for (word, signal) in [("ready", None), ("caught", Some(Signal::USR1))] {
        if let Some(signal) = signal {
            session.signal(signal).await.unwrap();
        }
        while !seen.contains(word) {
            let piece = output.next().await.unwrap().unwrap();
            seen.push_str(&String::from_utf8_lossy(&piece.bytes));
        }
    }
    input.write_all(b"exit 3\n").await.unwrap();
    let rest = tokio::spawn(output.for_each(|_| async {}));
    assert_eq!(session.wait().await.unwrap().code, Some(3));
    rest.await.unwrap();
}
