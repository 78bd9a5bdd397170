//! Who may do what, and that it is on record.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use http::Request;
use longshore_core::{
    Access, Action, AuditEvent, AuditOutcome, AuditReceipt, AuditSink, Authorizer, DenyAll, Error,
    ErrorKind, Identity, Result, Target, http::Upgraded,
};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use crate::cluster::{Cluster, Setup};

#[tokio::test]
async fn nothing_is_allowed_unless_somebody_says_so() {
    let cluster = Cluster::with(Setup {
        authorizer: Arc::new(DenyAll),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    client.get("/_ping").await.ok(200);
    for path in [
        "/info",
        "/containers/json",
        "/events",
        "/longshore/v1/nodes",
    ] {
        let answer = client.get(path).await.ok(403).json();
        assert_eq!(answer["reason"], "permission-denied", "{path}");
    }
    client
        .post("/containers/create?name=web", json!({"Image": "busybox"}))
        .await
        .ok(403);
    assert_eq!(cluster.daemons[0].asked("/containers/create"), 0);
    let records = cluster.audit.records();
    assert_eq!(
        records.len(),
        1,
        "what was refused is on record, reading is not"
    );
    assert!(matches!(records[0].event.outcome, AuditOutcome::Denied(_)));
}

/// Lets readers read and one team into its own containers; remembers what it was asked.
#[derive(Debug, Default)]
struct Team {
    asked: Mutex<Vec<(Identity, Action, Target)>>,
    closed: AtomicBool,
}

#[async_trait]
impl Authorizer for Team {
    async fn authorize(&self, who: &Identity, action: Action, target: &Target) -> Result<Access> {
        let asked = (who.clone(), action, target.clone());
        self.asked.lock().unwrap().push(asked);
        let denied = Error::new(ErrorKind::PermissionDenied, "not your container");
        if self.closed.load(Ordering::SeqCst) {
            return Err(denied);
        }
        match action {
            Action::Enter if target.labels.get("team") != Some("blue") => Err(denied),
            _ => {
                let mut access = Access::default();
                access.valid_for = Some(std::time::Duration::from_millis(50));
                Ok(access)
            }
        }
    }
}

/// Allows everything, but one action on things of one kind that are called so.
#[derive(Debug)]
pub(crate) struct Except(
    pub(crate) Action,
    pub(crate) &'static str,
    pub(crate) &'static [&'static str],
);

#[async_trait]
impl Authorizer for Except {
    async fn authorize(&self, _: &Identity, action: Action, target: &Target) -> Result<Access> {
        let Self(not, kind, names) = self;
        match action == *not && target.kind == *kind && names.contains(&&*target.name) {
            true => Err(Error::new(ErrorKind::PermissionDenied, "not for you")),
            false => Ok(Access::default()),
        }
    }
}

#[tokio::test]
async fn the_authorizer_sees_who_what_and_labels() {
    let team = Arc::new(Team::default());
    let cluster = Cluster::with(Setup {
        authorizer: team.clone(),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    client
        .create("mine", json!({"Labels": {"team": "blue"}}))
        .await;
    client.create("theirs", json!({})).await;
    client
        .post("/containers/mine/exec", json!({"Cmd": ["sh"]}))
        .await
        .ok(201);
    client
        .post("/containers/theirs/exec", json!({"Cmd": ["sh"]}))
        .await
        .fails(403, "not your container", "permission-denied");
    client
        .get("/containers/theirs/archive?path=/")
        .await
        .ok(403);
    client.get("/containers/theirs/logs").await.ok(200);
    let asked = team.asked.lock().unwrap();
    let uid = std::fs::metadata("/proc/self").map(|meta| {
        use std::os::unix::fs::MetadataExt;
        meta.uid()
    });
    let me = Identity::new(format!("unix:{}", uid.unwrap()), "unix");
    assert!(asked.iter().all(|(who, ..)| *who == me));
    let (_, action, target) = asked
        .iter()
        .find(|(_, action, _)| *action == Action::Enter)
        .unwrap();
    assert_eq!(*action, Action::Enter);
    assert_eq!(
        (target.kind.as_str(), target.name.as_str()),
        ("container", "mine")
    );
}

/// Refuses commands through the Docker API, as `docs/exec.md` says.
#[derive(Debug)]
struct NoExec;

#[async_trait]
impl Authorizer for NoExec {
    async fn authorize(&self, _: &Identity, action: Action, target: &Target) -> Result<Access> {
        match (action, target.kind.as_str()) {
            (Action::Enter, "exec") => {
                let why = "enter it through the exec gateway";
                Err(Error::new(ErrorKind::PermissionDenied, why))
            }
            _ => Ok(Access::default()),
        }
    }
}

#[tokio::test]
async fn commands_of_the_docker_api_can_be_refused_by_their_kind() {
    let cluster = Cluster::with(Setup {
        authorizer: Arc::new(NoExec),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    client.create("web", json!({})).await;
    let made = client
        .post("/containers/web/exec", json!({"Cmd": ["sh"]}))
        .await
        .ok(201);
    let made = made.json();
    let id = made["Id"].as_str().unwrap();
    for how in [json!({"Detach": true}), json!({"Tty": true})] {
        client.post(&format!("/exec/{id}/start"), how).await.fails(
            403,
            "enter it through the exec gateway",
            "permission-denied",
        );
    }
    let started = format!("/exec/{id}/start");
    assert_eq!(cluster.daemons[0].asked(&started), 0, "nothing began");
}

#[tokio::test]
async fn leave_that_ends_ends_the_session() {
    let team = Arc::new(Team::default());
    let cluster = Cluster::with(Setup {
        authorizer: team.clone(),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    client
        .create("mine", json!({"Labels": {"team": "blue"}}))
        .await;
    let request = Request::post("/containers/mine/attach?stdin=1")
        .body(Bytes::new())
        .unwrap();
    let Upgraded::Stream { mut stream, .. } = client.0.upgrade(request).await.unwrap() else {
        panic!("refused")
    };
    let mut greeting = [0; 8];
    stream.read_exact(&mut greeting).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    team.closed.store(true, Ordering::SeqCst);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(
        std::time::Duration::from_secs(5),
        stream.read_to_end(&mut rest),
    );
    assert!(ended.await.is_ok(), "the session went on without leave");
    cluster
        .until("the end is on record", || {
            let records = cluster.audit.records();
            matches!(
                records.last().unwrap().event.outcome,
                AuditOutcome::Denied(_)
            )
        })
        .await;
}

#[tokio::test]
async fn start_and_end_of_every_change_are_on_record() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client.create("web", json!({})).await;
    client
        .post("/containers/web/start", Value::Null)
        .await
        .ok(204);
    client.delete("/containers/nobody").await.ok(404);
    client.get("/containers/web/json").await.ok(200);
    let records = cluster.audit.records();
    let told: Vec<(String, String, Option<String>)> = records
        .iter()
        .map(|record| {
            let event = &record.event;
            (
                event.operation.clone(),
                format!("{:?}", event.outcome),
                event.node.clone(),
            )
        })
        .collect();
    let row = |operation: &str, outcome: &str, node: Option<&str>| {
        (
            operation.to_owned(),
            outcome.to_owned(),
            node.map(str::to_owned),
        )
    };
    let node = Some("node-1");
    let create = "POST /containers/create?name=web image=busybox";
    assert_eq!(
        told,
        [
            row(create, "Started", None),
            row(&format!("{create} id={id}"), "Done", node),
            row("POST /containers/web/start", "Started", None),
            row("POST /containers/web/start", "Done", node),
            row("DELETE /containers/nobody", "Started", None),
            row(
                "DELETE /containers/nobody",
                "Failed(\"Container nobody not found\")",
                None
            ),
        ]
    );
}

#[derive(Debug)]
struct Full;

#[async_trait]
impl AuditSink for Full {
    async fn record(&self, _: AuditEvent) -> Result<AuditReceipt> {
        Err(Error::unavailable("the disk is full"))
    }
}

#[tokio::test]
async fn what_can_t_be_recorded_is_not_done() {
    let cluster = Cluster::with(Setup {
        audit: Some(Arc::new(Full)),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    client
        .post("/containers/create?name=web", json!({"Image": "busybox"}))
        .await
        .fails(
            500,
            "refused, because the audit log can't be written: the disk is full",
            "audit",
        );
    assert_eq!(cluster.daemons[0].asked("/containers/create"), 0);
    client.get("/containers/json").await.ok(200);
}

#[tokio::test]
async fn the_log_says_what_was_done_but_no_secret() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let secret = json!({"Env": ["PASSWORD=hunter2"], "Cmd": ["sh"]});
    client.create("web", secret.clone()).await;
    let kill = "/containers/web/kill?signal=SIGKILL&token=hunter2";
    client.post(kill, Value::Null).await.ok(204);
    let rename = "/containers/web/rename?name=shop";
    client.post(rename, Value::Null).await.ok(204);
    let exec = json!({"Cmd": ["cat", "/etc/shadow"], "Env": ["PASSWORD=hunter2"]});
    client.post("/containers/shop/exec", exec).await.ok(201);
    let import = "/images/create?fromSrc=http%3A%2F%2Fme%3Ahunter2%40x%2Fy&repo=r";
    client.post(import, Value::Null).await.ok(200);
    let many = json!({"Cmd": vec!["x".repeat(1000); 1000]});
    client.post("/containers/shop/exec", many).await.ok(201);
    let records = cluster.audit.records();
    let told: Vec<&str> = records
        .iter()
        .filter(|record| record.event.outcome == AuditOutcome::Started)
        .map(|record| record.event.operation.as_str())
        .collect();
    assert_eq!(
        told[..5],
        [
            "POST /containers/create?name=web image=busybox",
            "POST /containers/web/kill?signal=SIGKILL&token=…",
            "POST /containers/web/rename?name=shop",
            "POST /containers/shop/exec command=[\"cat\",\"/etc/shadow\"]",
            "POST /images/create?fromSrc=…&repo=r",
        ]
    );
    assert!(told[5].len() < 1000, "{}", told[5].len());
    let made = &records[0].event.target;
    assert_eq!(
        (made.kind.as_str(), made.name.as_str()),
        ("container", "web")
    );
    assert!(!format!("{records:?}").contains("hunter2"));
}

#[tokio::test]
async fn long_names_and_messages_are_cut() {
    let cluster = Cluster::new().await;
    let name = "é".repeat(10_000);
    let path = format!("/containers/{}", "%C3%A9".repeat(10_000));
    cluster.client().delete(&path).await.ok(404);
    let records = cluster.audit.records();
    let failed = &records.last().unwrap().event;
    assert!(name.starts_with(failed.target.name.trim_end_matches('…')));
    for text in [
        &failed.target.name,
        &failed.operation,
        &format!("{:?}", failed.outcome),
    ] {
        assert!((400..600).contains(&text.len()), "{}", text.len());
    }
    assert_eq!(cluster.audit.verify(None).unwrap(), 2);
}
