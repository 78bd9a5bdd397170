//! Output that is not in memory any more comes from the session's record.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{Clock, ClockExt, Result, SessionId, SystemClock, TerminalSize, Timestamp};
use longshore_exec::{
    ScriptedExec,
    access::{AnybodyMay, StaticDirectory},
    gateway::GatewayOptions,
    protocol::native::{ClientFrame, Open, OpenMode, ReadyFrame, Resume, ServerFrame},
    record::{
        CommandGuess, CommandQuery, DirectoryRecords, EventStream, MemoryRecords, RecordLimits,
        RecordStore, Retention, SessionQuery, SessionSummary, Verified, WhenFull, log::Head,
    },
    session::{
        EndReason, HubLimits, RecordEvent, RecordReach, Recorder, RecordingSource, RecordingStream,
        Screen, Screens, SessionEnd, SessionOptions, WhileDetached,
    },
};
use sha2::{Digest, Sha256};

use crate::{
    raw::{BINARY, CLOSE, Raw},
    server::{Server, id},
};

const WHOLE: usize = 3 << 20;

/// What the program prints, byte by byte.
fn byte(at: usize) -> u8 {
    (at / 3 % 251) as u8
}

fn server(records: Option<Arc<dyn RecordStore>>) -> Arc<Server> {
    waiting(records, WhileDetached::Live)
}

/// What becomes of output while the client is away.
fn waiting(records: Option<Arc<dyn RecordStore>>, detached: WhileDetached) -> Arc<Server> {
    limited(records, detached, HubLimits::default())
}

fn limited(
    records: Option<Arc<dyn RecordStore>>,
    detached: WhileDetached,
    limits: HubLimits,
) -> Arc<Server> {
    let exec =
        ScriptedExec::new()
            .with_workload(id("web"))
            .with_program("long", |process| async move {
                SystemClock::new().sleep(Duration::from_secs(1)).await;
                for start in (0..WHOLE).step_by(1 << 12) {
                    let piece: Vec<u8> = (start..start + (1 << 12)).map(byte).collect();
                    process.print(piece).await;
                }
                4
            });
    let session = SessionOptions::default()
        .with_log(64 << 10)
        .with_detached(detached);
    let options = GatewayOptions::default().with_session(session);
    let recorder = records.clone();
    Server::with_hub(
        StaticDirectory::new().with_engine(Arc::new(exec)),
        options,
        |hub| {
            let hub = hub.with_limits(limits).with_screens(Arc::new(Blank));
            match recorder {
                Some(recorder) => hub.with_recorder(recorder),
                None => hub,
            }
        },
        |gateway| {
            let gateway = gateway.with_access(Arc::new(AnybodyMay));
            match records {
                Some(records) => gateway.with_records(records),
                None => gateway,
            }
        },
    )
}

async fn ready(raw: &mut Raw) -> ReadyFrame {
    match ServerFrame::decode(raw.message().await.into()).unwrap() {
        ServerFrame::Ready(ready) => ready,
        other => panic!("{other:?}"),
    }
}

/// Opens, and is gone until the program has ended.
async fn away(server: &Server) -> ReadyFrame {
    leaves(server, Open::default()).await
}

async fn leaves(server: &Server, mut open: Open) -> ReadyFrame {
    let mut raw = Raw::open(server, "/v1/exec", &[]).await;
    (open.target, open.argv) = ("web".into(), vec!["long".into()]);
    raw.send(BINARY, &ClientFrame::Open(Box::new(open)).encode())
        .await;
    let ready = ready(&mut raw).await;
    drop(raw);
    server.cut();
    SystemClock::new().sleep(Duration::from_secs(20)).await;
    ready
}

async fn back(server: &Server, at: &ReadyFrame, want: usize) -> (Raw, ReadyFrame) {
    let mut raw = Raw::open(server, "/v1/exec", &[]).await;
    let text = format!(
        r#"{{"session":"{}","secret":"{}","want":{want}}}"#,
        at.session,
        at.secret.as_ref().unwrap()
    );
    let resume: Resume = serde_json::from_str(&text).unwrap();
    raw.send(BINARY, &ClientFrame::Resume(resume).encode())
        .await;
    let ready = ready(&mut raw).await;
    (raw, ready)
}

/// Takes and checks output until so much is there, or the end came.
async fn take(raw: &mut Raw, mut got: usize, until: usize) -> (usize, Option<i64>) {
    while got < until {
        match ServerFrame::decode(raw.message().await.into()).unwrap() {
            ServerFrame::Output(offset, _, bytes) => {
                assert_eq!(offset as usize, got);
                let right = bytes
                    .iter()
                    .enumerate()
                    .all(|(at, is)| *is == byte(got + at));
                assert!(right, "the bytes from {got} on");
                got += bytes.len();
                raw.send(BINARY, &ClientFrame::Ack(got as u64).encode())
                    .await;
            }
            ServerFrame::Exit(exit) => {
                assert_eq!(exit.out_len as usize, got);
                return (got, exit.end.code);
            }
            ServerFrame::Gap(from, to, _) => panic!("a gap from {from} to {to}"),
            _ => {}
        }
    }
    (got, None)
}

async fn check(records: Arc<dyn RecordStore>, detached: WhileDetached) {
    let server = waiting(Some(records), detached);
    let mut at = away(&server).await;
    let mut got = 0;
    // Cut off again and again, also while the record is read.
    for stop in [100_000, 1_000_000, 1_000_001, 2_900_000] {
        let (mut raw, ready) = back(&server, &at, got).await;
        assert!(ready.base as usize > got, "it is not in memory");
        (got, _) = take(&mut raw, got, stop).await;
        at = ready;
        drop(raw);
        server.cut();
        SystemClock::new().sleep(Duration::from_secs(1)).await;
    }
    let (mut raw, _) = back(&server, &at, got).await;
    assert_eq!(take(&mut raw, got, usize::MAX).await, (WHOLE, Some(4)));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_long_away_misses_nothing_where_there_is_a_record() {
    let records = || Arc::new(MemoryRecords::new(RecordLimits::default()));
    check(records(), WhileDetached::Live).await;
    check(records(), WhileDetached::Lossless).await;
}

/// The end of the only session, if it has come.
fn end(server: &Server) -> Option<i64> {
    let sessions = server.hub.sessions();
    assert_eq!(sessions.len(), 1);
    sessions[0].end.as_ref().map(|end| end.code.unwrap())
}

/// Nothing is to be lost, and all the same nobody waits: the record keeps what memory has no room
/// for.
#[tokio::test(start_paused = true)]
async fn a_process_goes_on_while_the_client_that_reads_its_record_is_away() {
    let records: Arc<dyn RecordStore> = Arc::new(MemoryRecords::new(RecordLimits::default()));
    let server = waiting(Some(records), WhileDetached::Lossless);
    let at = away(&server).await;
    assert_eq!(end(&server), Some(4), "it has finished");
    let (mut raw, ready) = back(&server, &at, 0).await;
    assert!(ready.base > 0 && ready.head as usize == WHOLE);
    let mut seen = Sha256::new();
    let mut got = 0;
    let code = loop {
        match ServerFrame::decode(raw.message().await.into()).unwrap() {
            ServerFrame::Output(offset, _, bytes) => {
                assert_eq!(offset, got, "none is missing, none comes twice");
                got += bytes.len() as u64;
                seen.update(&bytes);
                raw.send(BINARY, &ClientFrame::Ack(got).encode()).await;
            }
            ServerFrame::Exit(exit) => break exit.end.code,
            ServerFrame::Gap(from, to, _) => panic!("a gap from {from} to {to}"),
            _ => {}
        }
    };
    let whole: Vec<u8> = (0..WHOLE).map(byte).collect();
    assert_eq!(seen.finalize(), Sha256::digest(&whole));
    assert_eq!((got as usize, code), (WHOLE, Some(4)));
}

/// A screen that is always empty.
#[derive(Debug)]
struct Blank;

impl Screens for Blank {
    fn screen(&self, _: TerminalSize) -> Box<dyn Screen> {
        Box::new(Self)
    }
}

impl Screen for Blank {
    fn output(&mut self, _: &[u8]) {}

    fn resize(&mut self, _: TerminalSize) {}

    fn redraw(&mut self) -> Bytes {
        Bytes::from_static(b"\x1b[2J")
    }
}

/// Who would not read the record is waited for, and so is everybody where there is none.
#[tokio::test(start_paused = true)]
async fn a_process_waits_for_who_does_not_read_its_record() {
    let records = || -> Option<Arc<dyn RecordStore>> {
        Some(Arc::new(MemoryRecords::new(RecordLimits::default())))
    };
    let mut draws = Open::default();
    draws.snapshot = true;
    let plain = draws.clone();
    draws.tty = true;
    for (records, open, waits) in [
        (records(), draws, true),
        // Its session has no terminal, so there is nothing to be drawn.
        (records(), plain, false),
        (None, Open::default(), true),
    ] {
        let server = waiting(records, WhileDetached::Lossless);
        let at = leaves(&server, open).await;
        assert_eq!(end(&server), (!waits).then_some(4));
        let (mut raw, ready) = back(&server, &at, 0).await;
        if waits {
            assert_eq!((ready.base, ready.head), (0, 64 << 10));
        }
        assert_eq!(take(&mut raw, 0, usize::MAX).await, (WHOLE, Some(4)));
    }
}

/// The record's own bound holds, and ends nothing while nobody is there.
#[tokio::test(start_paused = true)]
async fn a_process_waits_when_its_record_has_no_room_left() {
    for (session, total) in [(3 << 19, 16 << 30), (256 << 20, 3 << 19)] {
        let limits = RecordLimits::default()
            .with_bytes(session, total)
            .with_when_full(WhenFull::Stop);
        let records: Arc<dyn RecordStore> = Arc::new(MemoryRecords::new(limits));
        let server = waiting(Some(Arc::clone(&records)), WhileDetached::Lossless);
        let at = away(&server).await;
        assert_eq!(end(&server), None);
        let (mut raw, ready) = back(&server, &at, 0).await;
        assert!((500 << 10..1 << 20).contains(&ready.head), "{}", ready.head);
        let until = ready.head as usize;
        assert_eq!(take(&mut raw, 0, until).await.0, until);
        if session > total {
            continue;
        }
        // With its client there it goes on without a record, as that was asked for. Away once more it
        // can't count on it.
        let (got, _) = take(&mut raw, until, 2 << 20).await;
        drop(raw);
        server.cut();
        SystemClock::new().sleep(Duration::from_secs(20)).await;
        assert_eq!(end(&server), None);
        let (mut raw, _) = back(&server, &ready, got).await;
        assert_eq!(take(&mut raw, got, usize::MAX).await, (WHOLE, Some(4)));
    }
}

/// Nor does the bound of all records end one of several, whose records fill it together.
#[tokio::test(start_paused = true)]
async fn processes_wait_when_there_is_no_room_left_for_all_their_records() {
    for retention in [Retention::Keep, Retention::RemoveOldest] {
        let limits = RecordLimits::default()
            .with_bytes(256 << 20, 3 << 20)
            .with_retention(retention);
        let server = waiting(
            Some(Arc::new(MemoryRecords::new(limits))),
            WhileDetached::Lossless,
        );
        let mut connections = Vec::new();
        for _ in 0..4 {
            let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
            let mut open = Open::default();
            (open.target, open.argv) = ("web".into(), vec!["long".into()]);
            raw.send(BINARY, &ClientFrame::Open(Box::new(open)).encode())
                .await;
            ready(&mut raw).await;
            connections.push(raw);
        }
        drop(connections);
        server.cut();
        SystemClock::new().sleep(Duration::from_secs(20)).await;
        let sessions = server.hub.sessions();
        assert_eq!(sessions.len(), 4);
        for session in sessions {
            assert_eq!(session.end, None, "{retention:?}");
        }
    }
}

/// Whatever comes from a record keeps to the bandwidth of its user, as if it came from memory.
#[tokio::test(start_paused = true)]
async fn what_comes_from_the_record_has_the_bandwidth_of_the_user() {
    let records: Arc<dyn RecordStore> = Arc::new(MemoryRecords::new(RecordLimits::default()));
    let limits = HubLimits::default().with_user_bandwidth(200_000);
    let server = limited(Some(records), WhileDetached::Lossless, limits);
    let at = away(&server).await;
    let clock = SystemClock::new();
    let start = clock.now();
    let (mut raw, ready) = back(&server, &at, 0).await;
    let missed = ready.base as usize;
    take(&mut raw, 0, missed).await;
    let took = clock.now().since(start).as_secs_f64();
    let rate = missed as f64 / took;
    assert!((190_000.0..=225_000.0).contains(&rate), "{rate}");
}

/// Reads of a store are counted.
#[derive(Debug)]
struct Counted {
    records: MemoryRecords,
    reads: AtomicUsize,
}

#[async_trait]
impl Recorder for Counted {
    async fn record(&self, session: &SessionId, at: Timestamp, event: &RecordEvent) -> Result<()> {
        self.records.record(session, at, event).await
    }

    fn reach(&self, session: &SessionId) -> Option<RecordReach> {
        self.records.reach(session)
    }
}

#[async_trait]
impl RecordingSource for Counted {
    async fn open(&self, session: &SessionId) -> Result<RecordingStream> {
        self.records.open(session).await
    }
}

#[async_trait]
impl RecordStore for Counted {
    async fn sessions(&self, query: &SessionQuery) -> Result<Vec<SessionSummary>> {
        self.records.sessions(query).await
    }

    async fn session(&self, session: &SessionId) -> Result<SessionSummary> {
        self.records.session(session).await
    }

    async fn commands(&self, query: &CommandQuery) -> Result<Vec<CommandGuess>> {
        self.records.commands(query).await
    }

    async fn events(&self, session: &SessionId) -> Result<EventStream> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.records.events(session).await
    }

    async fn verify(&self, session: &SessionId, head: Option<&Head>) -> Result<Verified> {
        self.records.verify(session, head).await
    }
}

/// The process waits for no onlooker: one that lags falls behind again and again, and would read the
/// record from its beginning each time.
#[tokio::test(start_paused = true)]
async fn an_onlooker_that_lags_reads_the_record_once() {
    let counted = Arc::new(Counted {
        records: MemoryRecords::new(RecordLimits::default()),
        reads: AtomicUsize::new(0),
    });
    let server = server(Some(counted.clone()));
    let mut writer = Raw::open(&server, "/v1/exec", &[]).await;
    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec!["long".into()]);
    writer
        .send(BINARY, &ClientFrame::Open(Box::new(open)).encode())
        .await;
    let session = ready(&mut writer).await.session;
    let mut onlooker = Raw::open(&server, "/v1/exec", &[]).await;
    let mut watch = Open::default();
    (watch.target, watch.mode) = (session, OpenMode::Watch);
    onlooker
        .send(BINARY, &ClientFrame::Open(Box::new(watch)).encode())
        .await;
    ready(&mut onlooker).await;
    // The writer takes everything, the onlooker a window's worth now and then.
    let (mut told, mut gaps, mut got) = (0, Vec::new(), 0);
    for until in (256 << 10..=WHOLE).step_by(256 << 10) {
        (got, _) = take(&mut writer, got, until).await;
        let fast = SystemClock::new();
        loop {
            let next = fast.timeout(Duration::from_secs(1), "output", onlooker.message());
            let Ok(message) = next.await else { break };
            match ServerFrame::decode(message.into()).unwrap() {
                ServerFrame::Output(offset, _, bytes) => {
                    assert_eq!(offset, told);
                    let at = |at: usize| byte(told as usize + at);
                    assert!(bytes.iter().enumerate().all(|(n, is)| *is == at(n)));
                    told += bytes.len() as u64;
                }
                ServerFrame::Gap(from, to, _) => {
                    assert_eq!(from, told);
                    gaps.push((from, to));
                    told = to;
                }
                _ => {}
            }
        }
        onlooker
            .send(BINARY, &ClientFrame::Ack(told).encode())
            .await;
    }
    assert!(gaps.len() > 1, "it lagged: {gaps:?}");
    assert_eq!(counted.reads.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_record_on_disk_is_as_good() {
    on_disk(WhileDetached::Live).await;
    on_disk(WhileDetached::Lossless).await;
}

async fn on_disk(detached: WhileDetached) {
    let directory = tempfile::tempdir().unwrap();
    let records = DirectoryRecords::open(directory.path(), RecordLimits::default()).unwrap();
    let records: Arc<dyn RecordStore> = Arc::new(records);
    let server = waiting(Some(Arc::clone(&records)), detached);
    let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec!["long".into()]);
    raw.send(BINARY, &ClientFrame::Open(Box::new(open)).encode())
        .await;
    let at = ready(&mut raw).await;
    drop(raw);
    server.cut();
    // Until the record is complete: then all but the newest has left the memory.
    let session = longshore_core::SessionId::new(at.session.clone()).unwrap();
    let is_complete = || async {
        let summary = records.session(&session).await;
        summary.is_ok_and(|summary| summary.ended_at.is_some())
    };
    while !is_complete().await {
        SystemClock::new().sleep(Duration::from_millis(20)).await;
    }
    let (mut raw, ready) = back(&server, &at, 0).await;
    assert!(ready.base > 0);
    assert_eq!(take(&mut raw, 0, usize::MAX).await, (WHOLE, Some(4)));
}

#[tokio::test(start_paused = true)]
async fn without_a_record_the_gap_is_told() {
    let server = server(None);
    let at = away(&server).await;
    let (mut raw, ready) = back(&server, &at, 0).await;
    let frame = ServerFrame::decode(raw.message().await.into()).unwrap();
    let ServerFrame::Gap(0, to, _) = frame else {
        panic!("{frame:?}")
    };
    assert_eq!(to, ready.base);
    assert_eq!(
        take(&mut raw, to as usize, usize::MAX).await,
        (WHOLE, Some(4))
    );
}

/// Takes output, which is acknowledged, until the connection is closed or the session's end comes. Gives
/// how far it came before a gap, the reason of the end, and the code of a close.
async fn to_the_end(raw: &mut Raw, mut got: u64) -> (u64, Option<EndReason>, Option<u16>) {
    let mut before = None;
    loop {
        match raw.receive().await {
            Some((BINARY, payload)) => match ServerFrame::decode(payload.into()).unwrap() {
                ServerFrame::Output(offset, _, bytes) => {
                    assert_eq!(offset, got);
                    got += bytes.len() as u64;
                }
                ServerFrame::Gap(from, to, _) => {
                    assert_eq!(from, got);
                    before.get_or_insert(from);
                    got = to;
                }
                ServerFrame::Exit(exit) => {
                    return (before.unwrap_or(got), Some(exit.end.reason), None);
                }
                _ => {}
            },
            Some((CLOSE, payload)) => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                return (before.unwrap_or(got), None, Some(code));
            }
            Some(_) => {}
            None => panic!("the connection ended without a close"),
        }
        raw.send(BINARY, &ClientFrame::Ack(got).encode()).await;
    }
}

/// However much of the record there is still to read.
#[tokio::test(start_paused = true)]
async fn who_is_taken_over_from_is_not_read_the_record_on() {
    let records: Arc<dyn RecordStore> = Arc::new(MemoryRecords::new(RecordLimits::default()));
    let server = waiting(Some(records), WhileDetached::Lossless);
    let at = away(&server).await;
    let (mut old, now) = back(&server, &at, 0).await;
    let (got, _) = take(&mut old, 0, 100_000).await;
    let (mut new, ready) = back(&server, &now, got).await;
    let (told, _, code) = to_the_end(&mut old, got as u64).await;
    assert_eq!(code, Some(4001));
    assert!(told < ready.base / 2, "{told} of {}", ready.base);
    assert_eq!(take(&mut new, got, usize::MAX).await, (WHOLE, Some(4)));
}

#[tokio::test(start_paused = true)]
async fn who_lost_their_leave_is_not_read_the_record_on() {
    let limits = RecordLimits::default().with_bytes(3 << 20, 16 << 30);
    let records: Arc<dyn RecordStore> = Arc::new(MemoryRecords::new(limits));
    let server = waiting(Some(records), WhileDetached::Lossless);
    let at = away(&server).await;
    assert_eq!(end(&server), None, "it waits for room in its record");
    let (mut raw, ready) = back(&server, &at, 0).await;
    let (got, _) = take(&mut raw, 0, 100_000).await;
    let session = longshore_core::SessionId::new(at.session.clone()).unwrap();
    let expired = SessionEnd::new(EndReason::AuthExpired);
    server.hub.end(&session, expired).unwrap();
    let (told, reason, _) = to_the_end(&mut raw, got as u64).await;
    assert_eq!(reason, Some(EndReason::AuthExpired));
    assert!(told < ready.base / 2, "{told} of {}", ready.base);
}

/// The way from the record has a window, too.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_acknowledge_is_not_flooded() {
    let server = server(Some(Arc::new(MemoryRecords::new(RecordLimits::default()))));
    let at = away(&server).await;
    let (mut raw, _) = back(&server, &at, 0).await;
    let mut got = 0;
    loop {
        let next = tokio::time::timeout(Duration::from_secs(5), raw.message()).await;
        let Ok(message) = next else { break };
        if let ServerFrame::Output(_, _, bytes) = ServerFrame::decode(message.into()).unwrap() {
            got += bytes.len();
        }
    }
    assert!((200_000..=320 << 10).contains(&got), "{got}");
    // And goes on where it stopped.
    raw.send(BINARY, &ClientFrame::Ack(got as u64).encode())
        .await;
    assert_eq!(take(&mut raw, got, usize::MAX).await, (WHOLE, Some(4)));
}
