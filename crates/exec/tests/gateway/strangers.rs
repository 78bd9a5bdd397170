//! What a client costs that has no leave yet.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{ClockExt, ErrorKind, ExecSession, Result, SystemClock, TerminalSize};
use longshore_exec::{
    access::{
        AccessControl, AccessRequest, Admission, AnybodyMay, Located, Place, StaticDirectory,
    },
    gateway::GatewayOptions,
    protocol::native::{ClientFrame, Open, ServerFrame},
};

use crate::{
    programs,
    raw::{BINARY, CLOSE, Raw, TEXT},
    server::{Server, id},
};

fn server(options: GatewayOptions) -> Arc<Server> {
    let exec = programs::scripted().with_workload(id("web"));
    let directory = StaticDirectory::new().with_engine(Arc::new(exec));
    Server::new(directory, options, |gateway| {
        gateway.with_access(Arc::new(AnybodyMay))
    })
}

fn open(command: &str, padding: usize) -> Open {
    let mut open = Open::default();
    (open.target, open.stdin) = ("web".into(), true);
    open.argv = vec![command.into(), "x".repeat(padding)];
    open
}

#[tokio::test(start_paused = true)]
async fn a_long_first_message_is_refused_by_its_announced_length() {
    let server = server(GatewayOptions::default());
    for path in ["/v1/exec", "/ws?target=web", "/enter?method=web"] {
        let mut raw = Raw::open(&server, path, &[]).await;
        // 40 KiB are announced, and none of them come.
        raw.bytes(&[0x82, 0xfe, 0xa0, 0x00, 0, 0, 0, 0]).await;
        let start = longshore_core::Clock::now(&*server.clock);
        let last = match path {
            // LAIN says it in its own words, of which there are few.
            "/enter?method=web" => {
                let text = String::from_utf8(raw.message().await).unwrap();
                assert!(text.contains("msgType\":2"), "{text}");
                raw.closed().await
            }
            _ => {
                let (code, reason) = raw.closed().await;
                assert!(reason.contains("more than 32768 bytes"), "{code} {reason}");
                (code, reason)
            }
        };
        assert_ne!(last.0, 1006, "{path}");
        let waited = longshore_core::Clock::now(&*server.clock).since(start);
        assert!(waited < Duration::from_secs(6), "{waited:?}");
    }
    let refused = server.client().open(open("copy", 33_000)).await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Protocol);
    assert!(refused.to_string().contains("32768"), "{refused}");
    let fits = server.client().open(open("exit", 31_000)).await.unwrap();
    fits.started().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_has_leave_may_send_long_messages() {
    let server = server(GatewayOptions::default().with_waiting(10, 1024));
    let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
    let first = ClientFrame::Open(Box::new(open("copy", 0))).encode();
    raw.send(BINARY, &first).await;
    let frame = ServerFrame::decode(raw.message().await.into()).unwrap();
    assert!(matches!(frame, ServerFrame::Ready(_)), "{frame:?}");
    let input = Bytes::from(vec![b'x'; 60_000]);
    raw.send(BINARY, &ClientFrame::Input(0, input).encode())
        .await;
    let mut echoed = 0;
    while echoed < 60_000 {
        if let ServerFrame::Output(_, _, bytes) =
            ServerFrame::decode(raw.message().await.into()).unwrap()
        {
            echoed += bytes.len();
            let ack = ClientFrame::Ack(echoed as u64).encode();
            raw.send(BINARY, &ack).await;
        }
    }
    // A message of LAIN's stock client, whose leave comes from its headers.
    let headers = [("app-name", "a"), ("proc-name", "b"), ("instance-no", "1")];
    let mut lain = Raw::open(&server, "/enter", &headers).await;
    lain.send(TEXT, &[0x12, 1, b'a']).await;
    let said = String::from_utf8_lossy(&lain.message().await).into_owned();
    assert!(said.contains("Container is not found"), "{said}");
    lain.closed().await;
}

#[tokio::test(start_paused = true)]
async fn strangers_who_say_nothing_keep_nobody_out() {
    let server = server(GatewayOptions::default().with_waiting(10, 32 << 10));
    let mut silent = Vec::new();
    for _ in 0..30 {
        silent.push(Raw::open(&server, "/v1/exec", &[]).await);
    }
    let session = server.client().open(open("forever", 0)).await.unwrap();
    session.started().await.unwrap();
    let mut gone = Vec::new();
    for raw in &mut silent {
        gone.push(is_gone(raw).await);
    }
    // All but the last ten, of which the oldest made room.
    let expected: Vec<_> = (0..30).map(|number| number < 21).collect();
    assert_eq!(gone, expected);
    // Who is in never has to go.
    for _ in 0..30 {
        silent.push(Raw::open(&server, "/v1/exec", &[]).await);
    }
    session.resize(TerminalSize::new(90, 30)).await.unwrap();
    SystemClock::new().sleep(Duration::from_secs(5)).await;
    assert_eq!(server.dialled(), 61, "it was not dialled again");
    let held = server.hub.sessions();
    assert!(held.len() == 1 && held[0].is_held);
    // The others go when their time is over.
    SystemClock::new().sleep(Duration::from_secs(20)).await;
    let mut left = Vec::new();
    for raw in &mut silent {
        left.push(is_gone(raw).await);
    }
    assert!(left.iter().all(|gone| *gone), "{left:?}");
}

/// Who was refused, and does not go, is a stranger until its connection is closed.
#[tokio::test(start_paused = true)]
async fn who_was_refused_makes_room_like_a_stranger() {
    let server = server(GatewayOptions::default().with_waiting(2, 32 << 10));
    let headers = [("app-name", "a"), ("proc-name", "b"), ("instance-no", "1")];
    let mut refused = Raw::open(&server, "/enter", &headers).await;
    let said = String::from_utf8_lossy(&refused.message().await).into_owned();
    assert!(said.contains("Container is not found"), "{said}");
    assert!(matches!(refused.receive().await, Some((CLOSE, _))));
    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(Raw::open(&server, "/v1/exec", &[]).await);
    }
    let next = tokio::time::timeout(Duration::from_millis(1), refused.receive());
    assert!(matches!(next.await, Ok(None)), "it is still there");
    for raw in &mut silent {
        assert!(!is_gone(raw).await);
    }
}

/// Takes its time.
#[derive(Debug)]
struct Slow(Duration);

#[async_trait]
impl AccessControl for Slow {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        SystemClock::new().sleep(self.0).await;
        AnybodyMay.admit(request).await
    }
}

/// Whoever has shown a token is not pushed out by strangers while it is looked at, over any protocol.
#[tokio::test(start_paused = true)]
async fn who_is_being_asked_about_stays_while_others_come() {
    let exec = programs::scripted()
        .with_workload(id("web"))
        .with_program("/bin/bash", |_| async { 0 });
    let exec: Arc<dyn longshore_core::ExecBackend> = Arc::new(exec);
    let found = || Located::new(Arc::clone(&exec), id("web"));
    let names = ["shop", "web", "1"].map(str::to_owned);
    let [app, proc, instance] = names.clone();
    let [namespace, pod, container] = names;
    let container = Some(container);
    let directory = StaticDirectory::new()
        .with(Place::Container("web".into()), found())
        .with(
            Place::Lain {
                app,
                proc,
                instance,
            },
            found(),
        )
        .with(
            Place::Pod {
                namespace,
                pod,
                container,
            },
            found(),
        );
    let options = GatewayOptions::default().with_waiting(6, 32 << 10);
    let server = Server::new(directory, options, |gateway| {
        gateway.with_access(Arc::new(Slow(Duration::from_secs(5))))
    });
    let lain = [
        ("app-name", "shop"),
        ("proc-name", "web"),
        ("instance-no", "1"),
    ];
    let pod =
        "/api/v1/namespaces/shop/pods/web/exec?container=1&command=exit&command=0&stdout=true";
    let mut native = Raw::open(&server, "/v1/exec", &[]).await;
    let first = ClientFrame::Open(Box::new(open("exit", 0))).encode();
    native.send(BINARY, &first).await;
    let mut enter = Raw::open(&server, "/enter", &lain).await;
    let mut web = Raw::open(&server, "/enter?method=web", &[]).await;
    let hello = r#"{"access_token":"t","app_name":"shop","proc_name":"web","instance_no":"1"}"#;
    web.send(TEXT, hello.as_bytes()).await;
    let mut pod = Raw::open(&server, pod, &[]).await;
    let mut page = Raw::open(&server, "/ws?target=web", &[]).await;
    page.send(BINARY, br#"{"AuthToken":"","columns":70,"rows":20}"#)
        .await;
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    let mut silent = Vec::new();
    for _ in 0..30 {
        silent.push(Raw::open(&server, "/v1/exec", &[]).await);
    }
    assert!(!is_gone(silent.last_mut().unwrap()).await);
    for raw in &mut silent[..29] {
        assert!(is_gone(raw).await);
    }
    let frame = ServerFrame::decode(native.message().await.into()).unwrap();
    assert!(matches!(frame, ServerFrame::Ready(_)), "{frame:?}");
    assert_eq!(enter.closed().await.0, 1000);
    assert_eq!(web.closed().await.0, 1000);
    assert_eq!(pod.message().await, [1]);
    assert_eq!(page.message().await, b"1web");
}

/// What each protocol says to one that is sent away, whatever it was doing.
async fn is_told(raw: &mut Raw, path: &str) {
    match path {
        "/v1/exec" => assert_eq!(raw.closed().await.0, 4029),
        "/ws?target=web" => assert_eq!(raw.closed().await.0, 4100),
        "/enter" => {
            let said = String::from_utf8_lossy(&raw.message().await).into_owned();
            assert!(
                said.contains("Can't enter your container, try again."),
                "{said}"
            );
            assert_eq!(raw.closed().await.0, 1000);
        }
        "/enter?method=web" => {
            let said = String::from_utf8(raw.message().await).unwrap();
            assert!(said.contains("\"msgType\":2"), "{said}");
            assert_eq!(raw.closed().await.0, 1000);
        }
        _ => {
            let said = raw.message().await;
            let status: serde_json::Value = serde_json::from_slice(&said[1..]).unwrap();
            assert_eq!((said[0], &status["code"]), (3, &429.into()));
            assert_eq!(raw.closed().await.0, 1000);
        }
    }
}

const PATHS: [&str; 5] = [
    "/v1/exec",
    "/ws?target=web",
    "/enter",
    "/enter?method=web",
    "/api/v1/namespaces/shop/pods/web/exec?command=x&stdout=true",
];
const NAMES: [(&str, &str); 3] = [("app-name", "a"), ("proc-name", "b"), ("instance-no", "1")];

/// Fault 19: also beyond all connections that may be every path ends with its protocol's last words,
/// for a few at a time; what is more costs nothing.
#[tokio::test(start_paused = true)]
async fn who_finds_no_place_is_told_so() {
    let server = server(GatewayOptions::default().with_connections(1));
    let held = Raw::open(&server, "/v1/exec", &[]).await;
    for path in PATHS {
        let mut raw = Raw::open(&server, path, &NAMES).await;
        is_told(&mut raw, path).await;
    }
    // They do not go.
    let mut away = Vec::new();
    for _ in 0..64 {
        away.push(Raw::open(&server, "/v1/exec", &[]).await);
    }
    let raw = Raw::dial(&server, "/v1/exec", &[]).await;
    assert!(raw.head.starts_with("http/1.1 503 "), "{}", raw.head);
    SystemClock::new().sleep(Duration::from_secs(6)).await;
    let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
    is_told(&mut raw, "/v1/exec").await;
    drop((held, away));
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    let session = server.client().open(open("forever", 0)).await.unwrap();
    session.started().await.unwrap();
}

/// Who has to go for another is told so too, in that moment.
#[tokio::test(start_paused = true)]
async fn who_makes_room_is_told_so() {
    let exec = programs::scripted().with_workload(id("web"));
    let directory = StaticDirectory::new().with_engine(Arc::new(exec));
    let options = GatewayOptions::default().with_waiting(1, 32 << 10);
    let server = Server::new(directory, options, |gateway| {
        gateway.with_access(Arc::new(Slow(Duration::from_secs(5))))
    });
    for path in PATHS {
        let mut raw = Raw::open(&server, path, &NAMES).await;
        SystemClock::new().sleep(Duration::from_secs(1)).await;
        let _next = Raw::open(&server, "/v1/exec", &[]).await;
        let told = tokio::time::timeout(Duration::from_millis(1), is_told(&mut raw, path));
        told.await.unwrap();
        assert!(raw.receive().await.is_none(), "it costs nothing more");
    }
}

/// Whether a connection has ended, or does within a moment.
async fn is_gone(raw: &mut Raw) -> bool {
    let next = tokio::time::timeout(Duration::from_millis(1), raw.receive());
    matches!(next.await, Ok(None | Some((CLOSE, _))))
}
