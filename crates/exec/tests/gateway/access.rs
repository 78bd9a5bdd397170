//! Who gets in, and for how long.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{
    Access, Action, AuditEvent, AuditOutcome, AuditReceipt, AuditSink, BoxByteStream, ClockExt,
    Connector, Error, ErrorKind, ExecBackend, ExecRequest, Identity, Result, SystemClock,
};
use longshore_exec::{
    access::{
        AccessControl, AccessRequest, Admission, AnybodyMay, Credentials, LainConsole, NobodyMay,
        OnlyCommands, Place, StaticDirectory,
    },
    gateway::{Gateway, GatewayOptions},
    protocol::native::{Open, OpenMode},
    session::EndReason,
};

use crate::{
    programs,
    server::{Server, id},
};

fn server(configure: impl FnOnce(Gateway) -> Gateway) -> Arc<Server> {
    let exec = programs::scripted().with_workload(id("web"));
    let directory = StaticDirectory::new().with_engine(Arc::new(exec));
    Server::new(directory, GatewayOptions::default(), configure)
}

fn open(command: &str) -> Open {
    let mut open = Open::default();
    (open.target, open.argv) = ("web".into(), vec![command.into()]);
    open
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_in_until_somebody_says_who_may() {
    let refused = server(|gateway| gateway)
        .client()
        .open(open("copy"))
        .await
        .unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    let refused = server(|gateway| gateway.with_access(Arc::new(NobodyMay)));
    // Neither does one learn which containers there are.
    let mut elsewhere = open("copy");
    elsewhere.target = "nowhere".into();
    let refused = refused.client().open(elsewhere).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
}

/// Lets in while it is told to, and wants to be asked each minute.
#[derive(Debug, Default)]
struct While {
    revoked: AtomicBool,
    /// Of sessions only, not of containers.
    onlookers_revoked: AtomicBool,
    seen: Mutex<Vec<(Option<String>, Action, String)>>,
}

#[async_trait]
impl AccessControl for While {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let token = request.credentials.token.clone();
        self.seen
            .lock()
            .unwrap()
            .push((token, request.action, request.place.to_string()));
        let looks_on = matches!(request.place, Place::Session(_));
        let barred = looks_on && self.onlookers_revoked.load(Ordering::Relaxed);
        if barred || self.revoked.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::PermissionDenied, "revoked"));
        }
        let mut access = Access::default();
        access.valid_for = Some(Duration::from_secs(60));
        Ok(Admission::new(Identity::new("ann", "token")).with_access(access))
    }
}

/// Fault 15.
#[tokio::test(start_paused = true)]
async fn leave_that_is_revoked_ends_the_session() {
    let access = Arc::new(While::default());
    let server = server(|gateway| gateway.with_access(access.clone()));
    let mut opening = open("forever");
    opening.token = Some("anns".into());
    let session = server.client().open(opening).await.unwrap();
    SystemClock::new().sleep(Duration::from_secs(150)).await;
    assert_eq!(access.seen.lock().unwrap().len(), 3);
    access.revoked.store(true, Ordering::Relaxed);
    assert_eq!(
        session.ended().await.unwrap().reason,
        EndReason::AuthExpired
    );
    let seen = access.seen.lock().unwrap();
    assert!(
        seen.iter()
            .all(|one| *one == (Some("anns".into()), Action::Enter, "web".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn who_lost_their_leave_while_away_does_not_come_back() {
    let access = Arc::new(While::default());
    let server = server(|gateway| gateway.with_access(access.clone()));
    let session = server.client().open(open("forever")).await.unwrap();
    session.started().await.unwrap();
    access.revoked.store(true, Ordering::Relaxed);
    server.cut();
    let lost = session.ended().await;
    assert!(
        matches!(&lost, Err(error) if error.kind() == ErrorKind::PermissionDenied),
        "{lost:?}"
    );
    SystemClock::new().sleep(Duration::from_secs(1)).await;
    assert!(
        server
            .hub
            .sessions()
            .iter()
            .all(|one| one.end.as_ref().unwrap().reason == EndReason::AuthExpired)
    );
}

#[tokio::test(start_paused = true)]
async fn watchers_see_and_need_leave_of_their_own() {
    let access = Arc::new(While::default());
    let server = server(|gateway| gateway.with_access(access.clone()));
    let writer = server
        .client()
        .exec(&ExecRequest::new(id("web"), ["copy"]).with_stdin())
        .await
        .unwrap();
    let mut watching = open("");
    watching.argv.clear();
    watching.mode = OpenMode::Watch;
    watching.target = writer.id().to_string();
    let watcher = server.client().open(watching.clone()).await.unwrap();
    let mut input = writer.take_input().unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut input, b"seen")
        .await
        .unwrap();
    drop(input);
    let mut output = longshore_core::ExecSession::take_output(&watcher).unwrap();
    let piece = futures::StreamExt::next(&mut output)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(piece.bytes, "seen");
    assert_eq!(watcher.ended().await.unwrap().code, Some(0));
    let asked = access.seen.lock().unwrap().last().cloned().unwrap();
    assert_eq!((asked.1, asked.2), (Action::Read, writer.id().to_string()));
    access.revoked.store(true, Ordering::Relaxed);
    let refused = server.client().open(watching).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
}

/// A watcher sees nothing more, an approver keeps no session open, and the session itself goes on.
#[tokio::test(start_paused = true)]
async fn leave_to_look_on_is_asked_for_again() {
    for mode in [OpenMode::Watch, OpenMode::Approve] {
        let access = Arc::new(While::default());
        let server = server(|gateway| gateway.with_access(access.clone()));
        let writer = server.client().open(open("forever")).await.unwrap();
        let mut looking = open("");
        looking.argv.clear();
        (looking.mode, looking.target) =
            (mode, longshore_core::ExecSession::id(&writer).to_string());
        let onlooker = server.client().open(looking).await.unwrap();
        let clock = SystemClock::new();
        clock.sleep(Duration::from_secs(150)).await;
        assert_eq!(access.seen.lock().unwrap().len(), 6, "two each, and again");
        access.onlookers_revoked.store(true, Ordering::Relaxed);
        let lost = onlooker.ended().await;
        assert!(
            matches!(&lost, Err(error) if error.kind() == ErrorKind::PermissionDenied),
            "{lost:?}"
        );
        clock.sleep(Duration::from_secs(600)).await;
        let sessions = server.hub.sessions();
        assert!(sessions.iter().all(|one| one.end.is_none()), "{sessions:?}");
    }
}

/// Who is refused leaves whoever holds the session alone, and it is on the record.
#[tokio::test(start_paused = true)]
async fn who_comes_back_is_on_the_record() {
    let book = Arc::new(Book::default());
    let access = Arc::new(While::default());
    let server = server(|gateway| gateway.with_access(access.clone()).with_audit(book.clone()));
    let session = server.client().open(open("forever")).await.unwrap();
    session.started().await.unwrap();
    let resumed = |outcome: AuditOutcome| {
        let events = book.events.lock().unwrap();
        events
            .iter()
            .filter(|event| event.operation == "exec.resume" && event.outcome == outcome)
            .count()
    };
    server.cut();
    SystemClock::new().sleep(Duration::from_secs(30)).await;
    assert_eq!(resumed(AuditOutcome::Done), 1);
    access.revoked.store(true, Ordering::Relaxed);
    server.cut();
    session.ended().await.unwrap_err();
    assert_eq!(resumed(AuditOutcome::Denied("revoked".into())), 1);
}

#[tokio::test(start_paused = true)]
async fn only_listed_commands_run() {
    let listed = OnlyCommands::new(Arc::new(AnybodyMay), ["exit"]);
    let server = server(|gateway| gateway.with_access(Arc::new(listed)));
    let mut allowed = open("exit");
    allowed.argv.push("4".into());
    let session = server.client().open(allowed).await.unwrap();
    assert_eq!(session.ended().await.unwrap().code, Some(4));
    let mut shell = open("");
    shell.argv.clear();
    // What decides which program a name stands for is not the client's to choose.
    let with = |change: fn(&mut Open)| {
        let mut open = open("exit");
        change(&mut open);
        open
    };
    let env = with(|open| open.env = vec!["PATH=/tmp".into()]);
    let dir = with(|open| open.dir = "/tmp".into());
    let user = with(|open| open.user = "root".into());
    for refused in [open("copy"), shell, env, dir, user] {
        let refused = server.client().open(refused).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    }
}

#[derive(Debug, Default)]
struct Book {
    events: Mutex<Vec<AuditEvent>>,
    full: bool,
}

#[async_trait]
impl AuditSink for Book {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        if self.full {
            return Err(Error::unavailable("the disk is full"));
        }
        self.events.lock().unwrap().push(event);
        Ok(AuditReceipt {
            sequence: 0,
            hash: String::new(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn sessions_are_audited_before_they_begin() {
    let book = Arc::new(Book::default());
    let audited = server(|gateway| {
        gateway
            .with_access(Arc::new(AnybodyMay))
            .with_audit(book.clone())
    });
    audited.client().open(open("copy")).await.unwrap();
    let closed = server(|gateway| gateway.with_audit(book.clone()));
    closed.client().open(open("copy")).await.unwrap_err();
    let events = book.events.lock().unwrap().clone();
    assert_eq!(events[0].outcome, AuditOutcome::Started);
    assert_eq!(
        (events[0].operation.as_str(), events[0].target.name.as_str()),
        ("exec.open", "web")
    );
    // The end of the first one may be on record by now.
    let denied = |event: &AuditEvent| matches!(event.outcome, AuditOutcome::Denied(_));
    assert_eq!(events.iter().filter(|event| denied(event)).count(), 1);
    // Fault 19: what can't be recorded is refused.
    let full = Arc::new(Book {
        full: true,
        ..Book::default()
    });
    let strict = server(|gateway| gateway.with_access(Arc::new(AnybodyMay)).with_audit(full));
    let refused = strict.client().open(open("copy")).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(strict.hub.sessions().is_empty());
}

/// LAIN's console and sign-on in memory.
#[derive(Clone, Debug)]
struct Lain {
    status: u16,
    body: &'static str,
    asked: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Connector for Lain {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, far) = tokio::io::duplex(4096);
        let this = self.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let this = this.clone();
                async move {
                    let header = |name: &str| {
                        let value = request.headers().get(name)?;
                        Some(value.to_str().unwrap().to_owned())
                    };
                    let token = header("access-token").or(header("authorization"));
                    let line = format!("{} {}", request.uri(), token.unwrap());
                    this.asked.lock().unwrap().push(line);
                    let mut response =
                        Response::new(Full::new(Bytes::from_static(this.body.as_bytes())));
                    *response.status_mut() = this.status.try_into().unwrap();
                    if this.status == 204 {
                        std::future::pending::<()>().await;
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(far), service)
                .await;
        });
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "memory://console".to_owned()
    }
}

const ROLE: &str = r#"{"msg":"","url":"","role":{"role":"admin"}}"#;

async fn ask(status: u16, body: &'static str, app: &str) -> (Result<Admission>, Vec<String>) {
    let asked = Arc::new(Mutex::default());
    let lain = |status, body| {
        Arc::new(Lain {
            status,
            body,
            asked: Arc::clone(&asked),
        })
    };
    let me = r#"{"email":"ann@lain","groups":["x"]}"#;
    let console = LainConsole::new(
        lain(status, body),
        "console.lain",
        Arc::new(SystemClock::new()),
    )
    .with_sso(lain(200, me), "sso.lain");
    let place = Place::Lain {
        app: app.into(),
        proc: "web".into(),
        instance: "1".into(),
    };
    let request = AccessRequest::new(
        Credentials::new(Some("hidden".into())),
        Action::Enter,
        place,
    );
    let answer = console.admit(&request).await;
    let asked = asked.lock().unwrap().clone();
    (answer, asked)
}

#[tokio::test(start_paused = true)]
async fn lains_console_decides() {
    let (answer, asked) = ask(200, ROLE, "shop").await;
    assert_eq!(answer.unwrap().who, Identity::new("ann@lain", "token"));
    assert_eq!(
        asked,
        ["/api/v1/repos/shop/roles/ hidden", "/api/me Bearer hidden"]
    );
}

/// Fault 14: only 2xx with a role counts, and a name can't leave its path.
#[tokio::test(start_paused = true)]
async fn nothing_but_a_role_in_a_good_answer_counts() {
    for (status, body, app) in [
        (500, ROLE, "shop"),
        (401, ROLE, "shop"),
        (302, ROLE, "shop"),
        (200, r#"{"role":{"role":""}}"#, "shop"),
        (200, r#"{"role":null}"#, "shop"),
        (200, "{}", "shop"),
        (200, "no", "shop"),
        // It never answers.
        (204, ROLE, "shop"),
        (200, ROLE, ".."),
        (200, ROLE, "a/b"),
        (200, ROLE, "a?b"),
        (200, ROLE, ""),
    ] {
        let (answer, asked) = ask(status, body, app).await;
        let error = answer.unwrap_err();
        assert!(!error.chain().contains("hidden"));
        assert_eq!(asked.is_empty(), app != "shop", "{app} {asked:?}");
    }
}
