//! LAIN's replay: one's own time, silence, and leave that ends.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use longshore_core::{Access, Error, ErrorKind, Identity, OutputKind, Result, SessionId};
use longshore_exec::{
    access::{AccessControl, AccessRequest, Admission, AnybodyMay, StaticDirectory},
    gateway::GatewayOptions,
    session::{RecordedOutput, RecordingSource, RecordingStream},
};

use crate::{
    raw::{BINARY, CLOSE, PING, Raw},
    server::Server,
};

#[derive(Debug)]
struct Tape;

#[async_trait]
impl RecordingSource for Tape {
    async fn open(&self, session: &SessionId) -> Result<RecordingStream> {
        if !["7", "long"].contains(&session.as_str()) {
            return Err(Error::not_found("no such recording"));
        }
        let piece = |at, kind, text: &'static [u8]| {
            let at = Duration::from_millis(at);
            Ok(RecordedOutput {
                at,
                kind,
                bytes: Bytes::from_static(text),
            })
        };
        let pieces = vec![
            piece(0, OutputKind::Stdout, b"$ \xe6\x97"),
            piece(12_000, OutputKind::Stdout, b"\xa5"),
            piece(12_500, OutputKind::Stderr, b"x"),
        ];
        let pieces = futures::stream::iter(pieces);
        Ok(match session.as_str() {
            "7" => Box::pin(pieces),
            // It goes on and on.
            _ => Box::pin(futures::StreamExt::chain(
                pieces,
                futures::stream::pending(),
            )),
        })
    }
}

fn server(access: impl AccessControl) -> Arc<Server> {
    Server::new(
        StaticDirectory::new(),
        GatewayOptions::default(),
        |gateway| {
            gateway
                .with_access(Arc::new(access))
                .with_recordings(Arc::new(Tape))
        },
    )
}

const COOKIE: [(&str, &str); 1] = [("Cookie", "a=b; access_token=t")];

fn content(message: &[u8]) -> (u64, String) {
    let message: serde_json::Value = serde_json::from_slice(message).unwrap();
    let content = STANDARD
        .decode(message["content"].as_str().unwrap())
        .unwrap();
    let kind = message
        .get("msgType")
        .and_then(serde_json::Value::as_u64)
        .unwrap_or_default();
    (kind, String::from_utf8(content).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_recording_is_replayed_in_its_own_time() {
    let server = server(AnybodyMay);
    let mut raw = Raw::open(&server, "/api/sessions/7/replay", &COOKIE).await;
    let mut told = Vec::new();
    loop {
        let (kind, content) = content(&raw.message().await);
        told.push((kind, content));
        if kind == 2 {
            break;
        }
    }
    let expected = [
        (0, "$ "),
        (3, "ping"),
        // The character that was cut in two is one again.
        (0, "日"),
        (1, "x"),
        (2, "\x1b[32m>>> Session replay done.\x1b[0m"),
    ];
    assert_eq!(told, expected.map(|(kind, text)| (kind, text.to_owned())));
    assert_eq!(raw.closed().await.0, 1000);
    let mut raw = Raw::open(&server, "/api/sessions/8/replay", &COOKIE).await;
    let failed = "\x1b[31m>>> Replay session failed, please try again.\x1b[0m";
    assert_eq!(content(&raw.message().await), (2, failed.to_owned()));
}

/// A pause is shortened, and then shown faster.
#[tokio::test(start_paused = true)]
async fn a_recording_is_replayed_at_another_pace() {
    let server = server(AnybodyMay);
    for (query, millis) in [
        ("speed=2", 6250),
        ("idle=1", 1500),
        ("idle=1&speed=10", 150),
    ] {
        let start = server.clock.now();
        let path = format!("/api/sessions/7/replay?{query}");
        let mut raw = Raw::open(&server, &path, &COOKIE).await;
        while content(&raw.message().await).0 != 2 {}
        let took = server.clock.now().since(start);
        let expected = Duration::from_millis(millis);
        assert!(
            took >= expected && took < expected + Duration::from_millis(20),
            "{query}: {took:?}"
        );
    }
    for query in ["speed=0", "speed=fast", "idle=-1", "format=asciicast"] {
        let path = format!("/api/sessions/7/replay?{query}");
        let mut raw = Raw::open(&server, &path, &COOKIE).await;
        let (kind, text) = content(&raw.message().await);
        assert!(kind == 2 && text.contains("failed"), "{query}: {text}");
    }
}

/// Fault 5, of replays too.
#[tokio::test(start_paused = true)]
async fn a_replay_ends_when_its_client_falls_silent() {
    let server = server(AnybodyMay);
    let mut raw = Raw::open(&server, "/api/sessions/long/replay", &COOKIE).await;
    let start = server.clock.now();
    let (mut answered, mut pings) = (start, 0);
    loop {
        match raw.receive().await {
            Some((PING, _)) if pings < 9 => {
                (answered, pings) = (server.clock.now(), pings + 1);
                raw.answers = pings < 9;
            }
            Some((PING, _)) => {}
            Some((BINARY, _)) => {}
            Some((opcode, _)) => panic!("opcode {opcode}"),
            None => break,
        }
    }
    let silent = server.clock.now().since(answered);
    assert_eq!(answered.since(start).as_secs(), 90, "it lived on");
    assert_eq!(silent.as_secs(), 35, "{silent:?}");
}

/// Gives leave for a minute, so many times.
#[derive(Debug)]
struct Times(Arc<AtomicUsize>);

#[async_trait]
impl AccessControl for Times {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        assert_eq!(request.credentials.token.as_deref(), Some("t"));
        let left = self.0.load(Ordering::Relaxed);
        if left == 0 {
            return Err(Error::new(ErrorKind::PermissionDenied, "revoked"));
        }
        self.0.store(left - 1, Ordering::Relaxed);
        let mut access = Access::default();
        access.valid_for = Some(Duration::from_secs(60));
        Ok(Admission::new(Identity::new("ann", "token")).with_access(access))
    }
}

/// Fault 15, of replays too.
#[tokio::test(start_paused = true)]
async fn a_replay_ends_when_leave_does() {
    let times = Arc::new(AtomicUsize::new(3));
    let server = server(Times(Arc::clone(&times)));
    let start = server.clock.now();
    let mut raw = Raw::open(&server, "/api/sessions/long/replay", &COOKIE).await;
    loop {
        let (kind, content) = content(&raw.message().await);
        assert!(server.clock.now().since(start) < Duration::from_secs(600));
        if kind == 2 {
            assert_eq!(content, "\x1b[31m>>> Authorization failed.\x1b[0m");
            break;
        }
    }
    let watched = server.clock.now().since(start);
    assert_eq!(
        watched.as_secs(),
        180,
        "asked when it ran out, twice with success"
    );
    let Some((CLOSE, close)) = raw.receive().await else {
        panic!("no close");
    };
    assert_eq!(close[..2], 1000u16.to_be_bytes());
}
