//! A client that is cut off again and again misses and repeats no byte.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{
    ClockExt, ExecBackend, ExecRequest, ExecSession, Random, SeededRandom, SystemClock,
};
use longshore_exec::{ScriptedExec, protocol::native::Open, session::EndReason};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::server::{Server, id};

/// Bytes of a seeded sequence.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut piece = vec![0; bytes];
    SeededRandom::new(seed).fill(&mut piece);
    piece
}

const PIECES: u64 = 3200;
const PIECE: usize = 16 << 10;
const TYPED: usize = 2 << 20;

/// Prints 50 MiB and reads 2 MiB at the same time; in the end it prints what it has read, as a hash.
fn program() -> ScriptedExec {
    ScriptedExec::new()
        .with_workload(id("web"))
        .with_program("both", |mut process| async move {
            let mut read = Sha256::new();
            let mut bytes = 0;
            for piece in 0..PIECES {
                process.print(noise(piece, PIECE)).await;
                if bytes < TYPED
                    && let Some(input) = process.read(usize::MAX).await
                {
                    bytes += input.len();
                    read.update(&input);
                }
            }
            while let Some(input) = process.read(usize::MAX).await {
                read.update(&input);
            }
            process.print(format!("{:x}", read.finalize())).await;
            5
        })
}

#[tokio::test(start_paused = true)]
async fn a_hundred_cuts_lose_and_double_nothing() {
    let server = Server::over(Arc::new(program()));
    let session = server
        .client()
        .exec(&ExecRequest::new(id("web"), ["both"]).with_stdin())
        .await
        .unwrap();
    let mut input = session.take_input().unwrap();
    let mut output = session.take_output().unwrap();
    let typed = noise(99, TYPED);
    let expected_read = format!("{:x}", Sha256::digest(&typed));
    tokio::spawn(async move {
        for piece in typed.chunks(1000) {
            input.write_all(piece).await.unwrap();
        }
        input.shutdown().await.unwrap();
    });
    let mut expected = Sha256::new();
    for piece in 0..PIECES {
        expected.update(noise(piece, PIECE));
    }
    let whole = PIECES * PIECE as u64;
    let random = SeededRandom::new(7);
    let mut next_cut = 100_000;
    let (mut got, mut seen, mut tail) = (0u64, Sha256::new(), Vec::new());
    let mut cuts = 0;
    while let Some(piece) = output.next().await {
        for part in piece.unwrap().bytes.chunks(1) {
            if got < whole {
                seen.update(part);
            } else {
                tail.extend_from_slice(part);
            }
            got += 1;
        }
        if got > next_cut && cuts < 100 {
            // Output that the user has not taken is on the client's side when the cut comes.
            SystemClock::new().sleep(Duration::from_millis(1)).await;
            cuts += usize::from(server.cut());
            next_cut = got + random.next_u64() % (whole / 110);
        }
    }
    assert_eq!(cuts, 100);
    assert!(server.dialled() > 90, "{}", server.dialled());
    assert_eq!(seen.finalize(), expected.finalize(), "the output");
    assert_eq!(String::from_utf8(tail).unwrap(), expected_read, "the input");
    assert_eq!(session.wait().await.unwrap().code, Some(5));
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    let left = server.hub.sessions();
    assert!(left.is_empty(), "the end was heard and said so: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_was_away_learns_the_end() {
    let server = Server::over(Arc::new(program().with_program(
        "late",
        |process| async move {
            process.print("soon").await;
            SystemClock::new().sleep(Duration::from_secs(20)).await;
            process.print("now").await;
            9
        },
    )));
    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec!["late".into()]);
    let session = server.client().open(open).await.unwrap();
    let mut output = session.take_output().unwrap();
    assert_eq!(output.next().await.unwrap().unwrap().bytes, "soon");
    server.cut();
    assert_eq!(output.next().await.unwrap().unwrap().bytes, "now");
    let end = session.ended().await.unwrap();
    assert_eq!((end.reason, end.code), (EndReason::Exited, Some(9)));
}

#[tokio::test(start_paused = true)]
async fn a_client_gives_up_in_the_end() {
    let server = Server::scripted();
    let session = server
        .client()
        .exec(&ExecRequest::new(id("web"), ["forever"]))
        .await
        .unwrap();
    let start = server.clock.now();
    // A shutdown closes sessions; their connections say so.
    server.shutdown.trigger();
    let status = session.wait().await.unwrap();
    assert_eq!(status.reason.as_deref(), Some("server-shutdown"));
    assert!(server.clock.now().since(start) < Duration::from_secs(60));
}
