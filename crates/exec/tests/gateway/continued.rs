//! Output that is not in memory any more comes from the session's record.

use std::{sync::Arc, time::Duration};

use longshore_core::{ClockExt, SystemClock};
use longshore_exec::{
    ScriptedExec,
    access::{AnybodyMay, StaticDirectory},
    gateway::GatewayOptions,
    protocol::native::{ClientFrame, Open, ReadyFrame, Resume, ServerFrame},
    record::{DirectoryRecords, MemoryRecords, RecordLimits, RecordStore},
    session::{SessionOptions, WhileDetached},
};

use crate::{
    raw::{BINARY, Raw},
    server::{Server, id},
};

const WHOLE: usize = 3 << 20;

/// What the program prints, byte by byte.
fn byte(at: usize) -> u8 {
    (at / 3 % 251) as u8
}

fn server(records: Option<Arc<dyn RecordStore>>) -> Arc<Server> {
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
        .with_detached(WhileDetached::Live);
    let options = GatewayOptions::default().with_session(session);
    let recorder = records.clone();
    Server::with_hub(
        StaticDirectory::new().with_engine(Arc::new(exec)),
        options,
        |hub| match recorder {
            Some(recorder) => hub.with_recorder(recorder),
            None => hub,
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
    let mut raw = Raw::open(server, "/v1/exec", &[]).await;
    let mut open = Open::default();
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

async fn check(records: Arc<dyn RecordStore>) {
    let server = server(Some(records));
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
    check(Arc::new(MemoryRecords::new(RecordLimits::default()))).await;
}

#[tokio::test]
async fn a_record_on_disk_is_as_good() {
    let directory = tempfile::tempdir().unwrap();
    let records = DirectoryRecords::open(directory.path(), RecordLimits::default()).unwrap();
    let records: Arc<dyn RecordStore> = Arc::new(records);
    let server = server(Some(Arc::clone(&records)));
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
