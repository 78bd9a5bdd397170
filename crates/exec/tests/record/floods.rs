//! A flood is recorded in few events, each byte of it in its place.

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{
    ExecRequest, Identity, OsRandom, OutputKind, Shutdown, SystemClock, WorkloadId,
};
use longshore_exec::{
    ScriptedExec,
    record::{MemoryRecords, RecordLimits, RecordStore},
    session::{Launch, OpenRequest, RecordEvent, SessionHub, ViewerEvent},
};

type Told = Vec<(OutputKind, Bytes)>;

/// Runs a program to its end; what was seen, and what was recorded, piece by piece.
async fn run(backend: ScriptedExec) -> (Told, Told) {
    let records = Arc::new(MemoryRecords::new(RecordLimits::default()));
    let web = WorkloadId::new("web").unwrap();
    let hub = SessionHub::new(
        Arc::new(SystemClock::new()),
        Arc::new(OsRandom),
        Shutdown::new(),
    )
    .with_recorder(records.clone());
    let request = OpenRequest::new(
        Arc::new(backend.with_workload(web.clone())),
        Launch::Exec(ExecRequest::new(web, ["program"])),
        Identity::new("ann", "test"),
    );
    let session = hub.open(request).unwrap();
    let mut seen = Told::new();
    loop {
        match session.next().await.unwrap() {
            ViewerEvent::Output {
                offset,
                kind,
                bytes,
            } => {
                session.acknowledge(offset + bytes.len() as u64).unwrap();
                seen.push((kind, bytes));
            }
            ViewerEvent::Ended(_) => break,
            _ => {}
        }
    }
    let id = session.ready().session.clone();
    let mut recorded = Told::new();
    let mut next = 0;
    let mut events = records.events(&id).await.unwrap();
    while let Some(entry) = events.next().await {
        if let RecordEvent::Output {
            offset,
            kind,
            bytes,
        } = entry.unwrap().event
        {
            assert_eq!(offset, next);
            next += bytes.len() as u64;
            recorded.push((kind, bytes));
        }
    }
    (seen, recorded)
}

fn byte_by_byte(told: &Told) -> Vec<(OutputKind, u8)> {
    let all = told.iter();
    all.flat_map(|(kind, bytes)| bytes.iter().map(|byte| (*kind, *byte)))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn what_comes_together_is_recorded_together() {
    let flood = ScriptedExec::new().with_program("program", |process| async move {
        for number in 0..4096u32 {
            process.print(vec![number as u8; 1024]).await;
        }
        0
    });
    let (seen, recorded) = run(flood).await;
    assert_eq!(byte_by_byte(&seen), byte_by_byte(&recorded));
    assert_eq!(byte_by_byte(&seen).len(), 4 << 20);
    assert!(recorded.iter().all(|(_, bytes)| bytes.len() <= 64 << 10));
    assert!(recorded.len() <= 2048, "{} events", recorded.len());
}

#[tokio::test(start_paused = true)]
async fn outputs_keep_their_order_where_they_take_turns() {
    let turns = ScriptedExec::new().with_program("program", |process| async move {
        for number in 0..500usize {
            let bytes = vec![number as u8; 1 + number % 300];
            match number % 3 {
                0 => process.print_error(bytes).await,
                _ => process.print(bytes).await,
            }
        }
        7
    });
    let (seen, recorded) = run(turns).await;
    assert_eq!(byte_by_byte(&seen), byte_by_byte(&recorded));
    let expected: Vec<_> = (0..500usize)
        .flat_map(|number| {
            let kind = match number % 3 {
                0 => OutputKind::Stderr,
                _ => OutputKind::Stdout,
            };
            vec![(kind, number as u8); 1 + number % 300]
        })
        .collect();
    assert_eq!(byte_by_byte(&seen), expected);
}
