//! The Docker engine against engines that mean harm: what they send is bounded.

#![cfg(feature = "docker")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use longshore_core::{
    Engine, Error, ErrorKind, ListFilter, RemoveOptions, Result, Signal, SystemClock, WorkloadId,
    WorkloadSpec,
};
use longshore_engine::{DockerEngine, ServiceConnector};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// An engine that answers every request but the first, for its version, without an end. Says how
/// many bytes of such answers were taken from it.
fn endless(status: &'static str, beginning: &'static str) -> (DockerEngine, Arc<AtomicU64>) {
    let sent = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&sent);
    let connector = ServiceConnector::new("endless", move |mut stream| {
        let count = Arc::clone(&count);
        async move {
            let mut request = vec![0; 64 << 10];
            let mut length = stream.read(&mut request).await.unwrap_or(0);
            if request[..length].starts_with(b"GET /version ") {
                let body = r#"{"ApiVersion":"1.41"}"#;
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                let _ = stream.write_all((head + body).as_bytes()).await;
                length = stream.read(&mut request).await.unwrap_or(0);
            }
            if length == 0 {
                return;
            }
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n\
                 Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{beginning}\r\n",
                beginning.len()
            );
            let _ = stream.write_all(head.as_bytes()).await;
            let chunk = [b"4000\r\n".to_vec(), vec![b'A'; 0x4000], b"\r\n".to_vec()].concat();
            // Far above every limit: an engine that is never cut off ends the test as well.
            while count.load(Ordering::Relaxed) < 200 << 20 {
                if stream.write_all(&chunk).await.is_err() {
                    return;
                }
                count.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        }
    });
    let clock = Arc::new(SystemClock::new());
    (DockerEngine::new(Arc::new(connector), clock).unwrap(), sent)
}

fn id() -> WorkloadId {
    WorkloadId::new("a".repeat(64)).unwrap()
}

async fn cut_off<T>(
    what: &str,
    beginning: &'static str,
    largest: u64,
    call: impl AsyncFn(DockerEngine) -> Result<T>,
) {
    for status in ["200 OK", "500 Internal Server Error"] {
        let (engine, sent) = endless(status, beginning);
        let error: Error = call(engine).await.err().expect("an endless answer");
        let sent = sent.load(Ordering::Relaxed);
        // What is on its way in buffers comes on top.
        assert!(
            sent <= largest + (1 << 20),
            "{what}: {sent} bytes were read"
        );
        if status.starts_with("200") {
            assert_eq!(
                error.kind(),
                ErrorKind::ResourceExhausted,
                "{what}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn no_answer_is_read_without_an_end() {
    let mib = |count: u64| count << 20;
    let change = mib(1);
    cut_off("info", "{\"ID\":\"", mib(2), async |engine| {
        engine.info().await
    })
    .await;
    cut_off("ping", " ", mib(1), async |engine| engine.ping().await).await;
    cut_off("inspect", "{\"Id\":\"", mib(2), async |engine| {
        engine.inspect(&id()).await
    })
    .await;
    cut_off("images", "[{\"Id\":\"", mib(16), async |engine| {
        engine.images().await
    })
    .await;
    cut_off("list", "[{\"Id\":\"", mib(16), async |engine| {
        engine.list(&ListFilter::all()).await
    })
    .await;
    cut_off("stats", "{\"read\":\"", mib(1), async |engine| {
        engine.stats(&id()).await
    })
    .await;
    cut_off("wait", "{\"StatusCode\":\"", mib(1), async |engine| {
        engine.wait(&id()).await
    })
    .await;
    cut_off("create", "{\"Id\":\"", change, async |engine| {
        engine.create(&WorkloadSpec::new("busybox")).await
    })
    .await;
    cut_off("logs", "{\"Id\":\"", mib(2), async |engine| {
        let options = longshore_core::LogOptions::default();
        engine.logs(&id(), &options).await.map(drop)
    })
    .await;
}

/// Calls without a body in their answer need not read it; refusals come with one.
#[tokio::test]
async fn the_words_of_a_refusal_are_bounded() {
    let name = "a".parse().unwrap();
    let calls: [(&str, _); 5] = [
        ("start", 0_u8),
        ("stop", 1),
        ("kill", 2),
        ("remove", 3),
        ("rename", 4),
    ];
    for (what, call) in calls {
        let (engine, sent) = endless("409 Conflict", "{\"message\":\"");
        let (engine, id) = (&engine, &id());
        let call = match call {
            0 => engine.start(id).boxed(),
            1 => engine.stop(id, Duration::ZERO).boxed(),
            2 => engine.kill(id, Signal::KILL).boxed(),
            3 => engine.remove(id, RemoveOptions::default()).boxed(),
            _ => engine.rename(id, &name).boxed(),
        };
        call.await.unwrap_err();
        let sent = sent.load(Ordering::Relaxed);
        assert!(sent <= 2 << 20, "{what}: {sent} bytes were read");
    }
}
