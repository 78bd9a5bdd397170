//! Who writes in a session that several look at, over the wire.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{
    Action, AuditEvent, AuditOutcome, AuditReceipt, AuditSink, ClockExt, Error, ErrorKind,
    Identity, Result,
};
use longshore_exec::{
    access::{AccessControl, AccessRequest, Admission, Place, StaticDirectory},
    gateway::GatewayOptions,
    protocol::native::{ClientFrame, NoticeFrame, Open, OpenMode, ReadyFrame, Resume, ServerFrame},
    session::{Role, ViewerId},
};

use crate::{
    programs,
    raw::{BINARY, CLOSE, Raw},
    server::{Server, id},
};

/// `ann` may do everything, `bob` enter sessions, everybody else look at them.
#[derive(Debug)]
struct Rights;

#[async_trait]
impl AccessControl for Rights {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let token = request.credentials.token.clone().unwrap_or_default();
        let looks = request.action == Action::Read;
        let is_session = matches!(request.place, Place::Session(_));
        match token.as_str() {
            "ann" => {}
            "bob" if is_session => {}
            _ if is_session && looks => {}
            _ => return Err(Error::new(ErrorKind::PermissionDenied, "no")),
        }
        Ok(Admission::new(Identity::new(token, "token")))
    }
}

/// Operation, who, what came of it, and labels.
type Seen = Arc<Mutex<Vec<String>>>;

#[derive(Debug)]
struct Audit {
    seen: Seen,
    full: Arc<AtomicBool>,
    /// It takes two seconds to record what came of something.
    slow: Arc<AtomicBool>,
}

#[async_trait]
impl AuditSink for Audit {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let outcome = match event.outcome {
            AuditOutcome::Started => "starts",
            AuditOutcome::Done => "done",
            _ => "not done",
        };
        if self.full.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the disk is full"));
        }
        let mut seen = format!("{} {} {outcome}", event.operation, event.who.subject);
        for name in ["mode", "to", "viewer"] {
            if let Some(value) = event.target.labels.get(name) {
                seen += &format!(" {name}={value}");
            }
        }
        if outcome != "starts" && self.slow.load(Ordering::Relaxed) {
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        self.seen.lock().unwrap().push(seen);
        Ok(AuditReceipt {
            sequence: 0,
            hash: String::new(),
        })
    }
}

struct Scene {
    server: Arc<Server>,
    seen: Seen,
    full: Arc<AtomicBool>,
    slow: Arc<AtomicBool>,
}

impl Scene {
    fn new() -> Self {
        let exec = programs::scripted().with_workload(id("web"));
        let directory = StaticDirectory::new().with_engine(Arc::new(exec));
        let seen = Seen::default();
        let (full, slow) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let audit = Arc::new(Audit {
            seen: Arc::clone(&seen),
            full: Arc::clone(&full),
            slow: Arc::clone(&slow),
        });
        let server = Server::new(directory, GatewayOptions::default(), |gateway| {
            gateway.with_access(Arc::new(Rights)).with_audit(audit)
        });
        Self {
            server,
            seen,
            full,
            slow,
        }
    }

    /// What is on the record of changes and of those who came, once the last of it is there.
    async fn changes(&self, last: &str) -> Vec<String> {
        let all = async {
            loop {
                let seen = self.seen.lock().unwrap().clone();
                if seen.iter().any(|line| line == last) {
                    return seen;
                }
                self.server.clock.sleep(Duration::from_millis(10)).await;
            }
        };
        let limit = Duration::from_secs(10);
        let seen = self.server.clock.timeout(limit, "the record", all).await;
        let changes = seen.unwrap().into_iter().filter(|line| {
            !line.starts_with("exec.open") && !line.starts_with("exec.watch bob starts")
        });
        changes.collect()
    }

    async fn join(&self, who: &str, mode: OpenMode, target: &str) -> Party {
        let mut open = Open::default();
        (open.mode, open.target, open.stdin) = (mode, target.to_owned(), true);
        open.token = Some(who.to_owned());
        if mode == OpenMode::Exec {
            open.argv = vec!["copy".into()];
        }
        self.first(&ClientFrame::Open(Box::new(open))).await
    }

    async fn first(&self, frame: &ClientFrame) -> Party {
        let mut raw = Raw::open(&self.server, "/v1/exec", &[]).await;
        raw.send(BINARY, &frame.encode()).await;
        let ServerFrame::Ready(ready) = ServerFrame::decode(raw.message().await.into()).unwrap()
        else {
            panic!("not READY");
        };
        Party { raw, ready }
    }
}

struct Party {
    raw: Raw,
    ready: ReadyFrame,
}

impl Party {
    /// What it comes back with.
    fn back(&self, want: u64) -> Resume {
        Resume {
            session: self.ready.session.clone(),
            secret: self.ready.secret.clone().unwrap(),
            want,
            snapshot: false,
            text: false,
            compress: false,
            people: false,
        }
    }

    async fn says(&mut self, frame: ClientFrame) {
        self.raw.send(BINARY, &frame.encode()).await;
    }

    /// The next notice with this code.
    async fn notice(&mut self, code: &str) -> NoticeFrame {
        loop {
            match ServerFrame::decode(self.raw.message().await.into()).unwrap() {
                ServerFrame::Notice(notice) if notice.code == code => return notice,
                ServerFrame::Exit(exit) => panic!("{exit:?}"),
                _ => {}
            }
        }
    }

    /// Types, and sees its echo.
    async fn types(&mut self, offset: u64, text: &'static str) {
        self.says(ClientFrame::Input(
            offset,
            Bytes::from_static(text.as_bytes()),
        ))
        .await;
        let mut seen = Vec::new();
        while !seen.ends_with(text.as_bytes()) {
            match ServerFrame::decode(self.raw.message().await.into()).unwrap() {
                ServerFrame::Output(at, _, bytes) => {
                    seen.extend_from_slice(&bytes);
                    self.says(ClientFrame::Ack(at + bytes.len() as u64)).await;
                }
                ServerFrame::Notice(notice) => assert_ne!(notice.code, "read-only", "{text}"),
                _ => {}
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_right_to_write_is_passed_on_and_taken_back() {
    let scene = Scene::new();
    let mut ann = scene.join("ann", OpenMode::Exec, "web").await;
    ann.types(0, "one").await;
    let session = ann.ready.session.clone();
    let mut bob = scene.join("bob", OpenMode::Approve, &session).await;
    let number = ann.notice("joined").await.viewer.unwrap();
    // Nobody takes it.
    bob.says(ClientFrame::Grant(number)).await;
    bob.notice("not-granted").await;
    bob.says(ClientFrame::TakeBack).await;
    bob.notice("not-granted").await;
    bob.says(ClientFrame::Input(3, "no".into())).await;
    bob.notice("read-only").await;
    // It is given.
    ann.says(ClientFrame::Grant(number)).await;
    ann.notice("read-only").await;
    assert_eq!(bob.notice("may-write").await.in_next, Some(3));
    bob.types(3, "two").await;
    // What was lent is not bob's to end.
    bob.says(ClientFrame::InputEnd(6)).await;
    ann.says(ClientFrame::Input(6, "no".into())).await;
    ann.notice("read-only").await;
    // It is taken back.
    ann.says(ClientFrame::TakeBack).await;
    assert_eq!(ann.notice("may-write").await.in_next, Some(6));
    bob.notice("read-only").await;
    ann.types(6, "three").await;
    // It comes back.
    ann.says(ClientFrame::Grant(number)).await;
    bob.notice("may-write").await;
    drop(bob);
    assert_eq!(ann.notice("left").await.viewer, Some(number));
    assert_eq!(ann.notice("may-write").await.in_next, Some(11));
    ann.types(11, "four").await;
    let left = format!("exec.give-back bob done viewer={number}");
    let changes = scene.changes(&left).await;
    let expected = [
        ("exec.grant ann", format!("to=bob viewer={number}")),
        ("exec.take-back ann", "to=ann viewer=0".into()),
        ("exec.grant ann", format!("to=bob viewer={number}")),
    ];
    let mut told = vec![format!("exec.watch bob done mode=approve viewer={number}")];
    for (what, labels) in expected {
        told.extend(["starts", "done"].map(|outcome| format!("{what} {outcome} {labels}")));
    }
    told.push(left);
    assert_eq!(changes, told);
}

/// Who has no say in it does not fill the record, which fails closed when it is full.
#[tokio::test(start_paused = true)]
async fn who_may_not_change_anything_leaves_no_record() {
    let scene = Scene::new();
    let mut ann = scene.join("ann", OpenMode::Exec, "web").await;
    let session = ann.ready.session.clone();
    let mut eve = scene.join("eve", OpenMode::Watch, &session).await;
    for _ in 0..20 {
        eve.says(ClientFrame::TakeBack).await;
        eve.says(ClientFrame::Grant(1)).await;
        eve.notice("not-granted").await;
        // Nor does what changes nothing.
        ann.says(ClientFrame::TakeBack).await;
        ann.says(ClientFrame::Grant(0)).await;
    }
    ann.types(0, "mine").await;
    let count = |scene: &Scene| {
        let seen = scene.seen.lock().unwrap();
        let changes = seen
            .iter()
            .filter(|line| line.starts_with("exec.grant") || line.starts_with("exec.take-back"));
        changes.count()
    };
    assert_eq!(count(&scene), 0);
    // Who has a say fills it slowly.
    for _ in 0..40 {
        ann.says(ClientFrame::Grant(77)).await;
        ann.notice("not-granted").await;
    }
    assert_eq!(count(&scene), 16);
    scene.server.clock.sleep(Duration::from_secs(2)).await;
    for _ in 0..40 {
        ann.says(ClientFrame::Grant(77)).await;
        ann.notice("not-granted").await;
    }
    assert_eq!(count(&scene), 20);
}

/// Also when the connection that asked is gone before it is written.
#[tokio::test(start_paused = true)]
async fn what_came_of_a_change_is_on_the_record() {
    let scene = Scene::new();
    let mut ann = scene.join("ann", OpenMode::Exec, "web").await;
    let session = ann.ready.session.clone();
    let mut bob = scene.join("bob", OpenMode::Approve, &session).await;
    let number = ann.notice("joined").await.viewer.unwrap();
    scene.slow.store(true, Ordering::Relaxed);
    ann.says(ClientFrame::Grant(number)).await;
    bob.notice("may-write").await;
    // Another connection takes over, which ends the one that asked.
    let back = ann.back(0);
    let _again = scene.first(&ClientFrame::Resume(back)).await;
    let done = format!("exec.grant ann done to=bob viewer={number}");
    assert!(scene.changes(&done).await.contains(&done));
}

/// What can't be recorded does not happen.
#[tokio::test(start_paused = true)]
async fn no_right_is_passed_on_without_a_record() {
    let scene = Scene::new();
    let mut ann = scene.join("ann", OpenMode::Exec, "web").await;
    let session = ann.ready.session.clone();
    let mut bob = scene.join("bob", OpenMode::Approve, &session).await;
    let number = ann.notice("joined").await.viewer.unwrap();
    scene.full.store(true, Ordering::Relaxed);
    ann.says(ClientFrame::Grant(number)).await;
    ann.notice("not-granted").await;
    ann.types(0, "mine").await;
    bob.says(ClientFrame::Input(4, "no".into())).await;
    bob.notice("read-only").await;
}

/// Leave to look is no leave to write, whoever wants to give it.
#[tokio::test(start_paused = true)]
async fn who_may_only_look_is_granted_nothing() {
    let scene = Scene::new();
    let mut ann = scene.join("ann", OpenMode::Exec, "web").await;
    let session = ann.ready.session.clone();
    let mut eve = scene.join("eve", OpenMode::Watch, &session).await;
    for number in [1, 2, 77] {
        ann.says(ClientFrame::Grant(number)).await;
        ann.notice("not-granted").await;
    }
    let name = longshore_core::SessionId::new(session.clone()).unwrap();
    let here = scene.server.hub.connections(&name).unwrap();
    assert_eq!(
        here.iter().map(|(_, role)| *role).collect::<Vec<_>>(),
        [Role::Writer, Role::Watcher]
    );
    let denied = scene.server.hub.grant(&name, here[1].0).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::PermissionDenied);
    let missing = scene
        .server
        .hub
        .grant(&name, ViewerId::new(77))
        .unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    ann.types(0, "still").await;
    eve.says(ClientFrame::Input(5, "no".into())).await;
    eve.notice("read-only").await;
    // Who may not enter does not join as one who may be granted it.
    let mut raw = Raw::open(&scene.server, "/v1/exec", &[]).await;
    let mut open = Open::default();
    (open.mode, open.target) = (OpenMode::Approve, session);
    open.token = Some("eve".to_owned());
    raw.send(BINARY, &ClientFrame::Open(Box::new(open)).encode())
        .await;
    assert_eq!(raw.closed().await.0, 4003);
}

/// A moderator passes it on from outside; whoever comes back with the secret has it, and the other
/// looks on again.
#[tokio::test(start_paused = true)]
async fn who_comes_back_has_the_right_again() {
    let scene = Scene::new();
    let mut ann = scene.join("ann", OpenMode::Exec, "web").await;
    ann.types(0, "one").await;
    let session = ann.ready.session.clone();
    let mut bob = scene.join("bob", OpenMode::Approve, &session).await;
    let number = ann.notice("joined").await.viewer.unwrap();
    let name = longshore_core::SessionId::new(session.clone()).unwrap();
    scene
        .server
        .hub
        .grant(&name, ViewerId::new(number))
        .unwrap();
    bob.notice("may-write").await;
    let back = ann.back(3);
    drop(ann);
    scene.server.clock.sleep(Duration::from_secs(1)).await;
    bob.types(3, "two").await;
    let mut ann = scene.first(&ClientFrame::Resume(back)).await;
    assert_eq!(ann.ready.in_next, 6);
    bob.notice("read-only").await;
    ann.types(6, "three").await;
    let next = scene
        .server
        .clock
        .timeout(Duration::from_secs(5), "a close", async {
            while !matches!(bob.raw.receive().await, Some((CLOSE, _)) | None) {}
        });
    next.await.unwrap_err();
}
