//! The hub over scripted programs.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::BytesMut;
use longshore_core::{
    Access, ClockExt, Error, ErrorKind, ExecRequest, Identity, OsRandom, Result, SessionId,
    Shutdown, Signal, SystemClock, TerminalSize, Timestamp, WorkloadId,
};

use crate::{
    ScriptedExec,
    session::{
        Attachment, EndReason, HELPER_SHELL, HubLimits, Launch, Leave, OpenRequest, RecordEvent,
        Recorder, Role, SessionEnd, SessionHub, SessionOptions, ViewerEvent,
    },
};

fn web() -> WorkloadId {
    WorkloadId::new("web").unwrap()
}

fn programs() -> ScriptedExec {
    ScriptedExec::new()
        .with_workload(web())
        .with_program("sh", |mut process| async move {
            process.print("$ ").await;
            while let Some(bytes) = process.read(100).await {
                let leaves = bytes.ends_with(b"exit\n");
                process.print(bytes).await;
                if leaves {
                    return 7;
                }
            }
            0
        })
        .with_program("forever", |process| async move {
            process.print("ready").await;
            std::future::pending().await
        })
        .with_program("size", |mut process| async move {
            while process.read(1).await.is_some_and(|byte| byte != "\n") {}
            process.print(format!("{}", process.size().columns)).await;
            0
        })
        .with_program("flood", |process| async move {
            for number in 0..10_000 {
                process.print(format!("{number:09}\n")).await;
            }
            0
        })
}

fn hub() -> SessionHub {
    SessionHub::new(
        Arc::new(SystemClock::new()),
        Arc::new(OsRandom),
        Shutdown::new(),
    )
}

fn request(command: &str) -> OpenRequest {
    let exec = ExecRequest::new(web(), [command]).with_tty(TerminalSize::default());
    OpenRequest::new(
        Arc::new(programs()),
        Launch::Exec(exec),
        Identity::new("ann", "test"),
    )
}

/// Reads to the end; gives output and end, acknowledging everything.
async fn drain(attachment: &Attachment) -> (BytesMut, SessionEnd) {
    let mut output = BytesMut::new();
    loop {
        match attachment.next().await.expect("an end comes first") {
            ViewerEvent::Output { offset, bytes, .. } => {
                output.extend_from_slice(&bytes);
                attachment.acknowledge(offset + bytes.len() as u64).unwrap();
            }
            ViewerEvent::Ended(end) => return (output, end),
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_types_and_ends() {
    let hub = hub();
    let session = hub.open(request("sh")).unwrap();
    session.send("hello\n".into()).await.unwrap();
    session.send("exit\n".into()).await.unwrap();
    let (output, end) = drain(&session).await;
    assert!(output.starts_with(b"$ hello\n"), "{output:?}");
    assert_eq!((end.reason, end.code), (EndReason::Exited, Some(7)));
    session.release();
    assert!(session.next().await.is_none());
    drop(session);
    SystemClock::new().sleep(Duration::from_millis(1)).await;
    assert!(hub.sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_size_from_before_the_start_is_the_terminals() {
    let session = hub().open(request("size")).unwrap();
    session.resize(TerminalSize::new(33, 9));
    session.resize(TerminalSize::new(44, 9));
    // The size is set by a task of its own.
    SystemClock::new().sleep(Duration::from_millis(1)).await;
    session.send("\n".into()).await.unwrap();
    assert_eq!(drain(&session).await.0, "44");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_missing_is_a_failed_start_with_its_code() {
    let session = hub().open(request("nothing")).unwrap();
    let (_, end) = drain(&session).await;
    assert_eq!((end.reason, end.code), (EndReason::StartFailed, Some(127)));
}

#[tokio::test(start_paused = true)]
async fn the_first_shell_that_is_there_is_taken() {
    let mut opening = request("");
    opening.launch = Launch::shell(ExecRequest::new(web(), [""]).with_tty(TerminalSize::default()));
    let session = hub().open(opening).unwrap();
    session.send("exit\n".into()).await.unwrap();
    assert_eq!(drain(&session).await.1.code, Some(7));

    let mut opening = request("");
    opening.launch = Launch::FirstOf(
        ExecRequest::new(web(), [""]),
        vec![vec!["bash".into()], vec!["zsh".into()]],
    );
    let (_, end) = drain(&hub().open(opening).unwrap()).await;
    assert_eq!(end.reason, EndReason::StartFailed);
    assert!(end.text.unwrap().contains("tried: bash, zsh"));
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_shell_a_login_falls_back_to_the_backends_helper() {
    let login = |exec: ScriptedExec| {
        let launch = Launch::shell(ExecRequest::new(web(), [""]).with_stdin());
        let who = Identity::new("ann", "test");
        hub()
            .open(OpenRequest::new(Arc::new(exec), launch, who))
            .unwrap()
    };
    let bare = || ScriptedExec::new().with_workload(web());
    let session = login(bare().with_program(HELPER_SHELL, |process| async move {
        process.print("no shell here\n").await;
        9
    }));
    let (output, end) = drain(&session).await;
    assert_eq!((&output[..], end.code), (&b"no shell here\n"[..], Some(9)));
    // A backend without one does not name it: the user could do nothing with it.
    let (_, end) = drain(&login(bare())).await;
    assert_eq!((end.reason, end.code), (EndReason::StartFailed, Some(127)));
    let text = end.text.unwrap();
    assert!(
        text.ends_with("tried: /bin/bash, bash, /bin/sh, sh)"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_goes_on_and_the_connection_before_is_told() {
    let hub = hub();
    let first = hub.open(request("flood")).unwrap();
    let ready = first.ready().clone();
    let mut output = BytesMut::new();
    while output.len() < 5_000 {
        if let Some(ViewerEvent::Output { bytes, .. }) = first.next().await {
            output.extend_from_slice(&bytes);
        }
    }
    let secret = ready.secret.unwrap();
    let wrong = hub.resume(&ready.session, "guess", 0).unwrap_err();
    let unknown = hub
        .resume(&SessionId::new("other").unwrap(), secret.reveal(), 0)
        .unwrap_err();
    assert_eq!(wrong.to_string(), unknown.to_string());
    let second = hub
        .resume(&ready.session, secret.reveal(), output.len() as u64)
        .unwrap();
    assert_ne!(
        second.ready().secret.as_ref().unwrap().reveal(),
        secret.reveal()
    );
    assert_eq!(first.next().await, Some(ViewerEvent::Superseded));
    assert_eq!(first.next().await, None);
    drop(first);
    let (rest, end) = drain(&second).await;
    output.extend_from_slice(&rest);
    let expected: String = (0..10_000).map(|number| format!("{number:09}\n")).collect();
    assert_eq!(output, expected.as_bytes());
    assert!(end.is_success());
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_for_who_was_away() {
    let hub = hub();
    let first = hub.open(request("sh")).unwrap();
    let ready = first.ready().clone();
    first.send("exit\n".into()).await.unwrap();
    drop(first);
    SystemClock::new().sleep(Duration::from_secs(200)).await;
    let again = hub
        .resume(&ready.session, ready.secret.unwrap().reveal(), 0)
        .unwrap();
    assert_eq!(drain(&again).await.1.code, Some(7));
    drop(again);
    SystemClock::new().sleep(Duration::from_secs(301)).await;
    assert!(hub.sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn sessions_are_limited_and_give_their_place_back() {
    let hub = hub().with_limits(HubLimits::default().with_sessions(2, 1));
    let zero = SessionOptions::default().with_grace(Duration::ZERO);
    let first = hub.open(request("forever").with_options(zero)).unwrap();
    let full = hub.open(request("forever")).unwrap_err();
    assert_eq!(full.kind(), ErrorKind::ResourceExhausted);
    drop(first);
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    assert!(hub.sessions().is_empty());
    hub.open(request("forever")).unwrap();
}

#[tokio::test(start_paused = true)]
async fn signals_arrive_and_an_operator_ends_sessions() {
    let hub = hub();
    let session = hub.open(request("forever")).unwrap();
    while !matches!(session.next().await, Some(ViewerEvent::Output { .. })) {}
    session.signal(Signal::TERM);
    let end = drain(&session).await.1;
    assert_eq!(
        (end.reason, end.signal),
        (EndReason::Signaled, Some(Signal::TERM))
    );

    let session = hub.open(request("forever")).unwrap();
    let end = SessionEnd::new(EndReason::EndedByOperator);
    hub.end(&session.ready().session, end).unwrap();
    // The first one's reason is told, and no other counts as done.
    let late = SessionEnd::new(EndReason::EndedByOperator).with_text("too late");
    let error = hub.end(&session.ready().session, late).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(drain(&session).await.1.reason, EndReason::EndedByOperator);
}

/// Whoever holds the session, and whether anybody does.
#[tokio::test(start_paused = true)]
async fn an_operator_sends_signals_from_outside() {
    let hub = hub();
    for signal in [Signal::INT, Signal::TERM] {
        let session = hub.open(request("forever")).unwrap();
        while !matches!(session.next().await, Some(ViewerEvent::Output { .. })) {}
        let ready = session.ready().clone();
        drop(session);
        hub.signal(&ready.session, signal).unwrap();
        let secret = ready.secret.unwrap();
        let back = hub.resume(&ready.session, secret.reveal(), 0).unwrap();
        let end = drain(&back).await.1;
        assert_eq!(
            (end.reason, end.signal),
            (EndReason::Signaled, Some(signal))
        );
        let late = hub.signal(&ready.session, signal).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Closed);
    }
    let nobody = SessionId::new("nobody").unwrap();
    let unknown = hub.signal(&nobody, Signal::INT).unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_every_session_with_its_reason() {
    let shutdown = Shutdown::new();
    let clock = Arc::new(SystemClock::new());
    let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone());
    let session = hub.open(request("forever")).unwrap();
    session.next().await;
    let drained = async {
        let end = drain(&session).await.1;
        drop(session);
        end
    };
    let (end, finished) = tokio::join!(drained, shutdown.finish(&*clock, Duration::from_secs(60)));
    assert_eq!(end.reason, EndReason::ServerShutdown);
    assert!(finished);
    assert_eq!(
        hub.open(request("sh")).unwrap_err().kind(),
        ErrorKind::Closed
    );
}

#[derive(Debug)]
struct Until(Timestamp);

#[async_trait]
impl Leave for Until {
    async fn ask(&self) -> Result<Access> {
        if longshore_core::Clock::now(&SystemClock::new()) < self.0 {
            return Ok(Access::default());
        }
        Err(Error::new(ErrorKind::PermissionDenied, "revoked"))
    }
}

#[tokio::test(start_paused = true)]
async fn leave_that_is_withdrawn_ends_the_session() {
    let opening =
        request("forever").with_leave(Access::default(), Arc::new(Until(Timestamp::ZERO)));
    let session = hub().open(opening).unwrap();
    let end = drain(&session).await.1;
    assert_eq!(end.reason, EndReason::AuthExpired);
}

#[derive(Debug, Default)]
struct Tape {
    events: std::sync::Mutex<Vec<RecordEvent>>,
    full: bool,
}

#[async_trait]
impl Recorder for Tape {
    async fn record(&self, _: &SessionId, _: Timestamp, event: &RecordEvent) -> Result<()> {
        if self.full {
            return Err(Error::unavailable("the disk is full"));
        }
        self.events.lock().unwrap().push(event.clone());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn everything_is_recorded_before_it_is_seen() {
    let tape = Arc::new(Tape::default());
    let hub = hub().with_recorder(tape.clone());
    let session = hub.open(request("flood")).unwrap();
    let (output, end) = drain(&session).await;
    SystemClock::new().sleep(Duration::from_millis(1)).await;
    let events = tape.events.lock().unwrap();
    let mut recorded = BytesMut::new();
    for event in events.iter() {
        if let RecordEvent::Output { offset, bytes, .. } = event {
            assert_eq!(*offset, recorded.len() as u64);
            recorded.extend_from_slice(bytes);
        }
    }
    assert_eq!(recorded, output);
    assert_eq!(events.last(), Some(&RecordEvent::Ended(end)));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_recorded_is_ended_unless_told_otherwise() {
    let tape = Arc::new(Tape {
        full: true,
        ..Tape::default()
    });
    let strict = hub().with_recorder(tape.clone());
    let session = strict.open(request("flood")).unwrap();
    let (output, end) = drain(&session).await;
    assert_eq!((output.len(), end.reason), (0, EndReason::EndedByOperator));
    let lenient = hub().with_recorder(tape).without_record_if_it_fails();
    let (output, end) = drain(&lenient.open(request("flood")).unwrap()).await;
    assert_eq!(output.len(), 100_000);
    assert!(end.is_success());
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_the_same_and_holds_nobody_up() {
    let hub = hub();
    let session = hub.open(request("flood")).unwrap();
    let lazy = hub.watch(&session.ready().session, Role::Watcher).unwrap();
    let eager = hub.watch(&session.ready().session, Role::Writer).unwrap();
    assert_eq!(eager.ready().role, Role::Watcher);
    assert!(eager.ready().secret.is_none());
    let ((one, _), (two, _)) = tokio::join!(drain(&session), drain(&eager));
    assert_eq!(one.len(), 100_000);
    assert_eq!(one, two);
    drop(lazy);
}

/// How a session ended is told when it ends, not when nobody may come back any more.
#[tokio::test(start_paused = true)]
async fn the_end_is_told_at_once() {
    let hub = hub();
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let opening = request("sh").with_epilogue(Box::new(move |end| {
        Box::pin(async move {
            let _ = tell.send(end.code);
        })
    }));
    let session = hub.open(opening).unwrap();
    session.send("exit\n".into()).await.unwrap();
    let clock = SystemClock::new();
    let code = clock.timeout(Duration::from_secs(1), "the end", told.recv());
    assert_eq!(code.await.unwrap(), Some(Some(7)));
    // It is kept all the same for who comes back, and told once.
    assert_eq!(hub.sessions().len(), 1);
    drop(session);
    clock.sleep(Duration::from_secs(3600)).await;
    assert!(hub.sessions().is_empty());
    assert_eq!(told.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn who_has_ended_sessions_may_open_others_in_their_place() {
    let hub = hub().with_limits(HubLimits::default().with_sessions(5, 2));
    let mut ids = Vec::new();
    for _ in 0..6 {
        let session = hub.open(request("sh")).unwrap();
        session.send("exit\n".into()).await.unwrap();
        drain(&session).await;
        ids.push(session.ready().session.clone());
        drop(session);
        SystemClock::new().sleep(Duration::from_millis(1)).await;
    }
    let mut kept: Vec<_> = hub
        .sessions()
        .into_iter()
        .map(|kept| kept.session)
        .collect();
    kept.sort_by_key(|id| ids.iter().position(|other| other == id));
    assert_eq!(kept, ids[4..], "the newest are kept");
    // Those that run are not given up.
    let first = hub.open(request("forever")).unwrap();
    let second = hub.open(request("forever")).unwrap();
    let refused = hub.open(request("forever")).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ResourceExhausted);
    SystemClock::new().sleep(Duration::from_millis(1)).await;
    assert_eq!(hub.sessions().len(), 2);
    drop((first, second));
}

/// From the moment on at which they are there.
#[tokio::test(start_paused = true)]
async fn whoever_has_leave_to_look_only_is_granted_nothing() {
    let hub = hub();
    let session = hub.open(request("forever")).unwrap().with_people();
    let id = &session.ready().session;
    let eve = hub.look_as(id, &Identity::new("eve", "test")).unwrap();
    let refused = [session.grant(eve.id()), hub.grant(id, eve.id())];
    for refused in refused {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::PermissionDenied);
    }
    let bob = hub.watch_as(id, Role::Approver, &Identity::new("bob", "test"));
    session.grant(bob.unwrap().id()).unwrap();
    let people = loop {
        if let Some(ViewerEvent::People(people)) = session.next().await {
            break people;
        }
    };
    let told: Vec<_> = people
        .iter()
        .map(|it| (it.name.as_deref().unwrap(), it.only_looks))
        .collect();
    // Bob has gone again.
    assert_eq!(told, [("ann", false), ("eve", true)]);
}
