//! The Docker engine against servers that misbehave, and what it makes of them.

#![cfg(feature = "docker")]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use longshore_core::{
    Clock, Engine, ErrorKind, LogOptions, OutputKind, SystemClock, WorkloadId, WorkloadSpec,
    testkit::ManualClock,
};
use longshore_engine::{DockerEngine, ServiceConnector};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A server that answers each request by its first line, and remembers those.
#[derive(Clone, Default)]
struct Script {
    seen: Arc<Mutex<Vec<String>>>,
    connections: Arc<AtomicUsize>,
}

impl Script {
    /// `answers`: a part of a request's line, and the whole answer to it; what nothing fits to is
    /// never answered.
    fn engine(&self, answers: &[(&'static str, &[u8])], clock: Arc<dyn Clock>) -> DockerEngine {
        let answers: Vec<(&'static str, Vec<u8>)> = answers
            .iter()
            .map(|(part, answer)| (*part, answer.to_vec()))
            .collect();
        let (answers, seen) = (Arc::new(answers), Arc::clone(&self.seen));
        let connections = Arc::clone(&self.connections);
        let connector = ServiceConnector::new("script", move |mut stream| {
            connections.fetch_add(1, Ordering::Relaxed);
            let (answers, seen) = (Arc::clone(&answers), Arc::clone(&seen));
            async move {
                let mut read = Vec::new();
                while let Ok(1..) = stream.read_buf(&mut read).await {
                    let text = String::from_utf8_lossy(&read).into_owned();
                    let Some(head) = text.find("\r\n\r\n") else {
                        continue;
                    };
                    let length = text[..head]
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length: "))
                        .map_or(0, |length| length.parse::<usize>().unwrap());
                    if read.len() < head + 4 + length {
                        continue;
                    }
                    read.clear();
                    let line = text.lines().next().unwrap().to_owned();
                    seen.lock().unwrap().push(line.clone());
                    let Some((_, answer)) = answers.iter().find(|(part, _)| line.contains(part))
                    else {
                        std::future::pending::<()>().await;
                        return;
                    };
                    stream.write_all(answer).await.unwrap();
                    if answer.starts_with(b"HTTP/1.0") || !answer.starts_with(b"HTTP/") {
                        return;
                    }
                }
            }
        });
        DockerEngine::new(Arc::new(connector), clock).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn json(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn version() -> Vec<u8> {
    json("200 OK", r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#)
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

fn id() -> WorkloadId {
    WorkloadId::new(ID).unwrap()
}

const ID: &str = "abcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabcabca";

#[tokio::test]
async fn every_request_carries_the_version_agreed_on_once() {
    let script = Script::default();
    let engine = script.engine(
        &[
            ("GET /version ", &version()),
            ("/_ping", &json("200 OK", "OK")),
            ("/start", b"HTTP/1.1 204 No Content\r\n\r\n"),
            ("/containers/json", &json("200 OK", "[]")),
        ],
        clock(),
    );
    engine.ping().await.unwrap();
    engine.start(&id()).await.unwrap();
    engine
        .list(&longshore_core::ListFilter::all())
        .await
        .unwrap();
    assert_eq!(
        script.lines(),
        [
            "GET /version HTTP/1.1",
            "GET /v1.41/_ping HTTP/1.1",
            &format!("POST /v1.41/containers/{ID}/start HTTP/1.1"),
            "GET /v1.41/containers/json?all=1 HTTP/1.1",
        ]
    );
}

#[tokio::test]
async fn both_ways_of_calling_share_their_connections() {
    let script = Script::default();
    let state = json("200 OK", &format!(r#"{{"Id":"{ID}"}}"#));
    let engine = script.engine(
        &[
            ("GET /version ", &version()),
            ("/_ping", &json("200 OK", "OK")),
            ("/json", &state),
        ],
        clock(),
    );
    for _ in 0..20 {
        engine.ping().await.unwrap();
        engine.inspect(&id()).await.unwrap();
        // A connection is free again a moment after its answer was read.
        tokio::task::yield_now().await;
    }
    let opened = script.connections.load(Ordering::Relaxed);
    assert!(opened <= 3, "{opened} connections for 40 calls");
}

#[tokio::test]
async fn a_version_refused_is_agreed_on_anew() {
    let script = Script::default();
    let too_new = json(
        "400 Bad Request",
        r#"{"message":"client version 1.41 is too new"}"#,
    );
    let engine = script.engine(&[("GET /version ", &version()), ("/", &too_new)], clock());
    for _ in 0..2 {
        let error = engine.ping().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.is_retryable());
    }
    let asked = script
        .lines()
        .iter()
        .filter(|line| line.contains("/version"))
        .count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_told_as_such_by_every_call() {
    let old = json("200 OK", r#"{"ApiVersion":"1.18"}"#);
    let engine = Script::default().engine(&[("GET /version ", &old)], clock());
    let typed = engine.info().await.unwrap_err();
    let own = engine.ping().await.unwrap_err();
    for error in [typed, own] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(
            error.message().contains("Docker API 1.18 at most"),
            "{error}"
        );
        assert_eq!(error.backend(), Some("docker"));
        assert_eq!(error.context("engine"), Some("memory://script"));
    }
}

#[tokio::test]
async fn an_engine_that_hangs_is_given_up_by_the_injected_clock() {
    let time = ManualClock::default();
    let engine = Script::default().engine(&[("GET /version ", &version())], Arc::new(time.clone()));
    let call = tokio::spawn(async move { engine.inspect(&id()).await });
    while !call.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
        time.advance(Duration::from_secs(1));
    }
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error:?}");
    assert_eq!(error.operation(), Some("engine.inspect"));
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    let engine = Script::default().engine(&[("/", b"SSH-2.0-OpenSSH\r\n")], clock());
    assert_eq!(engine.ping().await.unwrap_err().kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn an_answer_cut_short_is_unavailable() {
    let cut = b"HTTP/1.0 200 OK\r\nContent-Length: 100\r\n\r\n[{\"Id\":";
    let engine =
        Script::default().engine(&[("GET /version ", &version()), ("/json", cut)], clock());
    let list = engine.list(&longshore_core::ListFilter::all()).await;
    assert_eq!(list.unwrap_err().kind(), ErrorKind::Unavailable);
    let inspect = engine.inspect(&id()).await;
    assert_eq!(inspect.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_log_that_ends_within_a_frame_is_an_error_after_its_bytes() {
    let mut log = b"HTTP/1.0 200 OK\r\n\r\n".to_vec();
    log.extend_from_slice(b"\x01\0\0\0\0\0\0\x02ok\x02\0\0\0\0\0\0\x09cut");
    let state = json(
        "200 OK",
        &format!(r#"{{"Id":"{ID}","Config":{{"Tty":false}}}}"#),
    );
    let engine = Script::default().engine(
        &[
            ("GET /version ", &version()),
            ("/json", &state),
            ("/logs", &log),
        ],
        clock(),
    );
    let mut chunks = engine.logs(&id(), &LogOptions::default()).await.unwrap();
    let mut read = Vec::new();
    let end = loop {
        match chunks.try_next().await {
            Ok(Some(chunk)) => read.push((chunk.kind, chunk.bytes)),
            other => break other,
        }
    };
    assert_eq!(read[0], (OutputKind::Stdout, "ok".into()));
    assert_eq!(read[1], (OutputKind::Stderr, "cut".into()));
    assert_eq!(end.unwrap_err().kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_container_that_never_ran_has_no_false_success() {
    let state = json(
        "200 OK",
        &format!(r#"{{"Id":"{ID}","State":{{"Status":"created","ExitCode":0}}}}"#),
    );
    let engine = Script::default().engine(
        &[
            ("GET /version ", &version()),
            ("/wait", &json("200 OK", r#"{"StatusCode":0}"#)),
            ("/json", &state),
        ],
        clock(),
    );
    assert_eq!(engine.wait(&id()).await.unwrap().code, None);
}

#[tokio::test]
async fn a_missing_image_is_not_found_in_dockers_words() {
    let missing = json(
        "404 Not Found",
        r#"{"message":"No such image: nope:latest"}"#,
    );
    let engine = Script::default().engine(
        &[
            ("GET /version ", &version()),
            ("/containers/create", &missing),
        ],
        clock(),
    );
    let error = engine.create(&WorkloadSpec::new("nope")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.message(), "No such image: nope:latest");
    assert_eq!(error.operation(), Some("engine.create"));
}

#[cfg(unix)]
#[tokio::test]
async fn a_reason_given_by_the_stream_is_the_calls() {
    use longshore_engine::{ConnectOptions, connect};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut tcp, _)) = listener.accept().await {
            let _ = tcp.read(&mut [0; 1024]).await;
            let _ = tcp.write_all(b"\x15\x03\x01\0\x02\x02\x46").await;
        }
    });
    let connector = connect(&address.to_string(), &ConnectOptions::new()).unwrap();
    let engine = DockerEngine::new(connector, clock()).unwrap();
    let (typed, own) = (
        engine.info().await.unwrap_err(),
        engine.ping().await.unwrap_err(),
    );
    for error in [typed, own] {
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert!(error.message().contains("speaks TLS"), "{error}");
    }
}
