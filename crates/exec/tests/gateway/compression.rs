//! Compressed output, where both sides want it.

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{ClockExt, ExecBackend, ExecRequest, OsRandom, SystemClock};
use longshore_exec::{
    ScriptedExec,
    access::{AnybodyMay, StaticDirectory},
    client::{ClientOptions, RemoteExec},
    gateway::GatewayOptions,
    protocol::native::{ClientFrame, Open, ServerFrame},
};
use sha2::{Digest, Sha256};

use crate::{
    raw::{BINARY, Raw},
    server::{Server, Wire, id},
};

const LINES: usize = 60_000;

fn line(number: usize) -> String {
    format!("{number} packets were sent, and {number} came back from the other side\n")
}

fn server(options: GatewayOptions) -> Arc<Server> {
    let exec =
        ScriptedExec::new()
            .with_workload(id("web"))
            .with_program("lines", |process| async move {
                for number in 0..LINES {
                    process.print(line(number)).await;
                }
                3
            });
    let directory = StaticDirectory::new().with_engine(Arc::new(exec));
    Server::new(directory, options, |gateway| {
        gateway.with_access(Arc::new(AnybodyMay))
    })
}

/// Bytes of the process, bytes of OUTPUT and PACKED frames, and how many of the latter there were.
async fn carried(options: GatewayOptions, compress: bool) -> (usize, usize, usize) {
    let both = compress && options.compression;
    let server = server(options);
    let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec!["lines".into()]);
    open.compress = compress;
    raw.send(BINARY, &ClientFrame::Open(Box::new(open)).encode())
        .await;
    let (mut bytes, mut wire, mut packed) = (0, 0, 0);
    loop {
        let message = raw.message().await;
        let length = message.len();
        match ServerFrame::decode(message.into()).unwrap() {
            ServerFrame::Ready(ready) => {
                let told = ready.caps.iter().any(|cap| cap == "deflate");
                assert_eq!(told, both);
            }
            ServerFrame::Output(_, _, piece) => {
                (bytes, wire) = (bytes + piece.len(), wire + length);
            }
            ServerFrame::Packed(offset, _, piece, _) => {
                assert_eq!(
                    offset as usize, bytes,
                    "offsets count what the process wrote"
                );
                (bytes, wire, packed) = (bytes + piece as usize, wire + length, packed + 1);
            }
            ServerFrame::Exit(exit) => {
                assert_eq!(exit.out_len as usize, bytes);
                return (bytes, wire, packed);
            }
            _ => continue,
        }
        raw.send(BINARY, &ClientFrame::Ack(bytes as u64).encode())
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn output_is_compressed_only_where_both_sides_want_it() {
    let expected: usize = (0..LINES).map(|number| line(number).len()).sum();
    let on = || GatewayOptions::default().with_compression();
    for (options, asks) in [
        (GatewayOptions::default(), true),
        (GatewayOptions::default(), false),
        (on(), false),
    ] {
        let (bytes, wire, packed) = carried(options, asks).await;
        assert_eq!((bytes, packed), (expected, 0));
        assert!(wire > expected);
    }
    let (bytes, wire, packed) = carried(on(), true).await;
    assert_eq!(bytes, expected);
    assert!(packed > 0 && wire * 3 < bytes, "{wire} of {bytes} bytes");
}

#[tokio::test(start_paused = true)]
async fn compressed_sessions_survive_cuts() {
    let server = server(GatewayOptions::default().with_compression());
    let client = RemoteExec::new(
        Arc::new(Wire(Arc::clone(&server))),
        ClientOptions::default().with_compression(),
        Arc::clone(&server.clock),
        Arc::new(OsRandom),
    );
    let session = client
        .exec(&ExecRequest::new(id("web"), ["lines"]))
        .await
        .unwrap();
    let mut output = session.take_output().unwrap();
    let (mut seen, mut got, mut cuts) = (Sha256::new(), 0, 0);
    while let Some(piece) = output.next().await {
        let bytes = piece.unwrap().bytes;
        got += bytes.len();
        seen.update(&bytes);
        if got > cuts * 100_000 {
            SystemClock::new().sleep(Duration::from_millis(1)).await;
            cuts += usize::from(server.cut());
        }
    }
    let expected = (0..LINES).fold(Sha256::new(), |all, number| all.chain_update(line(number)));
    assert_eq!(seen.finalize(), expected.finalize());
    assert_eq!(session.wait().await.unwrap().code, Some(3));
    assert!(cuts >= 20 && server.dialled() > 20, "{cuts} cuts");
}
