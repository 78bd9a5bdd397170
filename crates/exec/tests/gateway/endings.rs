//! How every ending is told over every protocol: after all output, and never as a zero that nobody saw.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{StreamExt, stream};
use longshore_core::{
    Access, AttachRequest, Error, ErrorKind, ExecBackend, ExecInput, ExecOutput, ExecOutputStream,
    ExecRequest, ExecSession, ExitStatus, Identity, OutputKind, Result, SessionId, Signal,
    TerminalSize,
};
use longshore_exec::{
    access::{AccessControl, AccessRequest, Admission, Located, Place, StaticDirectory},
    gateway::GatewayOptions,
    protocol::native::{ClientFrame, Open, ServerFrame},
    session::{EndReason, HubLimits, SessionOptions},
};
use tokio_util::sync::CancellationToken;

use crate::{
    raw::{BINARY, CLOSE, PING, PONG, Raw, TEXT},
    server::{Server, id},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Zero,
    Seven,
    Signal,
    OutOfMemory,
    /// The container was removed.
    Removed,
    /// The container was stopped.
    Stopped,
    /// The daemon was restarted, and knows nothing of the command.
    Restarted,
    /// The daemon does not answer.
    Unreachable,
    Denied,
    Idle,
    /// Leave ran out and was not given again.
    Expired,
    /// It went on for too long.
    TooLong,
}

const ALL: [Ending; 12] = [
    Ending::Zero,
    Ending::Seven,
    Ending::Signal,
    Ending::OutOfMemory,
    Ending::Removed,
    Ending::Stopped,
    Ending::Restarted,
    Ending::Unreachable,
    Ending::Denied,
    Ending::Idle,
    Ending::Expired,
    Ending::TooLong,
];

/// What is known of an end: why, the exit code, the signal.
type Known = (EndReason, Option<i64>, Option<u8>);

impl Ending {
    /// What the engine says of it, in the Docker backend's words; `None`: the command goes on until
    /// it is closed.
    fn status(self) -> Option<Result<ExitStatus>> {
        let unknown = |text: &str| Some(Ok(ExitStatus::unknown(text)));
        match self {
            Self::Zero => Some(Ok(ExitStatus::exited(0))),
            Self::Seven => Some(Ok(ExitStatus::exited(7))),
            Self::Signal => Some(Ok(ExitStatus::signaled(Signal::TERM))),
            Self::OutOfMemory => {
                let mut status = ExitStatus::signaled(Signal::KILL);
                status.out_of_memory = true;
                Some(Ok(status))
            }
            Self::Removed => unknown("container-gone: the container was removed"),
            Self::Stopped => unknown("container-gone: the container was stopped"),
            Self::Restarted => unknown(
                "lost: the engine does not know the command any more, it may have been restarted",
            ),
            Self::Unreachable => Some(Err(Error::unavailable("the engine does not answer"))),
            Self::Denied | Self::Idle | Self::Expired | Self::TooLong => None,
        }
    }

    /// What every client has to learn of it, as far as its protocol has words; `None`: nothing ran.
    fn known(self) -> Option<Known> {
        // What is closed is hung up, which is told beside the reason.
        let closed = |reason| Some((reason, Some(129), Some(1)));
        match self {
            Self::Zero => Some((EndReason::Exited, Some(0), None)),
            Self::Seven => Some((EndReason::Exited, Some(7), None)),
            Self::Signal => Some((EndReason::Signaled, Some(143), Some(15))),
            Self::OutOfMemory => Some((EndReason::Oom, Some(137), Some(9))),
            Self::Removed | Self::Stopped => Some((EndReason::ContainerGone, None, None)),
            Self::Restarted | Self::Unreachable => Some((EndReason::Lost, None, None)),
            Self::Denied => None,
            Self::Idle => closed(EndReason::Idle),
            Self::Expired => closed(EndReason::AuthExpired),
            Self::TooLong => closed(EndReason::MaxDuration),
        }
    }
}

/// An engine on which every command says something and ends so.
#[derive(Debug)]
struct Ends(Ending);

#[async_trait]
impl ExecBackend for Ends {
    async fn exec(&self, _: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        let piece = Ok(ExecOutput {
            kind: OutputKind::Stdout,
            bytes: "last words".into(),
        });
        let closed = CancellationToken::new();
        let (ending, until) = (self.0, closed.clone());
        let rest = stream::once(async move {
            if ending.status().is_none() {
                until.cancelled().await;
            }
        });
        let output = stream::iter([piece]).chain(rest.filter_map(|()| async { None }));
        Ok(Arc::new(Command {
            id: SessionId::new("command")?,
            ending,
            output: Mutex::new(Some(Box::pin(output))),
            closed,
        }))
    }

    async fn attach(&self, _: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        Err(Error::new(ErrorKind::Unsupported, "nothing to attach to"))
    }
}

struct Command {
    id: SessionId,
    ending: Ending,
    output: Mutex<Option<ExecOutputStream>>,
    closed: CancellationToken,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").finish_non_exhaustive()
    }
}

#[async_trait]
impl ExecSession for Command {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn take_input(&self) -> Option<ExecInput> {
        None
    }

    fn take_output(&self) -> Option<ExecOutputStream> {
        self.output.lock().unwrap().take()
    }

    async fn resize(&self, _: TerminalSize) -> Result<()> {
        Ok(())
    }

    async fn signal(&self, _: Signal) -> Result<()> {
        Ok(())
    }

    async fn wait(&self) -> Result<ExitStatus> {
        match self.ending.status() {
            Some(status) => status,
            None => {
                self.closed.cancelled().await;
                Ok(ExitStatus::signaled(Signal::HUP))
            }
        }
    }

    async fn close(&self) -> Result<()> {
        self.closed.cancel();
        Ok(())
    }
}

/// Gives leave for a while, and once only where it is to expire.
#[derive(Debug)]
struct Leave(Ending, AtomicUsize);

#[async_trait]
impl AccessControl for Leave {
    async fn admit(&self, _: &AccessRequest) -> Result<Admission> {
        let asked = self.1.fetch_add(1, Ordering::Relaxed);
        let refused = match self.0 {
            Ending::Denied => true,
            Ending::Expired => asked > 0,
            _ => false,
        };
        if refused {
            return Err(Error::new(ErrorKind::PermissionDenied, "no"));
        }
        let mut access = Access::default();
        access.valid_for = Some(Duration::from_secs(5));
        Ok(Admission::new(Identity::new("ann", "token")).with_access(access))
    }
}

/// One container that ends so, by its name in each protocol.
fn directory(ending: Ending) -> StaticDirectory {
    let engine: Arc<dyn ExecBackend> = Arc::new(Ends(ending));
    let found = || Located::new(Arc::clone(&engine), id("c"));
    let lain = Place::Lain {
        app: "shop".into(),
        proc: "web".into(),
        instance: "1".into(),
    };
    let pod = Place::Pod {
        namespace: "default".into(),
        pod: "web".into(),
        container: None,
    };
    StaticDirectory::new()
        .with(Place::Container("web".into()), found())
        .with(lain, found())
        .with(pod, found())
}

fn server(ending: Ending) -> Arc<Server> {
    let session = match ending {
        Ending::Idle => SessionOptions::default().with_idle(Duration::from_secs(3)),
        Ending::TooLong => SessionOptions::default().with_longest(Duration::from_secs(3)),
        _ => SessionOptions::default(),
    };
    let options = GatewayOptions::default()
        .with_session(session)
        .with_lain_exit_fields();
    Server::new(directory(ending), options, |gateway| {
        gateway.with_access(Arc::new(Leave(ending, AtomicUsize::new(0))))
    })
}

/// All messages up to the close, its code and its reason.
async fn all(raw: &mut Raw) -> (Vec<Vec<u8>>, u16, String) {
    let mut messages = Vec::new();
    loop {
        match raw.receive().await {
            Some((BINARY, payload)) => messages.push(payload),
            Some((PING | PONG, _)) => {}
            Some((CLOSE, payload)) => {
                raw.send(CLOSE, &payload[..2]).await;
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                let reason = String::from_utf8(payload[2..].to_vec()).unwrap();
                return (messages, code, reason);
            }
            other => panic!("{other:?} without a close"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_native_protocol_tells_reason_code_and_signal() {
    for ending in ALL {
        let server = server(ending);
        let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
        let mut open = Open::default();
        (open.target, open.argv) = ("web".into(), vec!["x".into()]);
        raw.send(BINARY, &ClientFrame::Open(Box::new(open)).encode())
            .await;
        let (messages, code, _) = all(&mut raw).await;
        let frames: Vec<_> = messages
            .into_iter()
            .map(|message| ServerFrame::decode(message.into()).unwrap())
            .collect();
        let Some((reason, exit_code, signal)) = ending.known() else {
            assert!(frames.is_empty(), "{frames:?}");
            assert_eq!(code, 4003);
            continue;
        };
        let Some(ServerFrame::Exit(exit)) = frames.last() else {
            panic!("{ending:?}: {frames:?}");
        };
        let told = (
            exit.end.reason,
            exit.end.code,
            exit.end.signal.map(Signal::number),
        );
        assert_eq!(told, (reason, exit_code, signal), "{ending:?}");
        assert_eq!(exit.out_len, 10, "{ending:?}: after all output");
        let said = frames.iter().any(
            |frame| matches!(frame, ServerFrame::Output(0, _, bytes) if bytes == "last words"),
        );
        assert!(said, "{ending:?}");
        let expected = match reason {
            EndReason::AuthExpired => 4003,
            EndReason::Idle => 4008,
            EndReason::MaxDuration => 4009,
            EndReason::ContainerGone => 4010,
            _ => 1000,
        };
        assert_eq!(code, expected, "{ending:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn kubernetes_has_one_status_and_no_false_success() {
    let v5 = ("Sec-WebSocket-Protocol", "v5.channel.k8s.io");
    let v4 = ("Sec-WebSocket-Protocol", "v4.channel.k8s.io");
    for (ending, protocol) in ALL
        .into_iter()
        .flat_map(|ending| [(ending, v5), (ending, v4)])
    {
        let server = server(ending);
        let path = "/api/v1/namespaces/default/pods/web/exec?command=x&stdout=true";
        let mut raw = Raw::open(&server, path, &[protocol]).await;
        let (messages, code, _) = all(&mut raw).await;
        assert_eq!(code, 1000, "{ending:?}");
        let (last, before) = messages.split_last().unwrap();
        assert!(before.iter().all(|message| message[0] != 3), "one status");
        assert_eq!(last[0], 3, "{ending:?}");
        let status: serde_json::Value = serde_json::from_slice(&last[1..]).unwrap();
        let Some((reason, exit_code, _)) = ending.known() else {
            assert_eq!(
                (&status["code"], &status["reason"]),
                (&403.into(), &"Forbidden".into())
            );
            assert_eq!(status["status"], "Failure");
            continue;
        };
        assert!(before.contains(&b"\x01last words".to_vec()), "{ending:?}");
        let ended_itself = matches!(
            reason,
            EndReason::Exited | EndReason::Signaled | EndReason::Oom
        );
        match exit_code {
            Some(0) => {
                assert_eq!(
                    status,
                    serde_json::json!({"metadata": {}, "status": "Success"})
                );
                continue;
            }
            Some(code) if ended_itself => {
                assert_eq!(status["reason"], "NonZeroExitCode", "{ending:?}");
                let cause = &status["details"]["causes"][0];
                assert_eq!(cause["reason"], "ExitCode");
                assert_eq!(cause["message"], code.to_string(), "{ending:?}");
            }
            _ => assert_eq!(status["reason"], "InternalError", "{ending:?}"),
        }
        assert_eq!(status["status"], "Failure", "{ending:?}");
        let message = status["message"].as_str().unwrap();
        let told = message.strip_prefix("command terminated with non-zero exit code: ");
        let told = told.unwrap_or(message);
        assert!(told.starts_with(reason.as_str()), "{ending:?}: {message}");
    }
}

#[tokio::test(start_paused = true)]
async fn ttyds_page_stops_at_a_zero_only() {
    for ending in ALL {
        let server = server(ending);
        let mut raw = Raw::open(&server, "/ws?target=web", &[]).await;
        raw.send(BINARY, br#"{"AuthToken":"","columns":70,"rows":20}"#)
            .await;
        let (messages, code, text) = all(&mut raw).await;
        let Some((reason, exit_code, signal)) = ending.known() else {
            assert!(messages.is_empty(), "{messages:?}");
            assert_eq!(code, 1008);
            continue;
        };
        assert_eq!(messages.last().unwrap(), b"0last words", "{ending:?}");
        let is_zero = (reason, exit_code) == (EndReason::Exited, Some(0));
        assert_eq!(code, if is_zero { 1000 } else { 4100 }, "{ending:?}");
        assert!(text.starts_with(reason.as_str()), "{ending:?}: {text}");
        match (signal, exit_code) {
            (Some(number), _) => {
                let name = Signal::new(number).unwrap().to_string();
                assert!(text.contains(&name), "{ending:?}: {text}");
            }
            (None, Some(code)) => assert!(text.contains(&format!("code {code}")), "{text}"),
            (None, None) => assert!(!text.contains("code"), "{ending:?}: {text}"),
        }
    }
}

/// What LAIN's users read: its own words where it has some.
fn lain_text(ending: Ending) -> String {
    let red = |text: &str| format!("\x1b[31m>>> {text}\x1b[0m");
    match ending {
        Ending::Zero | Ending::Seven | Ending::Signal => {
            "\x1b[32m>>> You quit the container safely.\x1b[0m".to_owned()
        }
        Ending::Denied | Ending::Expired => red("Authorization failed."),
        other => {
            let (reason, ..) = other.known().unwrap();
            red(&format!("The session was ended: {reason}."))
        }
    }
}

/// The fields of a message, by hand: numbers as such, bytes as text.
fn fields(mut message: &[u8]) -> Vec<(u8, String)> {
    fn number(message: &mut &[u8]) -> u64 {
        let (mut number, mut shift) = (0, 0);
        loop {
            let byte = message[0];
            *message = &message[1..];
            number |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte < 0x80 {
                return number;
            }
        }
    }
    let mut all = Vec::new();
    while !message.is_empty() {
        let key = number(&mut message);
        let value = number(&mut message);
        let value = match key & 7 {
            0 => value.to_string(),
            2 => {
                let (text, rest) = message.split_at(value as usize);
                message = rest;
                String::from_utf8(text.to_vec()).unwrap()
            }
            other => panic!("wire type {other}"),
        };
        all.push(((key >> 3) as u8, value));
    }
    all
}

#[tokio::test(start_paused = true)]
async fn lains_clients_read_its_words_and_new_ones_the_fields() {
    let headers = [
        ("access-token", "t"),
        ("app-name", "shop"),
        ("proc-name", "web"),
        ("instance-no", "1"),
    ];
    for ending in ALL {
        let server = server(ending);
        let mut raw = Raw::open(&server, "/enter", &headers).await;
        let (messages, code, _) = all(&mut raw).await;
        assert_eq!(code, 1000, "{ending:?}");
        let (last, before) = messages.split_last().unwrap();
        let mut expected = vec![(1, "2".to_owned()), (2, lain_text(ending))];
        if let Some((reason, exit_code, signal)) = ending.known() {
            assert_eq!(fields(&before[0]), [(2, "last words".to_owned())]);
            expected.extend(exit_code.map(|code| (3, code.to_string())));
            expected.push((4, reason.to_string()));
            expected.extend(signal.map(|signal| (5, signal.to_string())));
        }
        assert_eq!(fields(last), expected, "{ending:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn lains_web_client_reads_the_same() {
    for ending in ALL {
        let server = server(ending);
        let mut raw = Raw::open(&server, "/enter?method=web", &[]).await;
        let hello = r#"{"access_token":"t","app_name":"shop","proc_name":"web","instance_no":1}"#;
        raw.send(TEXT, hello.as_bytes()).await;
        let (messages, code, _) = all(&mut raw).await;
        assert_eq!(code, 1000, "{ending:?}");
        let last: serde_json::Value = serde_json::from_slice(messages.last().unwrap()).unwrap();
        assert_eq!(last["msgType"], 2, "{ending:?}");
        assert_eq!(
            last["content"],
            STANDARD.encode(lain_text(ending)),
            "{ending:?}"
        );
    }
}

/// The time of a user is used up: what runs ends, and what is asked for afterwards is refused with a
/// reason.
#[tokio::test(start_paused = true)]
async fn a_user_without_time_is_told_so() {
    let directory = directory(Ending::TooLong);
    let hour = Duration::from_secs(3600);
    let limits = HubLimits::default().with_user_time(Duration::from_secs(10), hour);
    let server = Server::with_hub(
        directory,
        GatewayOptions::default(),
        |hub| hub.with_limits(limits),
        |gateway| gateway.with_access(Arc::new(Leave(Ending::TooLong, AtomicUsize::new(0)))),
    );
    let native = async || {
        let mut raw = Raw::open(&server, "/v1/exec", &[]).await;
        let mut open = Open::default();
        (open.target, open.argv) = ("web".into(), vec!["x".into()]);
        raw.send(BINARY, &ClientFrame::Open(Box::new(open)).encode())
            .await;
        all(&mut raw).await
    };
    let (messages, code, reason) = native().await;
    let last = messages.last().unwrap().clone();
    let ServerFrame::Exit(exit) = ServerFrame::decode(last.into()).unwrap() else {
        panic!("no end");
    };
    assert_eq!((exit.end.reason, code), (EndReason::MaxDuration, 4009));
    assert!(reason.contains("10s together"), "{reason}");
    let (messages, code, reason) = native().await;
    assert_eq!((messages.len(), code), (0, 4029));
    assert!(reason.contains("run for 10s together"), "{reason}");
    let path = "/api/v1/namespaces/default/pods/web/exec?command=x&stdout=true";
    let mut raw = Raw::open(&server, path, &[]).await;
    let status: serde_json::Value =
        serde_json::from_slice(&all(&mut raw).await.0.last().unwrap()[1..]).unwrap();
    assert_eq!(status["code"], 429);
    let mut raw = Raw::open(&server, "/ws?target=web", &[]).await;
    raw.send(BINARY, br#"{"AuthToken":"","columns":70,"rows":20}"#)
        .await;
    let (_, code, reason) = all(&mut raw).await;
    assert_eq!(code, 4100);
    assert!(reason.contains("try again in"), "{reason}");
    assert!(server.hub.sessions().iter().all(|one| one.end.is_some()));
}
