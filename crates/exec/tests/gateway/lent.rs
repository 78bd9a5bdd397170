//! While the right to write is lent, the session is still its owner's: what they missed waits for them.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{
    ClockExt, ErrorKind, ExecSession, OsRandom, Random, SeededRandom, SystemClock,
};
use longshore_exec::{
    ScriptedExec,
    access::StaticDirectory,
    client::{ClientOptions, RemoteExec},
    gateway::GatewayOptions,
    protocol::native::Open,
    record::{MemoryRecords, RecordLimits},
    session::SessionOptions,
};
use tokio::io::AsyncWriteExt;

use crate::server::{Server, Wire, id};

const PIECES: u64 = 1500;
const PIECE: usize = 4 << 10;

fn noise(seed: u64) -> Vec<u8> {
    let mut piece = vec![0; PIECE];
    SeededRandom::new(seed).fill(&mut piece);
    piece
}

/// Prints 6 MiB as fast as it may, and then what it has read meanwhile.
fn program() -> ScriptedExec {
    ScriptedExec::new()
        .with_workload(id("web"))
        .with_program("noise", |mut process| async move {
            let mut read = process.read(1).await.unwrap_or_default().to_vec();
            for seed in 0..PIECES {
                process.print(noise(seed)).await;
                if seed % 100 == 99 {
                    read.extend(process.read(1).await.unwrap_or_default());
                }
            }
            process.print(read).await;
            process.read(1).await;
            0
        })
}

/// The owner is cut again and again, for longer and longer, and reads slowly; whoever has the keyboard
/// is not cut.
async fn an_owner_loses_nothing(server: Arc<Server>, seed: u64) {
    let client = |server: Arc<Server>| {
        let clock = Arc::clone(&server.clock);
        let options = ClientOptions::default();
        RemoteExec::new(Arc::new(Wire(server)), options, clock, Arc::new(OsRandom))
    };
    let mut open = Open::default();
    (open.target, open.argv, open.stdin) = ("web".into(), vec!["noise".into()], true);
    let ann = client(Arc::clone(&server)).open(open).await.unwrap();
    let mut typing = ann.take_input().unwrap();
    typing.write_all(b"a").await.unwrap();
    let mut output = ann.take_output().unwrap();
    // Through a way of its own.
    let other = Arc::new(server.beside());
    let bob = client(other).approve(ann.id()).await.unwrap();
    let bob_is = loop {
        let company = ann.company();
        match company.people.iter().find(|it| !it.is_you) {
            Some(bob) => break bob.connection,
            None => SystemClock::new().sleep(Duration::from_millis(1)).await,
        }
    };
    ann.grant(bob_is).await.unwrap();
    let mut shown = bob.take_output().unwrap();
    let mut keyboard = bob.take_input().unwrap();
    let types = tokio::spawn(async move {
        for key in 0..PIECES / 100 {
            keyboard
                .write_all(&[b'b' + (key % 20) as u8])
                .await
                .unwrap();
        }
        let mut seen = 0;
        while let Some(Ok(piece)) = shown.next().await {
            seen += piece.bytes.len();
        }
        (bob, keyboard, seen)
    });
    let random = SeededRandom::new(seed);
    let whole = PIECES as usize * PIECE + 1 + (PIECES / 100) as usize;
    let (mut seen, mut next_cut, mut cuts, mut dialled) = (Vec::new(), 10_000, 0, 0);
    while seen.len() < whole {
        let piece = output.next().await.expect("the session goes on");
        seen.extend_from_slice(&piece.expect("nothing is missed").bytes);
        // It reads slowly, too.
        SystemClock::new().sleep(Duration::from_millis(5)).await;
        // What it had before the cut still comes behind it.
        if seen.len() > next_cut && server.dialled() > dialled {
            dialled = server.dialled();
            let away = Duration::from_millis(random.next_u64() % 3000);
            server.cut_for(away).await;
            cuts += 1;
            next_cut = seen.len() + (random.next_u64() % 40_000) as usize;
        }
    }
    assert!(cuts > 10, "{cuts}");
    let mut expected: Vec<u8> = (0..PIECES).flat_map(noise).collect();
    expected.push(b'a');
    expected.extend((0..PIECES / 100).map(|key| b'b' + (key % 20) as u8));
    assert!(seen == expected, "{} bytes", seen.len());
    // It is the owner's again, and the input goes on where it is.
    while let Err(error) = ann.take_back().await {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        SystemClock::new().sleep(Duration::from_millis(100)).await;
    }
    typing.write_all(b"q").await.unwrap();
    assert_eq!(ann.ended().await.unwrap().code, Some(0));
    types.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_owner_who_is_cut_while_another_types_misses_nothing() {
    for seed in 0..3 {
        let options = SessionOptions::default()
            .with_log(64 << 10)
            .with_bandwidth(400_000);
        let directory = StaticDirectory::new().with_engine(Arc::new(program()));
        let options = GatewayOptions::default().with_session(options);
        an_owner_loses_nothing(Server::open(directory, options), seed).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_such_an_owner_missed_comes_from_the_record() {
    let records = Arc::new(MemoryRecords::new(RecordLimits::default()));
    let options = SessionOptions::default()
        .with_log(64 << 10)
        .with_bandwidth(400_000);
    let directory = StaticDirectory::new().with_engine(Arc::new(program()));
    let recorder = records.clone();
    let server = Server::with_hub(
        directory,
        GatewayOptions::default().with_session(options),
        |hub| hub.with_recorder(recorder),
        |gateway| {
            gateway
                .with_access(Arc::new(longshore_exec::access::AnybodyMay))
                .with_records(records)
        },
    );
    an_owner_loses_nothing(server, 9).await;
}
