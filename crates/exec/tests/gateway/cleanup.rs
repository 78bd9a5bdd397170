//! What of a session's processes may be left behind, who may ask for it, and what is put on record of it.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    Access, AttachRequest, AuditEvent, AuditOutcome, AuditReceipt, AuditSink, BoxFuture, Cleanup,
    CleanupOutcome, CleanupReport, ClockExt, ErrorKind, ExecBackend, ExecInput, ExecOutputStream,
    ExecRequest, ExecSession, ExitStatus, Identity, LeftBehind, OsRandom, Result, SessionId,
    Signal, SystemClock, TerminalSize,
};
use longshore_exec::{
    ScriptedExec,
    access::{AccessControl, AccessRequest, Admission, StaticDirectory},
    client::{ClientOptions, RemoteExec},
    gateway::GatewayOptions,
    protocol::native::{Open, OpenMode},
    record::{MemoryRecords, RecordLimits, RecordStore, SessionQuery},
    session::EndReason,
};

use crate::{
    programs,
    raw::{BINARY, Raw},
    server::{Server, Wire, id},
};

/// An engine that follows every cleanup, as far as it is told, and says what was left.
#[derive(Clone, Debug)]
struct Follows {
    inner: ScriptedExec,
    default: Option<Cleanup>,
    asked: Arc<Mutex<Vec<Option<Cleanup>>>>,
    left: Option<CleanupReport>,
}

impl Follows {
    fn new() -> Self {
        Self {
            inner: programs::scripted().with_workload(id("web")),
            default: Some(Cleanup::Tree),
            asked: Arc::default(),
            left: None,
        }
    }

    fn leaving(mut self, left: CleanupReport) -> Self {
        self.left = Some(left);
        self
    }

    fn asked(&self) -> Vec<Option<Cleanup>> {
        self.asked.lock().unwrap().clone()
    }
}

#[async_trait]
impl ExecBackend for Follows {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        self.asked.lock().unwrap().push(request.cleanup);
        let mut request = request.clone();
        request.cleanup = None;
        let session = self.inner.exec(&request).await?;
        let left = self.left.clone();
        Ok(Arc::new(Left { session, left }))
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        self.inner.attach(request).await
    }

    fn default_cleanup(&self) -> Option<Cleanup> {
        self.default
    }
}

#[derive(Debug)]
struct Left {
    session: Arc<dyn ExecSession>,
    left: Option<CleanupReport>,
}

#[async_trait]
impl ExecSession for Left {
    fn id(&self) -> &SessionId {
        self.session.id()
    }

    fn take_input(&self) -> Option<ExecInput> {
        self.session.take_input()
    }

    fn take_output(&self) -> Option<ExecOutputStream> {
        self.session.take_output()
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.session.resize(size).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.session.signal(signal).await
    }

    async fn wait(&self) -> Result<ExitStatus> {
        self.session.wait().await
    }

    async fn close(&self) -> Result<()> {
        self.session.close().await
    }

    fn cleaned(&self) -> BoxFuture<'static, Option<CleanupReport>> {
        let left = self.left.clone();
        Box::pin(async move {
            // It is known some time behind the end.
            SystemClock::new().sleep(Duration::from_secs(20)).await;
            left
        })
    }
}

/// Lets everybody in, and lets them leave so much behind.
#[derive(Debug, Default)]
struct Up {
    least: Mutex<Option<Cleanup>>,
    refuses: AtomicBool,
    asked: Mutex<Vec<Option<Cleanup>>>,
}

#[async_trait]
impl AccessControl for Up {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        self.asked.lock().unwrap().push(request.cleanup);
        if self.refuses.load(Ordering::Relaxed) && request.cleanup.is_some() {
            let error = longshore_core::Error::new(ErrorKind::PermissionDenied, "no");
            return Err(error);
        }
        let mut access = Access::default();
        access.valid_for = Some(Duration::from_secs(60));
        Ok(Admission::new(Identity::new("ann", "token"))
            .with_access(access)
            .with_least_cleanup(*self.least.lock().unwrap()))
    }
}

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<AuditEvent>>);

#[async_trait]
impl AuditSink for Kept {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let mut kept = self.0.lock().unwrap();
        kept.push(event);
        let (sequence, hash) = (kept.len() as u64 - 1, String::new());
        Ok(AuditReceipt { sequence, hash })
    }
}

struct Scene {
    server: Arc<Server>,
    access: Arc<Up>,
    kept: Arc<Kept>,
    records: Arc<MemoryRecords>,
}

fn scene(engine: &Follows, least: Cleanup) -> Scene {
    let (access, kept) = (Arc::new(Up::default()), Arc::new(Kept::default()));
    let records = Arc::new(MemoryRecords::new(RecordLimits::default()));
    let directory = StaticDirectory::new().with_engine(Arc::new(engine.clone()));
    let options = GatewayOptions::default().with_least_cleanup(least);
    let recorder = records.clone();
    let (by, book) = (access.clone(), kept.clone());
    let server = Server::with_hub(
        directory,
        options,
        |hub| hub.with_recorder(recorder),
        |gateway| gateway.with_access(by).with_audit(book),
    );
    Scene {
        server,
        access,
        kept,
        records,
    }
}

impl Scene {
    fn client(&self, options: ClientOptions) -> RemoteExec {
        let clock = Arc::clone(&self.server.clock);
        let wire = Arc::new(Wire(Arc::clone(&self.server)));
        RemoteExec::new(wire, options, clock, Arc::new(OsRandom))
    }

    async fn open(&self, cleanup: Option<Cleanup>, program: &str) -> Result<SessionId> {
        let mut open = Open::default();
        (open.target, open.argv) = ("web".into(), vec![program.into()]);
        open.cleanup = cleanup;
        let session = self.client(ClientOptions::default()).open(open).await?;
        session.started().await?;
        let known = session.id().clone();
        session.close().await?;
        Ok(known)
    }

    fn events(&self) -> Vec<AuditEvent> {
        self.kept.0.lock().unwrap().clone()
    }
}

async fn pass(seconds: u64) {
    SystemClock::new().sleep(Duration::from_secs(seconds)).await;
}

fn label(event: &AuditEvent, name: &str) -> Option<String> {
    event.target.labels.get(name).map(str::to_owned)
}

/// By default nobody leaves anything behind; who may is said by the gateway, and access control can say
/// less. It is told what is asked for, and who is refused is told why.
#[tokio::test(start_paused = true)]
async fn leaving_processes_behind_is_a_right_of_its_own() {
    for gateway in Cleanup::ALL {
        for own in [None, Some(Cleanup::Tree), Some(Cleanup::Foreground)] {
            let engine = Follows::new();
            let scene = scene(&engine, gateway);
            *scene.access.least.lock().unwrap() = own;
            let most = own.map_or(gateway, |own| own.min(gateway));
            for asked in Cleanup::ALL {
                let opened = scene.open(Some(asked), "forever").await;
                let about = format!("{gateway} {own:?} {asked}");
                assert_eq!(opened.is_ok(), asked <= most, "{about}");
                assert_eq!(
                    scene.access.asked.lock().unwrap().last(),
                    Some(&Some(asked))
                );
                let last = scene.events().pop().unwrap();
                let Err(error) = opened else {
                    assert_eq!(engine.asked().last(), Some(&Some(asked)), "{about}");
                    continue;
                };
                assert_eq!(error.kind(), ErrorKind::PermissionDenied);
                let words = format!("cleanup {asked} is not allowed, {most} at the least");
                assert!(error.to_string().contains(&words), "{error}");
                assert_eq!(last.outcome, AuditOutcome::Denied(words));
                assert_eq!(label(&last, "cleanup").as_deref(), Some(asked.as_str()));
            }
            // Who asks for nothing gets what the engine does.
            scene.open(None, "forever").await.unwrap();
            assert_eq!(engine.asked().last(), Some(&None));
        }
    }
}

/// The right is asked for again with the session's leave.
#[tokio::test(start_paused = true)]
async fn a_session_whose_right_to_leave_something_is_taken_back_ends() {
    for refuses in [false, true] {
        let scene = scene(&Follows::new(), Cleanup::Nothing);
        let mut open = Open::default();
        (open.target, open.argv) = ("web".into(), vec!["forever".into()]);
        open.cleanup = Some(Cleanup::Nothing);
        let session = scene
            .client(ClientOptions::default())
            .open(open)
            .await
            .unwrap();
        pass(150).await;
        match refuses {
            true => scene.access.refuses.store(true, Ordering::Relaxed),
            false => *scene.access.least.lock().unwrap() = Some(Cleanup::Foreground),
        }
        let clock = SystemClock::new();
        let ended = clock.timeout(Duration::from_secs(120), "its end", session.ended());
        let end = ended.await.unwrap().unwrap();
        assert_eq!(end.reason, EndReason::AuthExpired);
    }
}

/// What a client of another language may write.
#[tokio::test(start_paused = true)]
async fn an_open_names_one_of_three_and_only_for_a_command() {
    let engine = Follows::new();
    let scene = scene(&engine, Cleanup::Nothing);
    for (body, words) in [
        (
            r#"{"target":"web","argv":["forever"],"cleanup":"daemon"}"#,
            "\"daemon\" is not known: expected tree, foreground or none",
        ),
        (
            r#"{"target":"web","argv":["forever"],"cleanup":7}"#,
            "the JSON of OPEN is wrong",
        ),
        (
            r#"{"target":"web","mode":"attach","cleanup":"tree"}"#,
            "cleanup is for commands",
        ),
        (
            r#"{"target":"x","mode":"watch","cleanup":"none"}"#,
            "cleanup is for commands",
        ),
    ] {
        let mut raw = Raw::open(&scene.server, "/v1/exec", &[]).await;
        raw.send(BINARY, format!("\u{1}{body}").as_bytes()).await;
        let (code, reason) = raw.closed().await;
        assert_eq!(code, 4000, "{body}: {reason}");
        assert!(reason.contains(words), "{body}: {reason}");
    }
    assert_eq!(engine.asked(), []);
    let mut raw = Raw::open(&scene.server, "/v1/exec", &[]).await;
    let body = r#"{"target":"web","argv":["forever"],"cleanup":"none"}"#;
    raw.send(BINARY, format!("\u{1}{body}").as_bytes()).await;
    let ready = raw.message().await;
    assert_eq!(ready[0], 0x81);
    let ready: serde_json::Value = serde_json::from_slice(&ready[1..]).unwrap();
    assert!(
        ready["caps"]
            .as_array()
            .unwrap()
            .contains(&"cleanup".into()),
        "{ready}"
    );
    pass(1).await;
    assert_eq!(engine.asked(), [Some(Cleanup::Nothing)]);
}

/// The request's word, else the client's option, else nothing.
#[tokio::test(start_paused = true)]
async fn a_client_asks_as_its_request_or_its_options_say() {
    let engine = Follows::new();
    let scene = scene(&engine, Cleanup::Nothing);
    let plain = scene.client(ClientOptions::default());
    let kept = scene.client(ClientOptions::default().with_cleanup(Cleanup::Foreground));
    assert_eq!(plain.default_cleanup(), None);
    assert_eq!(kept.default_cleanup(), Some(Cleanup::Foreground));
    let request = ExecRequest::new(id("web"), ["forever"]);
    for (client, request) in [
        (&plain, request.clone()),
        (&kept, request.clone()),
        (&kept, request.with_cleanup(Cleanup::Nothing)),
    ] {
        client.exec(&request).await.unwrap().close().await.unwrap();
    }
    let asked = [None, Some(Cleanup::Foreground), Some(Cleanup::Nothing)];
    assert_eq!(engine.asked(), asked);
    // An option for commands is none for what is attached to, or looked at.
    let mut open = Open::default();
    (open.target, open.mode) = ("web".into(), OpenMode::Attach);
    kept.open(open).await.unwrap();
}

/// Asked for or not, it is on record what was to happen, and what did not.
#[tokio::test(start_paused = true)]
async fn what_a_session_was_to_leave_and_what_it_left_are_on_record() {
    let report = |outcome| {
        let session = SessionId::new("the-engines-own-id").unwrap();
        CleanupReport::new(id("web"), session, outcome)
    };
    let mut left = report(CleanupOutcome::Incomplete);
    left.left = vec![
        LeftBehind::new(77, "sleep"),
        LeftBehind::new(78, "x\u{1b}[2J"),
    ];
    let mut perhaps = report(CleanupOutcome::Clean);
    perhaps.unattributed = vec![LeftBehind::new(79, "orphan")];
    let unseen = report(CleanupOutcome::Unverified("no ps".to_owned()));
    for (report, words, is_done) in [
        (
            left,
            "cleanup-incomplete: of session the-engines-own-id, 2 processes still run in container web: 77 (sleep) 78 (x\\u{1b}[2J)",
            false,
        ),
        (unseen, "no ps", false),
        (perhaps, "perhaps of this session: 79 (orphan)", true),
        (report(CleanupOutcome::Clean), "", true),
    ] {
        for asked in [None, Some(Cleanup::Foreground)] {
            let scene = scene(&Follows::new().leaving(report.clone()), Cleanup::Nothing);
            let session = scene.open(asked, "forever").await.unwrap();
            pass(60).await;
            let effective = asked.unwrap_or(Cleanup::Tree);
            let events = scene.events();
            for event in &events {
                assert_eq!(label(event, "session").as_deref(), Some(session.as_str()));
            }
            // At its beginning what was asked for, at its end what held.
            let told = asked.map(|asked| asked.as_str().to_owned());
            assert_eq!(label(&events[0], "cleanup"), told);
            assert_eq!(
                label(&events[1], "cleanup").as_deref(),
                Some(effective.as_str())
            );
            let query = |word: &str| SessionQuery::default().with_cleanup(word);
            let found = scene
                .records
                .sessions(&query(effective.as_str()))
                .await
                .unwrap();
            assert_eq!(found[0].about.cleanup, Some(effective));
            assert!(
                scene
                    .records
                    .sessions(&query("none"))
                    .await
                    .unwrap()
                    .is_empty()
            );
            let after: Vec<_> = events[2..].iter().collect();
            if words.is_empty() {
                assert!(after.is_empty(), "{after:?}");
                continue;
            }
            assert_eq!(after.len(), 1, "{after:?}");
            assert_eq!(after[0].operation, "exec.cleanup");
            let shown = label(after[0], "left").unwrap();
            assert!(shown.contains(words), "{shown}");
            assert_eq!(label(after[0], "workload").as_deref(), Some("web"));
            assert_eq!(
                label(after[0], "cleanup").as_deref(),
                Some(effective.as_str())
            );
            match &after[0].outcome {
                AuditOutcome::Done => assert!(is_done, "{shown}"),
                AuditOutcome::Failed(text) => assert!(!is_done && *text == shown, "{text}"),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// An engine that does not say what it does by default has nothing made up for it.
#[tokio::test(start_paused = true)]
async fn what_is_not_known_is_not_on_record() {
    let mut engine = Follows::new();
    engine.default = None;
    let scene = scene(&engine, Cleanup::Tree);
    scene.open(None, "forever").await.unwrap();
    pass(60).await;
    assert!(
        scene
            .events()
            .iter()
            .all(|event| label(event, "cleanup").is_none())
    );
    let all = scene
        .records
        .sessions(&SessionQuery::default())
        .await
        .unwrap();
    assert_eq!(all[0].about.cleanup, None);
}
