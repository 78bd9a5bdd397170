//! Engines that break the protocol, refuse, or vanish.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    AttachRequest, BoxByteStream, ClockExt, Connector, Error, ErrorKind, ExecBackend, ExecOutput,
    ExecRequest, ExecSession, OsRandom, Result, TerminalSize, WorkloadId,
};
use longshore_exec::{Cleanup, DockerExec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::daemon::clock;

/// Answers each call by its path with fixed bytes, then closes.
#[derive(Clone, Debug)]
struct Canned {
    create: Vec<u8>,
    start: Vec<u8>,
    inspect: Vec<u8>,
    resize: Vec<u8>,
    resize_delay: Duration,
    /// Whether the started stream stays open behind its bytes.
    stays_open: bool,
}

pub(crate) fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

pub(crate) fn switched(bytes: &[u8]) -> Vec<u8> {
    [b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n", bytes].concat()
}

const ENDED: &str = r#"{"Running":false,"ExitCode":3,"Pid":7}"#;
const RUNNING: &str = r#"{"Running":true,"ExitCode":null,"Pid":7}"#;

impl Default for Canned {
    fn default() -> Self {
        Self {
            create: http("201 Created", r#"{"Id":"e1"}"#),
            start: switched(b""),
            inspect: http("200 OK", ENDED),
            resize: http("200 OK", ""),
            resize_delay: Duration::ZERO,
            stays_open: false,
        }
    }
}

#[async_trait]
impl Connector for Canned {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let canned = self.clone();
        tokio::spawn(async move {
            let mut request = vec![0; 1 << 16];
            let count = far.read(&mut request).await.unwrap_or(0);
            let line = String::from_utf8_lossy(&request[..count]).into_owned();
            let line = line.lines().next().unwrap_or_default().to_owned();
            let stream = line.contains("/start") || line.contains("/attach");
            let bytes = if stream {
                &canned.start
            } else if line.contains("/resize") {
                clock().sleep(canned.resize_delay).await;
                &canned.resize
            } else if line.starts_with("GET") {
                &canned.inspect
            } else {
                &canned.create
            };
            let _ = far.write_all(bytes).await;
            if stream && canned.stays_open {
                // Echoes, as a terminal does.
                let (mut read, mut write) = tokio::io::split(far);
                let _ = tokio::io::copy(&mut read, &mut write).await;
            }
        });
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "memory://canned".to_owned()
    }
}

fn request() -> ExecRequest {
    ExecRequest::new(WorkloadId::new("web").unwrap(), ["sh"])
}

async fn exec(canned: Canned, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
    let exec = DockerExec::new(Arc::new(canned), clock(), Arc::new(OsRandom));
    exec.with_cleanup(Cleanup::Nothing).exec(request).await
}

async fn read(session: &dyn ExecSession) -> Vec<Result<ExecOutput>> {
    session.take_output().unwrap().collect().await
}

fn check(result: Result<Arc<dyn ExecSession>>, kind: ErrorKind, message: &str) {
    let error: Error = result.unwrap_err();
    assert_eq!((error.kind(), error.message()), (kind, message));
}

#[tokio::test(start_paused = true)]
async fn refusals_keep_their_meaning() {
    let refused = |status: &str, text: &str| http(status, &format!("{{\"message\":\"{text}\"}}"));
    let cases = [
        (
            "404 Not Found",
            "No such container: web",
            ErrorKind::NotFound,
        ),
        (
            "409 Conflict",
            "Container web is paused",
            ErrorKind::Conflict,
        ),
        ("400 Bad Request", "no command", ErrorKind::InvalidInput),
        (
            "500 Internal Server Error",
            "disk full",
            ErrorKind::Internal,
        ),
        (
            "503 Service Unavailable",
            "starting",
            ErrorKind::Unavailable,
        ),
    ];
    for (status, text, kind) in cases {
        let create = Canned {
            create: refused(status, text),
            ..Canned::default()
        };
        check(exec(create, &request()).await, kind, text);
        let start = Canned {
            start: refused(status, text),
            ..Canned::default()
        };
        check(exec(start, &request()).await, kind, text);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_the_protocol_is_told_as_such() {
    let garbage = Canned {
        create: b"\x15\x03\x01garbage\r\n\r\n".to_vec(),
        ..Canned::default()
    };
    assert_eq!(
        exec(garbage, &request()).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
    let not_json = Canned {
        create: http("201 Created", "<html>"),
        ..Canned::default()
    };
    assert_eq!(
        exec(not_json, &request()).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
    let id = http("201 Created", r#"{"Id":"../../containers/x"}"#);
    let traversal = Canned {
        create: id,
        ..Canned::default()
    };
    assert_eq!(
        exec(traversal, &request()).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
    let head = [b"HTTP/1.1 101 X\r\nA: ".to_vec(), vec![b'a'; 100_000]].concat();
    let endless = Canned {
        start: head,
        ..Canned::default()
    };
    assert_eq!(
        exec(endless, &request()).await.unwrap_err().kind(),
        ErrorKind::Protocol
    );
    let cut = Canned {
        start: b"HTTP/1.1 101 UPG".to_vec(),
        ..Canned::default()
    };
    assert_eq!(
        exec(cut, &request()).await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    let body = Canned {
        create: http("201 Created", &"x".repeat(2 << 20)),
        ..Canned::default()
    };
    assert_eq!(
        exec(body, &request()).await.unwrap_err().kind(),
        ErrorKind::ResourceExhausted
    );
}

#[tokio::test(start_paused = true)]
async fn a_bad_frame_ends_the_output_with_an_error() {
    let start = switched(b"\x01\0\0\0\0\0\0\x02okhello");
    let session = exec(
        Canned {
            start,
            ..Canned::default()
        },
        &request(),
    )
    .await
    .unwrap();
    let output = read(&*session).await;
    assert_eq!(output[0].as_ref().unwrap().bytes, "ok");
    assert_eq!(output[1].as_ref().unwrap_err().kind(), ErrorKind::Protocol);
    assert_eq!(output.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn vanishing_within_a_frame_is_an_error_after_what_came() {
    for cut in [
        &b"\x01\0\0\0\0\0\0\x09truncat"[..],
        b"\x01\0\0\0\0\0\0\x02ok\x01\0\0",
    ] {
        let start = switched(cut);
        let session = exec(
            Canned {
                start,
                ..Canned::default()
            },
            &request(),
        )
        .await
        .unwrap();
        let output = read(&*session).await;
        assert!(output[0].is_ok());
        assert_eq!(
            output[1].as_ref().unwrap_err().kind(),
            ErrorKind::Unavailable
        );
        assert_eq!(session.wait().await.unwrap().code, Some(3));
    }
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_head_are_output_and_a_terminal_has_no_frames() {
    let raw = b"\x01\0\0\0\0\0\0\x04abcd";
    let canned = Canned {
        start: switched(raw),
        ..Canned::default()
    };
    let mut request = request();
    request.tty = true;
    let session = exec(canned, &request).await.unwrap();
    let output = read(&*session).await;
    assert_eq!(output[0].as_ref().unwrap().bytes, &raw[..]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_200_is_a_stream_too() {
    let start = [&b"HTTP/1.1 200 OK\r\n\r\n"[..], b"\x02\0\0\0\0\0\0\x03bad"].concat();
    let session = exec(
        Canned {
            start,
            ..Canned::default()
        },
        &request(),
    )
    .await
    .unwrap();
    assert_eq!(read(&*session).await[0].as_ref().unwrap().bytes, "bad");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_end_is_never_a_success() {
    let inspect = http("200 OK", RUNNING);
    let session = exec(
        Canned {
            inspect,
            ..Canned::default()
        },
        &request(),
    )
    .await
    .unwrap();
    read(&*session).await;
    let status = session.wait().await.unwrap();
    assert_eq!((status.code, status.is_success()), (None, false));

    let inspect = http("404 Not Found", "{\"message\":\"No such exec instance\"}");
    let session = exec(
        Canned {
            inspect,
            ..Canned::default()
        },
        &request(),
    )
    .await
    .unwrap();
    let status = session.wait().await.unwrap();
    assert_eq!(
        status.reason.as_deref(),
        Some("container-gone: the container was removed")
    );

    let inspect = b"".to_vec();
    let session = exec(
        Canned {
            inspect,
            ..Canned::default()
        },
        &request(),
    )
    .await
    .unwrap();
    assert_eq!(
        session.wait().await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
}

#[tokio::test(start_paused = true)]
async fn a_resize_that_comes_too_early_or_too_late_is_harmless() {
    let mut request = request();
    request.tty = true;
    for (status, fine) in [
        ("404 Not Found", true),
        ("500 Internal Server Error", true),
        ("409 Conflict", true),
        ("400 Bad Request", false),
    ] {
        let resize = http(
            status,
            r#"{"message":"timeout waiting for exec session ready"}"#,
        );
        let canned = Canned {
            resize,
            stays_open: true,
            ..Canned::default()
        };
        let session = exec(canned, &request).await.unwrap();
        assert_eq!(
            session.resize(TerminalSize::new(9, 9)).await.is_ok(),
            fine,
            "{status}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_resize_does_not_hold_up_the_keys() {
    let canned = Canned {
        resize_delay: Duration::from_secs(5),
        stays_open: true,
        ..Canned::default()
    };
    let mut request = request();
    (request.tty, request.stdin) = (true, true);
    let session = exec(canned, &request).await.unwrap();
    let mut input = session.take_input().unwrap();
    let mut output = session.take_output().unwrap();
    let clock = clock();
    let echo = async {
        let start = clock.now();
        input.write_all(b"key").await.unwrap();
        let echo = output.next().await.unwrap().unwrap();
        assert_eq!(echo.bytes, "key");
        clock.now().since(start)
    };
    let resize = session.resize(TerminalSize::new(9, 9));
    let (took, resized) = tokio::join!(echo, resize);
    assert!(took < Duration::from_secs(1), "{took:?}");
    resized.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attachment_that_is_refused_says_so() {
    let inspect = http(
        "200 OK",
        r#"{"Config":{"Tty":false},"State":{"Running":true}}"#,
    );
    let start = http("409 Conflict", r#"{"message":"container web is paused"}"#);
    let canned = Canned {
        inspect,
        start,
        ..Canned::default()
    };
    let exec = DockerExec::new(Arc::new(canned), clock(), Arc::new(OsRandom));
    let attach = AttachRequest::new(WorkloadId::new("web").unwrap());
    check(
        exec.attach(&attach).await,
        ErrorKind::Conflict,
        "container web is paused",
    );
}
