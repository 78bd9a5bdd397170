//! LAIN's clients, written from the specification's section on them alone: protobuf by hand, the
//! stock client's habits, the web client's JSON.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use longshore_core::{ClockExt, ExecRequest, Random, SeededRandom, SystemClock, TerminalSize};
use longshore_exec::{
    ScriptedExec,
    access::{AnybodyMay, Located, Place, StaticDirectory},
    gateway::GatewayOptions,
};

use crate::{
    raw::{BINARY, CLOSE, PING, Raw, TEXT},
    server::{Server, id},
};

const QUIT: &str = "\x1b[32m>>> You quit the container safely.\x1b[0m";
const DENIED: &str = "\x1b[31m>>> Authorization failed.\x1b[0m";
const MISSING: &str = "\x1b[31m>>> Container is not found.\x1b[0m";
const CANNOT_ENTER: &str = "\x1b[31m>>> Can't enter your container, try again.\x1b[0m";
const CANNOT_ATTACH: &str = "\x1b[31m>>> Can't attach your container, try again.\x1b[0m";

fn message(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut message = if kind == 0 { vec![] } else { vec![0x08, kind] };
    message.push(0x12);
    if content.len() >= 128 {
        message.push(content.len() as u8 | 0x80);
        message.push((content.len() >> 7) as u8);
    } else {
        message.push(content.len() as u8);
    }
    message.extend_from_slice(content);
    message
}

fn read(message: &[u8]) -> (u8, Vec<u8>) {
    let (kind, rest) = match message {
        [0x08, kind, rest @ ..] => (*kind, rest),
        rest => (0, rest),
    };
    assert_eq!(rest[0], 0x12);
    let (length, from) = match rest[1] {
        low @ 128.. => (usize::from(low & 0x7f) | usize::from(rest[2]) << 7, 3),
        short => (usize::from(short), 2),
    };
    assert_eq!(rest.len(), from + length);
    (kind, rest[from..].to_vec())
}

fn lain(instance: &str) -> Place {
    Place::Lain {
        app: "shop".into(),
        proc: "web".into(),
        instance: instance.into(),
    }
}

fn programs() -> ScriptedExec {
    ScriptedExec::new()
        .with_workload(id("c1"))
        .with_workload(id("bare"))
        .with_program("/bin/bash", |mut process| async move {
            let term = process.env("TERM").unwrap_or_default().to_owned();
            process.print(format!("TERM={term}\r\n")).await;
            let mut line = Vec::new();
            while let Some(bytes) = process.read(1).await {
                line.extend_from_slice(&bytes);
                process.print(bytes).await;
                match line.as_slice() {
                    b"size\r" => {
                        let size = process.size();
                        process
                            .print(format!("{}x{}\r\n", size.columns, size.rows))
                            .await;
                    }
                    b"raw\r" => process.print(&b"\xff\x80a\xe6\x97"[..]).await,
                    b"exit\r" => return 3,
                    _ => {}
                }
                if line.ends_with(b"\r") {
                    line.clear();
                }
            }
            0
        })
        .with_program("log", |process| async move {
            SystemClock::new().sleep(Duration::from_secs(1)).await;
            process.print("line\n").await;
            SystemClock::new().sleep(Duration::from_secs(1)).await;
            0
        })
}

fn server() -> Arc<Server> {
    let exec = programs();
    exec.start_workload(&ExecRequest::new(id("main"), ["log"]))
        .unwrap();
    // No shell at all in here.
    let bare = ScriptedExec::new().with_workload(id("bare"));
    let exec: Arc<dyn longshore_core::ExecBackend> = Arc::new(exec);
    let directory = StaticDirectory::new()
        .with(lain("1"), Located::new(exec.clone(), id("c1")))
        .with(lain("2"), Located::new(Arc::new(bare), id("bare")))
        .with(lain("3"), Located::new(exec.clone(), id("main")))
        .with(lain("4"), Located::new(exec, id("c1")));
    Server::new(directory, GatewayOptions::default(), |gateway| {
        gateway.with_access(Arc::new(AnybodyMay))
    })
}

/// The stock client's headers.
fn headers(instance: &'static str) -> Vec<(&'static str, &'static str)> {
    vec![
        ("access-token", "secret"),
        ("app-name", "shop"),
        ("proc-name", "web"),
        ("instance-no", instance),
        ("Host", "127.0.0.1:443"),
        ("Origin", "http://127.0.0.1:443"),
    ]
}

/// Output until it ends so.
async fn until(raw: &mut Raw, end: &str) -> String {
    let mut output = Vec::new();
    while !output.ends_with(end.as_bytes()) {
        let (kind, content) = read(&raw.message().await);
        match kind {
            0 => output.extend_from_slice(&content),
            3 => assert_eq!(content, b"ping"),
            other => panic!("{other}: {}", String::from_utf8_lossy(&content)),
        }
    }
    String::from_utf8(output).unwrap()
}

/// The stock client: UTF-8 characters in text messages, one by one.
async fn types(raw: &mut Raw, text: &str) {
    for character in text.chars() {
        let message = message(0, character.to_string().as_bytes());
        // Text messages must be valid UTF-8, which the client's happen to be.
        assert!(std::str::from_utf8(&message).is_ok());
        raw.send(TEXT, &message).await;
    }
}

#[track_caller]
fn is_close(message: &[u8], text: &str) {
    let (kind, content) = read(message);
    assert_eq!(
        (kind, String::from_utf8(content).unwrap().as_str()),
        (2, text)
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_enters_types_resizes_and_quits() {
    let server = server();
    let mut asked = headers("1");
    asked.push(("term-type", "screen"));
    let mut raw = Raw::open(&server, "/enter", &asked).await;
    // The stock client wants exactly these.
    assert!(
        raw.head.contains("\r\nconnection: upgrade\r\n"),
        "{}",
        raw.head
    );
    assert!(raw.head.contains("\r\nupgrade: websocket\r\n"));
    assert!(!raw.head.contains("sec-websocket-protocol"));
    raw.send(TEXT, &message(1, b"132 43")).await;
    until(&mut raw, "TERM=screen\r\n").await;
    types(&mut raw, "é日").await;
    assert_eq!(until(&mut raw, "日").await, "é日");
    types(&mut raw, "\r").await;
    until(&mut raw, "\r").await;
    raw.send(BINARY, &message(0, b"size\r")).await;
    until(&mut raw, "132x43\r\n").await;
    raw.send(TEXT, &message(1, b"80 24")).await;
    types(&mut raw, "size\r").await;
    until(&mut raw, "80x24\r\n").await;
    types(&mut raw, "exit\r").await;
    until(&mut raw, "exit\r").await;
    is_close(&raw.message().await, QUIT);
    assert_eq!(raw.closed().await.0, 1000);
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    assert!(server.hub.sessions().is_empty());
}

/// Fault 3: bytes that are no text end nothing, and none is lost.
#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_text_go_through() {
    let server = server();
    let mut raw = Raw::open(&server, "/enter", &headers("1")).await;
    until(&mut raw, "TERM=xterm-256color\r\n").await;
    types(&mut raw, "raw\r").await;
    let mut output = Vec::new();
    while !output.ends_with(b"\xe6\x97") {
        let (kind, content) = read(&raw.message().await);
        assert_eq!(kind, 0);
        output.extend(content);
    }
    assert_eq!(output, b"raw\r\xff\x80a\xe6\x97");
    types(&mut raw, "exit\r").await;
    until(&mut raw, "exit\r").await;
    is_close(&raw.message().await, QUIT);
}

/// A ping of the WebSocket is followed at once by a data message, every ten seconds.
#[tokio::test(start_paused = true)]
async fn pings_come_in_pairs() {
    let server = server();
    let mut raw = Raw::open(&server, "/enter", &headers("1")).await;
    until(&mut raw, "TERM=xterm-256color\r\n").await;
    for _ in 0..5 {
        assert_eq!(raw.receive().await, Some((PING, vec![])));
        assert_eq!(raw.receive().await, Some((BINARY, message(3, b"ping"))));
    }
}

/// Fault 1: the server's state is free within a second of the drop.
#[tokio::test(start_paused = true)]
async fn a_dropped_connection_ends_its_session() {
    let server = server();
    let mut raw = Raw::open(&server, "/enter", &headers("1")).await;
    until(&mut raw, "TERM=xterm-256color\r\n").await;
    drop(raw);
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    assert!(server.hub.sessions().is_empty());
}

/// Fault 1, a thousand times: whenever the connection drops, no process and no state is left.
#[tokio::test(start_paused = true)]
async fn a_thousand_drops_leave_nothing() {
    struct Running(Arc<AtomicUsize>);
    impl Drop for Running {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let running = Arc::new(AtomicUsize::new(0));
    let begun = Arc::new(AtomicUsize::new(0));
    let (counted, seen) = (Arc::clone(&running), Arc::clone(&begun));
    let exec = ScriptedExec::new().with_workload(id("c1")).with_program(
        "/bin/bash",
        move |mut process| {
            counted.fetch_add(1, Ordering::Relaxed);
            seen.fetch_add(1, Ordering::Relaxed);
            let running = Running(Arc::clone(&counted));
            async move {
                loop {
                    process.print("x".repeat(10_000)).await;
                    if process.read(10).await.is_none() {
                        drop(running);
                        return 0;
                    }
                }
            }
        },
    );
    let directory = StaticDirectory::new().with(lain("1"), Located::new(Arc::new(exec), id("c1")));
    let server = Server::open(directory, GatewayOptions::default());
    let (clock, random) = (SystemClock::new(), SeededRandom::new(5));
    for _ in 0..1000 {
        let session = async {
            let mut raw = Raw::open(&server, "/enter", &headers("1")).await;
            for _ in 0..20 {
                types(&mut raw, "k").await;
                raw.message().await;
                clock.sleep(Duration::from_micros(50)).await;
            }
        };
        let moment = Duration::from_micros(random.next_u64() % 3000);
        let _ = clock.timeout(moment, "the session", session).await;
    }
    clock.sleep(Duration::from_secs(1)).await;
    assert!(begun.load(Ordering::Relaxed) > 500);
    assert_eq!(running.load(Ordering::Relaxed), 0, "processes");
    assert!(server.hub.sessions().is_empty(), "sessions");
}

#[tokio::test(start_paused = true)]
async fn every_failure_has_its_text() {
    let server = server();
    for (path, instance, text) in [
        ("/enter", "9", MISSING),
        ("/attach", "9", MISSING),
        ("/enter", "2", CANNOT_ENTER),
        ("/attach", "1", CANNOT_ATTACH),
        ("/attach", "2", CANNOT_ATTACH),
        ("/enter", "../1", DENIED),
    ] {
        let mut raw = Raw::open(&server, path, &headers(instance)).await;
        is_close(&raw.message().await, text);
        assert_eq!(raw.closed().await.0, 1000, "{path} {instance}");
    }
    let closed = Server::new(
        StaticDirectory::new(),
        GatewayOptions::default(),
        |gateway| gateway,
    );
    let mut raw = Raw::open(&closed, "/enter", &headers("1")).await;
    is_close(&raw.message().await, DENIED);
    let mut asked = headers("1");
    asked[1] = ("app-name", "entry");
    let mut raw = Raw::open(&server, "/enter", &asked).await;
    is_close(&raw.message().await, DENIED);
}

/// Fault 6: an attachment ends with its container.
#[tokio::test(start_paused = true)]
async fn a_client_attaches_and_is_told_the_end() {
    let server = server();
    let mut raw = Raw::open(&server, "/attach", &headers("3")).await;
    assert_eq!(read(&raw.message().await), (0, b"line\n".to_vec()));
    is_close(&raw.message().await, QUIT);
    assert_eq!(raw.closed().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn the_web_client_speaks_json_in_binary_messages() {
    let server = server();
    let mut raw = Raw::open(&server, "/enter?method=web", &[]).await;
    let hello = r#"{"access_token":"t","app_name":"shop","proc_name":"web","instance_no":1}"#;
    raw.send(TEXT, hello.as_bytes()).await;
    let json = |kind: u8, text: &str| {
        format!(
            r#"{{"msgType":{kind},"content":"{}"}}"#,
            STANDARD.encode(text)
        )
    };
    raw.send(TEXT, json(1, "90 30").as_bytes()).await;
    // Fault 17: an absent type means keys, also behind a size.
    raw.send(
        BINARY,
        format!(r#"{{"content":"{}"}}"#, STANDARD.encode("size\rexit\r")).as_bytes(),
    )
    .await;
    let mut output = Vec::new();
    loop {
        let message: serde_json::Value = serde_json::from_slice(&raw.message().await).unwrap();
        let content = STANDARD
            .decode(message["content"].as_str().unwrap())
            .unwrap();
        match message.get("msgType").and_then(serde_json::Value::as_u64) {
            None => output.extend(content),
            Some(2) => break assert_eq!(content, QUIT.as_bytes()),
            Some(3) => {}
            Some(other) => panic!("{other}"),
        }
    }
    let output = String::from_utf8(output).unwrap();
    assert!(
        output.starts_with("TERM=xterm-256color\r\nsize\r90x30\r\n"),
        "{output}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_web_client_that_says_nothing_is_sent_away() {
    let server = server();
    for hello in [None, Some("{"), Some(r#"{"app_name":[]}"#)] {
        let mut raw = Raw::open(&server, "/enter?method=web", &[]).await;
        if let Some(hello) = hello {
            raw.send(TEXT, hello.as_bytes()).await;
        }
        let close: serde_json::Value = serde_json::from_slice(&raw.message().await).unwrap();
        assert_eq!(close["content"], STANDARD.encode(DENIED));
    }
}

/// Fault 16.
#[tokio::test(start_paused = true)]
async fn pages_of_other_sites_are_refused_before_the_upgrade() {
    let server = server();
    let mut asked = headers("1");
    asked[5] = ("Origin", "https://evil.example");
    let raw = Raw::dial(&server, "/enter", &asked).await;
    assert!(raw.head.starts_with("http/1.1 403 "), "{}", raw.head);
}

/// Fault 20.
#[tokio::test(start_paused = true)]
async fn a_client_that_never_closes_is_left_after_a_while() {
    let server = server();
    let mut raw = Raw::open(&server, "/enter", &headers("9")).await;
    is_close(&raw.message().await, MISSING);
    assert_eq!(raw.receive().await.unwrap().0, CLOSE);
    // It does not answer; the server ends the connection.
    assert_eq!(raw.receive().await, None);
}

/// The size that the original set before the start never waits for a key.
#[tokio::test(start_paused = true)]
async fn the_newest_size_wins() {
    let server = server();
    let mut raw = Raw::open(&server, "/enter", &headers("4")).await;
    for columns in 1..100u16 {
        let text = format!("{columns} {}", TerminalSize::default().rows);
        raw.send(TEXT, &message(1, text.as_bytes())).await;
    }
    SystemClock::new().sleep(Duration::from_millis(10)).await;
    types(&mut raw, "size\r").await;
    until(&mut raw, "99x24\r\n").await;
}
