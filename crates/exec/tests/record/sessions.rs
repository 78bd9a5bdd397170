//! Sessions that are recorded, over scripted programs.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use longshore_core::{
    AttachRequest, AuditEvent, AuditOutcome, AuditReceipt, AuditSink, Clock, ClockExt, Error,
    ErrorKind, ExecRequest, Identity, OsRandom, Result, SessionId, Shutdown, SystemClock,
    TerminalSize, Timestamp, WorkloadId,
};
use longshore_exec::{
    ScriptedExec,
    record::{
        Announced, CommandQuery, MemoryRecords, RecordLimits, RecordStore, SessionQuery,
        rules::{Rule, RuleSet},
    },
    session::{
        Attachment, EndReason, Launch, Notice, OpenRequest, RecordEvent, Recorder, RuleAction,
        SessionEnd, SessionHub, SessionKind, SessionOptions, ViewerEvent,
    },
};
use tokio::sync::mpsc;

fn web() -> WorkloadId {
    WorkloadId::new("web").unwrap()
}

/// A terminal that echoes, but not what follows `read -s`; each line goes to `heard`.
fn shell(heard: mpsc::UnboundedSender<Bytes>) -> ScriptedExec {
    let started = Arc::new(AtomicUsize::new(0));
    ScriptedExec::new()
        .with_workload(web())
        .with_program("sh", move |mut process| {
            let heard = heard.clone();
            started.fetch_add(1, Ordering::Relaxed);
            async move {
                let _ = heard.send(Bytes::from_static(b"started"));
                process.print("$ ").await;
                let (mut line, mut hides) = (BytesMut::new(), false);
                while let Some(key) = process.read(1).await {
                    if key == "\x15" {
                        line.clear();
                        process.print("\x1b[2K\r$ ").await;
                    } else if key == "\r" {
                        process.print("\r\n").await;
                        let _ = heard.send(line.clone().freeze());
                        match &line[..] {
                            b"exit" => return 0,
                            b"read -s" => hides = true,
                            _ => hides = false,
                        }
                        line.clear();
                        process.print(if hides { "Password: " } else { "$ " }).await;
                    } else {
                        line.extend_from_slice(&key);
                        if !hides {
                            process.print(key).await;
                        }
                    }
                }
                0
            }
        })
}

fn hub() -> SessionHub {
    SessionHub::new(
        Arc::new(SystemClock::new()),
        Arc::new(OsRandom),
        Shutdown::new(),
    )
}

fn request(backend: &Arc<ScriptedExec>, options: SessionOptions) -> OpenRequest {
    let exec = ExecRequest::new(web(), ["sh"]).with_tty(TerminalSize::default());
    OpenRequest::new(
        backend.clone(),
        Launch::Exec(exec),
        Identity::new("alice", "token"),
    )
    .with_options(options)
}

async fn drain(session: &Attachment) -> (Vec<ViewerEvent>, SessionEnd) {
    let mut events = Vec::new();
    loop {
        match session.next().await.unwrap() {
            ViewerEvent::Ended(end) => return (events, end),
            ViewerEvent::Output {
                offset,
                kind,
                bytes,
            } => {
                session.acknowledge(offset + bytes.len() as u64).unwrap();
                events.push(ViewerEvent::Output {
                    offset,
                    kind,
                    bytes,
                });
            }
            other => events.push(other),
        }
    }
}

async fn settle() {
    SystemClock::new().sleep(Duration::from_millis(50)).await;
}

async fn types(session: &Attachment, keys: &str) {
    for key in keys.as_bytes() {
        session.send(Bytes::copy_from_slice(&[*key])).await.unwrap();
        settle().await;
    }
}

async fn events(store: &dyn RecordStore, session: &Attachment) -> Vec<RecordEvent> {
    let entries = store.events(&session.ready().session).await.unwrap();
    entries.map(|entry| entry.unwrap().event).collect().await
}

fn inputs(events: &[RecordEvent]) -> Vec<Option<String>> {
    events
        .iter()
        .filter_map(|event| match event {
            RecordEvent::Input(bytes) => Some(Some(String::from_utf8(bytes.to_vec()).unwrap())),
            RecordEvent::InputHidden => Some(None),
            _ => None,
        })
        .collect()
}

fn records() -> MemoryRecords {
    MemoryRecords::new(RecordLimits::default())
}

/// Fault 22: `read -s`.
#[tokio::test(start_paused = true)]
async fn input_is_recorded_with_consent_and_never_a_password() {
    let (heard, _heard) = mpsc::unbounded_channel();
    let backend = Arc::new(shell(heard));
    let store = records();
    let hub = hub().with_recorder(Arc::new(store.clone()));
    for agreed in [true, false] {
        let options = SessionOptions::default();
        let options = if agreed {
            options.with_input_recorded()
        } else {
            options
        };
        let session = hub.open(request(&backend, options)).unwrap();
        settle().await;
        types(&session, "ls -l\rread -s\rhunter22\rmake\rexit\r").await;
        let (_, end) = drain(&session).await;
        settle().await;
        assert!(end.is_success());
        let events = events(&store, &session).await;
        let lines = ["ls -l\r", "read -s\r", "", "make\r", "exit\r"];
        let expected: Vec<_> = lines
            .iter()
            .map(|line| (!line.is_empty()).then(|| (*line).to_owned()))
            .collect();
        assert_eq!(inputs(&events), if agreed { expected } else { Vec::new() });
        let everything = format!("{events:?}");
        assert!(!everything.contains("hunter22"));
        assert!(matches!(&events[0], RecordEvent::Opened(about) if about.records_input == agreed));
        assert_eq!(events.last(), Some(&RecordEvent::Ended(end)));
    }
    let commands = store
        .commands(&CommandQuery::new(SessionQuery::default()))
        .await
        .unwrap();
    let commands: Vec<_> = commands
        .into_iter()
        .map(|command| command.content)
        .collect();
    assert_eq!(commands, ["exit", "make", "read -s", "ls -l"]);
}

/// Fault 22: a paste of three lines, and a line of 10 kB.
#[tokio::test(start_paused = true)]
async fn pastes_and_long_lines_are_recorded_whole() {
    let (heard, _heard) = mpsc::unbounded_channel();
    let store = records();
    let hub = hub().with_recorder(Arc::new(store.clone()));
    let options = SessionOptions::default().with_input_recorded();
    let session = hub.open(request(&Arc::new(shell(heard)), options)).unwrap();
    settle().await;
    let long = format!("echo {}\r", "x".repeat(10_000));
    let pasted = ["echo the first\r", "echo the second\r", "echo the third\r"];
    session.send(Bytes::from(pasted.concat())).await.unwrap();
    let more = async {
        settle().await;
        session.send(Bytes::from(long.clone())).await.unwrap();
        settle().await;
        session.send(Bytes::from_static(b"exit\r")).await.unwrap();
    };
    tokio::join!(more, drain(&session));
    settle().await;
    let mut expected: Vec<_> = pasted.map(|line| Some(line.to_owned())).to_vec();
    expected.extend([Some(long), Some("exit\r".to_owned())]);
    assert_eq!(inputs(&events(&store, &session).await), expected);
}

/// A recorder that takes the beginning and then never answers.
#[derive(Debug)]
struct Stuck;

#[async_trait]
impl Recorder for Stuck {
    async fn record(&self, _: &SessionId, _: Timestamp, event: &RecordEvent) -> Result<()> {
        match event {
            RecordEvent::Opened(_) => Ok(()),
            _ => std::future::pending().await,
        }
    }
}

/// Fault 22: input is as fast with a record as without.
#[tokio::test(start_paused = true)]
async fn a_recorder_never_delays_input() {
    let mut times = Vec::new();
    for recorded in [false, true] {
        let (heard, mut hears) = mpsc::unbounded_channel();
        let mut hub = hub();
        if recorded {
            hub = hub.with_recorder(Arc::new(Stuck));
        }
        let options = SessionOptions::default().with_input_recorded();
        let session = hub.open(request(&Arc::new(shell(heard)), options)).unwrap();
        assert_eq!(hears.recv().await.unwrap(), "started");
        settle().await;
        let clock = SystemClock::new();
        let before = clock.now();
        session.send(Bytes::from_static(b"a\r")).await.unwrap();
        assert_eq!(hears.recv().await.unwrap(), "a");
        times.push(clock.now().since(before));
    }
    assert_eq!(times[0], times[1]);
}

/// Refuses everything, after a while.
#[derive(Debug)]
struct Broken;

#[async_trait]
impl Recorder for Broken {
    async fn record(&self, _: &SessionId, _: Timestamp, _: &RecordEvent) -> Result<()> {
        SystemClock::new().sleep(Duration::from_millis(10)).await;
        Err(Error::unavailable("the disk is full"))
    }
}

/// Fault 19.
#[tokio::test(start_paused = true)]
async fn nothing_runs_whose_beginning_is_not_recorded() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let backend = Arc::new(shell(heard));
    let strict = hub().with_recorder(Arc::new(Broken));
    let session = strict
        .open(request(&backend, SessionOptions::default()))
        .unwrap();
    let (events, end) = drain(&session).await;
    assert_eq!((events.len(), end.reason), (0, EndReason::EndedByOperator));
    settle().await;
    assert!(hears.try_recv().is_err(), "the program never ran");
    let lenient = hub()
        .with_recorder(Arc::new(Broken))
        .without_record_if_it_fails();
    let session = lenient
        .open(request(&backend, SessionOptions::default()))
        .unwrap();
    session.send(Bytes::from_static(b"exit\r")).await.unwrap();
    assert!(drain(&session).await.1.is_success());
}

/// Fault 21.
#[tokio::test(start_paused = true)]
async fn attachments_are_recorded_too() {
    let (heard, _heard) = mpsc::unbounded_channel();
    let backend = Arc::new(shell(heard));
    backend
        .start_workload(&ExecRequest::new(web(), ["sh"]))
        .unwrap();
    let store = records();
    let hub = hub().with_recorder(Arc::new(store.clone()));
    let launch = Launch::Attach(AttachRequest::new(web()).with_backlog());
    let request = OpenRequest::new(backend, launch, Identity::new("alice", "token"));
    let session = hub.open(request).unwrap();
    settle().await;
    let summary = store.session(&session.ready().session).await.unwrap();
    assert_eq!(
        (summary.about.kind, summary.about.container.as_str()),
        (SessionKind::Attach, "web")
    );
}

fn guarded(action: RuleAction, store: &MemoryRecords) -> SessionHub {
    let rules = RuleSet::new(vec![Rule::command("halt", "halt", action)]).unwrap();
    hub()
        .with_recorder(Arc::new(store.clone()))
        .with_guard(Arc::new(rules))
}

#[tokio::test(start_paused = true)]
async fn a_blocked_line_is_not_run_and_is_told() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let store = records();
    let hub = guarded(RuleAction::Block, &store);
    let session = hub
        .open(request(&Arc::new(shell(heard)), SessionOptions::default()))
        .unwrap();
    types(&session, "halt\rls\rexit\r").await;
    let (seen, end) = drain(&session).await;
    settle().await;
    assert!(end.is_success());
    assert!(seen.contains(&ViewerEvent::Notice(Notice::InputBlocked)));
    // Every byte counts as taken, also the one that was kept back.
    let taken = seen.iter().rev().find_map(|event| match event {
        ViewerEvent::InputTaken(offset) => Some(*offset),
        _ => None,
    });
    assert!(taken.is_some_and(|taken| taken >= 12), "{taken:?}");
    let mut lines = Vec::new();
    while let Ok(line) = hears.try_recv() {
        lines.push(line);
    }
    assert_eq!(lines, ["started", "ls", "exit"]);
    let hits = |event: &RecordEvent| matches!(event, RecordEvent::Hit(hit) if hit.rule == "halt");
    assert_eq!(
        events(&store, &session)
            .await
            .iter()
            .filter(|event| hits(event))
            .count(),
        1
    );
    assert_eq!(
        store.session(&session.ready().session).await.unwrap().hits,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_line_that_is_asked_about_runs_at_the_second_enter() {
    let (heard, mut hears) = mpsc::unbounded_channel();
    let store = records();
    let hub = guarded(RuleAction::Ask, &store);
    let session = hub
        .open(request(&Arc::new(shell(heard)), SessionOptions::default()))
        .unwrap();
    types(&session, "halt\r").await;
    assert_eq!(hears.try_recv().unwrap(), "started");
    assert!(hears.try_recv().is_err());
    types(&session, "\r").await;
    assert_eq!(hears.try_recv().unwrap(), "halt");
    types(&session, "exit\r").await;
    assert!(
        drain(&session)
            .await
            .0
            .contains(&ViewerEvent::Notice(Notice::InputAsked))
    );
}

#[tokio::test(start_paused = true)]
async fn a_hit_is_recorded_at_once() {
    let (heard, _heard) = mpsc::unbounded_channel();
    let store = records();
    let rules = RuleSet::new(vec![Rule::text("secret", "hunter", RuleAction::Alert)]).unwrap();
    let hub = hub()
        .with_recorder(Arc::new(store.clone()))
        .with_guard(Arc::new(rules));
    let session = hub
        .open(request(&Arc::new(shell(heard)), SessionOptions::default()))
        .unwrap();
    types(&session, "hunter\r").await;
    assert_eq!(
        store.session(&session.ready().session).await.unwrap().hits,
        1
    );
}

#[derive(Debug, Default)]
struct Ledger(Mutex<Vec<AuditEvent>>);

#[async_trait]
impl AuditSink for Ledger {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let mut events = self.0.lock().unwrap();
        events.push(event);
        Ok(AuditReceipt {
            sequence: events.len() as u64 - 1,
            hash: String::new(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn the_audit_log_learns_of_hits_and_of_the_head() {
    let (heard, _heard) = mpsc::unbounded_channel();
    let store = records();
    let ledger = Arc::new(Ledger::default());
    let rules = RuleSet::new(vec![Rule::command("halt", "halt", RuleAction::Block)]).unwrap();
    let announced = Announced::new(Arc::new(store.clone()), ledger.clone());
    let hub = hub()
        .with_recorder(Arc::new(announced.clone()))
        .with_guard(Arc::new(rules));
    let session = hub
        .open(request(&Arc::new(shell(heard)), SessionOptions::default()))
        .unwrap();
    types(&session, "halt\rexit\r").await;
    drain(&session).await;
    settle().await;
    // How far the record goes is the store's to say.
    let reach = announced.reach(&session.ready().session);
    assert_eq!(reach, store.reach(&session.ready().session));
    assert!(reach.unwrap().whole_to > 0);
    let events = ledger.0.lock().unwrap().clone();
    let told: Vec<_> = events
        .iter()
        .map(|event| (event.operation.as_str(), &event.outcome))
        .collect();
    let denied = AuditOutcome::Denied("rule halt".to_owned());
    assert_eq!(
        told,
        [
            ("session.recorded", &AuditOutcome::Started),
            ("session.rule", &denied),
            ("session.recorded", &AuditOutcome::Done),
        ]
    );
    let verified = store.verify(&session.ready().session, None).await.unwrap();
    assert_eq!(
        events[2].target.labels.get("head"),
        Some(verified.head.hash().as_str())
    );
    assert_eq!(events[2].who.subject, "alice");
}

/// What a client saw and what was recorded are the same bytes, at the same offsets.
#[tokio::test(start_paused = true)]
async fn a_flood_is_recorded_byte_for_byte() {
    let backend =
        ScriptedExec::new()
            .with_workload(web())
            .with_program("sh", |process| async move {
                for number in 0..3000_u32 {
                    let bytes: Vec<u8> = number
                        .to_be_bytes()
                        .iter()
                        .copied()
                        .cycle()
                        .take(97)
                        .collect();
                    process.print(bytes).await;
                }
                0
            });
    let dir = tempfile::tempdir().unwrap();
    let store = longshore_exec::record::DirectoryRecords::open(dir.path(), RecordLimits::default())
        .unwrap();
    let hub = hub().with_recorder(Arc::new(store.clone()));
    let session = hub
        .open(request(&Arc::new(backend), SessionOptions::default()))
        .unwrap();
    let (seen, _) = drain(&session).await;
    let bytes = |events: Vec<(u64, Bytes)>| {
        let mut all = BytesMut::new();
        for (offset, bytes) in events {
            assert_eq!(offset, all.len() as u64);
            all.extend_from_slice(&bytes);
        }
        all
    };
    let seen = bytes(
        seen.into_iter()
            .filter_map(|event| match event {
                ViewerEvent::Output { offset, bytes, .. } => Some((offset, bytes)),
                _ => None,
            })
            .collect(),
    );
    let recorded = bytes(
        events(&store, &session)
            .await
            .into_iter()
            .filter_map(|event| match event {
                RecordEvent::Output { offset, bytes, .. } => Some((offset, bytes)),
                _ => None,
            })
            .collect(),
    );
    assert_eq!(seen.len(), 3000 * 97);
    assert_eq!(seen, recorded);
    assert_eq!(
        store
            .events(&SessionId::new("none").unwrap())
            .await
            .err()
            .unwrap()
            .kind(),
        ErrorKind::NotFound
    );
}
