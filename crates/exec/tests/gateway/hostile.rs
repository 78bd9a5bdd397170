//! Clients that break the rules get a close with a reason, and nobody else notices.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use longshore_core::{ClockExt, Random, SeededRandom, SystemClock, TerminalSize};
use longshore_exec::protocol::native::{ClientFrame, Open, ReadyFrame, Resume, ServerFrame};

use crate::{
    raw::{BINARY, PING, Raw, TEXT},
    server::Server,
};

fn open(command: &str) -> Vec<u8> {
    let mut open = Open::default();
    open.target = "web".into();
    open.argv = vec![command.into()];
    open.stdin = true;
    ClientFrame::Open(Box::new(open)).encode().to_vec()
}

/// A session of a native client.
async fn ready(server: &Arc<Server>, command: &str) -> (Raw, ReadyFrame) {
    let mut raw = Raw::open(server, "/v1/exec", &[]).await;
    raw.send(BINARY, &open(command)).await;
    let frame = ServerFrame::decode(raw.message().await.into()).unwrap();
    let ServerFrame::Ready(ready) = frame else {
        panic!("{frame:?}")
    };
    (raw, ready)
}

async fn check_first(first: &[u8], opcode: u8, code: u16, says: &str) {
    let server = Server::scripted();
    let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
    raw.send(opcode, first).await;
    let (got, reason) = raw.closed().await;
    assert_eq!(got, code, "{reason}");
    assert!(reason.contains(says), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn a_wrong_first_frame_is_refused() {
    check_first(b"", BINARY, 4000, "empty frame").await;
    check_first(b"\x77", BINARY, 4000, "0x77").await;
    check_first(b"\x01{", BINARY, 4000, "JSON of OPEN").await;
    check_first(&open("copy"), TEXT, 4000, "binary").await;
    check_first(
        &ClientFrame::Ack(0).encode(),
        BINARY,
        4000,
        "OPEN or RESUME",
    )
    .await;
    let resume = Resume {
        session: "nope".into(),
        secret: "x".into(),
        want: 0,
        snapshot: false,
        text: false,
        compress: false,
        people: false,
    };
    check_first(
        &ClientFrame::Resume(resume).encode(),
        BINARY,
        4004,
        "no such session",
    )
    .await;
    let mut elsewhere = Open::default();
    elsewhere.target = "a b".into();
    check_first(
        &ClientFrame::Open(Box::new(elsewhere)).encode(),
        BINARY,
        4003,
        "not allowed",
    )
    .await;
}

async fn check(frame: &ClientFrame, code: u16, says: &str) {
    let server = Server::scripted();
    let (mut raw, _) = ready(&server, "copy").await;
    raw.send(BINARY, &frame.encode()).await;
    let (got, reason) = raw.closed().await;
    assert_eq!(got, code, "{reason}");
    assert!(reason.contains(says), "{reason}");
}

#[tokio::test(start_paused = true)]
async fn frames_out_of_order_are_refused() {
    check(&ClientFrame::Input(9, "x".into()), 4002, "hole").await;
    check(&ClientFrame::InputEnd(9), 4002, "hole").await;
    check(&ClientFrame::Ack(9), 4000, "were sent").await;
    check(&ClientFrame::Open(Box::default()), 4000, "one session").await;
    check(
        &ClientFrame::Input(0, Bytes::from(vec![0; 70_000])),
        4000,
        "more input",
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_is_no_websocket_is_refused() {
    let server = Server::scripted();
    // Not masked.
    let (mut raw, _) = ready(&server, "copy").await;
    raw.frame(0x82, b"\x08", false).await;
    assert_eq!(raw.closed().await.0, 1002);
    // A reserved bit, a reserved opcode, a long control frame, a fragmented one.
    for first in [0xc2, 0x83, 0x8b, 0x09] {
        let (mut raw, _) = ready(&server, "copy").await;
        raw.frame(first, b"", true).await;
        assert_eq!(raw.closed().await.0, 1002, "{first:#x}");
    }
    let (mut raw, _) = ready(&server, "copy").await;
    raw.frame(0x80 | PING, &[0; 126], true).await;
    assert_eq!(raw.closed().await.0, 1002);
    // A continuation of nothing.
    let (mut raw, _) = ready(&server, "copy").await;
    raw.frame(0x80, b"x", true).await;
    assert_eq!(raw.closed().await.0, 1002);
    // Text that is none, also cut within a character.
    for text in [&b"\xff"[..], b"\xed\xa0\x80", b"\xe6\x97"] {
        let (mut raw, _) = ready(&server, "copy").await;
        raw.send(TEXT, text).await;
        assert_eq!(raw.closed().await.0, 1007);
    }
}

#[tokio::test(start_paused = true)]
async fn oversized_messages_are_refused_before_they_come() {
    let server = Server::scripted();
    let (mut raw, _) = ready(&server, "copy").await;
    // Only the head, which announces four exabytes.
    raw.bytes(&[0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4])
        .await;
    assert_eq!(raw.closed().await.0, 1009);
    // In fragments that are small each.
    let (mut raw, _) = ready(&server, "copy").await;
    raw.frame(0x02, &[3; 60_000], true).await;
    for _ in 0..5 {
        raw.frame(0x00, &[0; 60_000], true).await;
    }
    assert_eq!(raw.closed().await.0, 1009);
}

#[tokio::test(start_paused = true)]
async fn fragments_are_put_together() {
    let server = Server::scripted();
    let (mut raw, _) = ready(&server, "copy").await;
    let frame = ClientFrame::Input(0, "hello".into()).encode();
    raw.frame(0x02, &frame[..3], true).await;
    raw.send(PING, b"").await;
    raw.frame(0x00, &frame[3..11], true).await;
    raw.frame(0x80, &frame[11..], true).await;
    let mut output = Vec::new();
    while output.len() < 5 {
        if let ServerFrame::Output(_, _, bytes) =
            ServerFrame::decode(raw.message().await.into()).unwrap()
        {
            output.extend_from_slice(&bytes);
        }
    }
    assert_eq!(output, b"hello");
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_sent_away() {
    let server = Server::scripted();
    let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
    assert_eq!(raw.closed().await.0, 4000);
}

#[tokio::test(start_paused = true)]
async fn a_second_connection_takes_over_and_the_first_is_told() {
    let server = Server::scripted();
    let (mut first, at) = ready(&server, "copy").await;
    let resume = |secret: &str| {
        let session = at.session.clone();
        ClientFrame::Resume(Resume {
            session,
            secret: secret.into(),
            want: 0,
            snapshot: false,
            text: false,
            compress: false,
            people: false,
        })
        .encode()
    };
    let mut thief = Raw::open(&server, "/v1/exec", &[]).await;
    thief.send(BINARY, &resume(&"0".repeat(64))).await;
    assert_eq!(thief.closed().await.0, 4004);
    let mut second = Raw::open(&server, "/v1/exec", &[]).await;
    second
        .send(BINARY, &resume(at.secret.as_deref().unwrap()))
        .await;
    let frame = ServerFrame::decode(second.message().await.into()).unwrap();
    assert!(matches!(frame, ServerFrame::Ready(_)));
    assert_eq!(first.closed().await.0, 4001);
    second
        .send(
            BINARY,
            &ClientFrame::Resize(TerminalSize::new(9, 9)).encode(),
        )
        .await;
    second.send(BINARY, &ClientFrame::End.encode()).await;
    assert_eq!(second.closed().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn noise_is_refused_and_the_gateway_serves_on() {
    let server = Server::scripted();
    let random = SeededRandom::new(3);
    for path in [
        "/v1/exec",
        "/enter",
        "/enter?method=web",
        "/ws?target=web",
        "/api/v1/namespaces/a/pods/b/exec?command=x",
    ] {
        for _ in 0..20 {
            let mut raw = Raw::open(&server, path, &[]).await;
            let mut noise = vec![0; 1 + (random.next_u64() % 300) as usize];
            random.fill(&mut noise);
            if random.next_u64().is_multiple_of(2) {
                raw.send(BINARY, &noise).await;
            } else {
                raw.bytes(&noise).await;
            }
            drop(raw);
        }
    }
    SystemClock::new().sleep(Duration::from_secs(60)).await;
    assert!(server.hub.sessions().is_empty());
    let (mut raw, _) = ready(&server, "copy").await;
    raw.send(BINARY, &ClientFrame::Ping(5).encode()).await;
    loop {
        let frame = ServerFrame::decode(raw.message().await.into()).unwrap();
        if frame == ServerFrame::Pong(5) {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_upgrade_is_told_so() {
    let server = Server::scripted();
    let ask = |path: &'static str, headers: &'static [(&'static str, &'static str)]| {
        let mut request = http::Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let gateway = server.gateway.clone();
        async move {
            gateway
                .handle(request.body(()).unwrap())
                .await
                .status()
                .as_u16()
        }
    };
    assert_eq!(ask("/v1/exec", &[]).await, 426);
    assert_eq!(ask("/nothing", &[]).await, 404);
    let half = &[("connection", "upgrade"), ("upgrade", "websocket")];
    assert_eq!(ask("/v1/exec", half).await, 400);
}
