//! Sessions that go on, from outside: the list, signals, ends, and what is on the record of them.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    Action, AuditEvent, AuditOutcome, AuditReceipt, AuditSink, ClockExt, Error, ErrorKind,
    ExecSession, Identity, OsRandom, Result, Signal,
};
use longshore_exec::{
    access::{AccessControl, AccessRequest, Admission, Place, StaticDirectory},
    client::{ClientOptions, RemoteExec, RemoteSession},
    gateway::GatewayOptions,
    protocol::native::{Open, OpenMode},
    session::EndReason,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    history::get,
    programs,
    server::{Server, Wire, id},
};

/// Tokens are names: `root` may do everything, `eve` look at records and sessions, others enter
/// containers.
#[derive(Debug)]
struct Rights;

#[async_trait]
impl AccessControl for Rights {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let name = request.credentials.token.clone().unwrap_or_default();
        let is_container = matches!(request.place, Place::Container(_));
        let may = match name.as_str() {
            "" => false,
            "root" => true,
            "eve" => !is_container && request.action == Action::Read,
            _ => is_container,
        };
        match may {
            true => Ok(Admission::new(Identity::new(name, "token"))),
            false => Err(Error::new(ErrorKind::PermissionDenied, "no")),
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Audit(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl AuditSink for Audit {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let outcome = match event.outcome {
            AuditOutcome::Started => "started",
            AuditOutcome::Done => "done",
            AuditOutcome::Denied(_) => "denied",
            _ => "failed",
        };
        let labels = ["signal", "why"].map(|name| event.target.labels.get(name));
        let labels = labels.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let (operation, who) = (&event.operation, &event.who.subject);
        if operation != "exec.open" {
            let line = format!("{operation} {who} {outcome} {labels}");
            self.0.lock().unwrap().push(line.trim().to_owned());
        }
        Ok(AuditReceipt {
            sequence: 0,
            hash: String::new(),
        })
    }
}

fn server() -> (Arc<Server>, Audit) {
    let engine = programs::scripted().with_workload(id("web"));
    let directory = StaticDirectory::new().with_engine(Arc::new(engine));
    let audit = Audit::default();
    let sink = Arc::new(audit.clone());
    let server = Server::new(directory, GatewayOptions::default(), |gateway| {
        gateway.with_access(Arc::new(Rights)).with_audit(sink)
    });
    (server, audit)
}

async fn opened(server: &Arc<Server>, who: &str, argv: &[&str]) -> RemoteSession {
    let client = RemoteExec::new(
        Arc::new(Wire(Arc::clone(server))),
        ClientOptions::default().with_token(who),
        Arc::clone(&server.clock),
        Arc::new(OsRandom),
    );
    let mut open = Open::default();
    open.target = "web".into();
    open.argv = argv.iter().map(|&word| word.to_owned()).collect();
    let session = client.open(open).await.unwrap();
    session.started().await.unwrap();
    session
}

async fn ask(server: &Server, who: &str, method: &str, path: &str) -> (u16, Value) {
    let headers = format!("Authorization: Bearer {who}\r\n");
    let (status, kind, body) = get(server, method, path, &headers).await;
    assert_eq!(kind, "application/json", "{body}");
    (status, body)
}

#[tokio::test(start_paused = true)]
async fn what_goes_on_is_listed_for_who_may_look_at_records() {
    let (server, _) = server();
    let ann = opened(&server, "ann", &["forever"]).await;
    server.clock.sleep(Duration::from_secs(2)).await;
    let bob = opened(&server, "bob", &["usr1", "3"]).await;
    for who in ["ann", "nobody"] {
        let (status, body) = ask(&server, who, "GET", "/v1/sessions").await;
        assert_eq!((status, body), (403, json!({ "message": "not allowed" })));
    }
    let (status, list) = ask(&server, "eve", "GET", "/v1/sessions").await;
    assert_eq!(status, 200);
    let shown: Vec<_> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| {
            let (user, commands) = (it["user"].as_str().unwrap(), it["commands"][0].as_str());
            assert_eq!(
                (&it["is_held"], &it["connections"]),
                (&json!(true), &json!(1))
            );
            assert_eq!(
                (&it["status"], &it["place"]),
                (&json!("active"), &json!("web"))
            );
            assert!(it["created_at"].as_u64().unwrap() > 0);
            (user, commands.unwrap(), it["session_id"].as_str().unwrap())
        })
        .collect();
    let expected = [
        ("bob", "usr1 3", bob.id().as_str()),
        ("ann", "forever", ann.id().as_str()),
    ];
    assert_eq!(shown, expected, "the newest first");
    // One whose client is away goes on; one that has ended does not.
    drop(ann);
    bob.signal(Signal::USR1).await.unwrap();
    bob.ended().await.unwrap();
    let waiting = async {
        loop {
            let (_, list) = ask(&server, "eve", "GET", "/v1/sessions").await;
            if list == json!([]) {
                return;
            }
            server.clock.sleep(Duration::from_millis(100)).await;
        }
    };
    let limit = Duration::from_secs(60);
    let empty = server.clock.timeout(limit, "an empty list", waiting);
    empty.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_signal_is_sent_by_who_may_enter_and_is_on_the_record() {
    let (server, audit) = server();
    let ann = opened(&server, "ann", &["usr1", "7"]).await;
    let path = |signal: &str| format!("/v1/sessions/{}/signal?signal={signal}", ann.id());
    // Not who may only look, nor who is nobody, nor the session's own user without leave to.
    for who in ["eve", "ann", "nobody"] {
        let (status, body) = ask(&server, who, "POST", &path("USR1")).await;
        assert_eq!((status, body), (403, json!({ "message": "not allowed" })));
    }
    for (signal, words) in [
        ("NOSUCH", "invalid signal"),
        ("0", "invalid signal 0"),
        ("", "invalid"),
    ] {
        let (status, body) = ask(&server, "root", "POST", &path(signal)).await;
        assert_eq!(status, 400, "{signal}");
        assert!(body["message"].as_str().unwrap().contains(words), "{body}");
    }
    let (status, _) = ask(
        &server,
        "root",
        "POST",
        "/v1/sessions/nosuch/signal?signal=1",
    )
    .await;
    assert_eq!(status, 404);
    // A link, or a page's form, does nothing.
    assert_eq!(ask(&server, "root", "GET", &path("USR1")).await.0, 405);
    let (status, body) = ask(&server, "root", "POST", &path("sigusr1")).await;
    assert_eq!((status, body), (200, json!({ "signal": "SIGUSR1" })));
    assert_eq!(ann.ended().await.unwrap().code, Some(7));
    let (status, _) = ask(&server, "root", "POST", &path("KILL")).await;
    assert!([404, 409].contains(&status), "{status}");
    let told = audit.0.lock().unwrap().clone();
    let expected = [
        "exec.signal unknown denied SIGUSR1",
        "exec.signal unknown denied SIGUSR1",
        "exec.signal unknown denied SIGUSR1",
        "exec.signal root started SIGHUP",
        "exec.signal root failed SIGHUP",
        "exec.signal root started SIGUSR1",
        "exec.signal root done SIGUSR1",
        "exec.signal root started SIGKILL",
        "exec.signal root failed SIGKILL",
    ];
    assert_eq!(told, expected);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_to_the_client_and_is_on_the_record() {
    let (server, audit) = server();
    let ann = opened(&server, "ann", &["forever"]).await;
    let path = format!("/v1/sessions/{}", ann.id());
    for who in ["eve", "ann"] {
        assert_eq!(ask(&server, who, "DELETE", &path).await.0, 403);
    }
    assert_eq!(ask(&server, "root", "GET", &path).await.0, 405);
    let long = format!("{path}?why={}", "a".repeat(300));
    assert_eq!(ask(&server, "root", "DELETE", &long).await.0, 400);
    let why = format!("{path}?why=maintenance%1b%5b2J");
    assert_eq!(ask(&server, "root", "DELETE", &why).await.0, 200);
    let end = ann.ended().await.unwrap();
    assert_eq!(end.reason, EndReason::EndedByOperator);
    let text = end.text.unwrap();
    assert!(
        text.contains("maintenance") && !text.contains('\x1b'),
        "{text}"
    );
    let told = audit.0.lock().unwrap().clone();
    let ends: Vec<_> = told.iter().filter(|line| line.contains("root")).collect();
    assert_eq!(ends.len(), 2, "{told:?}");
    assert!(ends[0].starts_with("exec.end root started maintenance"));
    assert!(ends[1].starts_with("exec.end root done maintenance"));
    // What is not there, or has ended, can't be ended.
    let (status, _) = ask(&server, "root", "DELETE", &path).await;
    assert!([404, 409].contains(&status), "{status}");
    assert_eq!(
        ask(&server, "root", "DELETE", "/v1/sessions/nosuch")
            .await
            .0,
        404
    );
}

/// What can't be a session's id is not on the record as one, and nothing is begun there without an end.
#[tokio::test(start_paused = true)]
async fn what_is_no_session_s_id_is_not_on_the_record() {
    let (server, audit) = server();
    let long = "a".repeat(200);
    for who in ["ann", "root"] {
        let path = format!("/v1/sessions/{long}");
        let (status, body) = ask(&server, who, "DELETE", &path).await;
        assert_eq!(status, 400, "{body}");
        let signal = format!("{path}/signal?signal=TERM");
        let (status, body) = ask(&server, who, "POST", &signal).await;
        assert_eq!(status, 400, "{body}");
        for target in [&long, "a/b"] {
            let client = RemoteExec::new(
                Arc::new(Wire(Arc::clone(&server))),
                ClientOptions::default().with_token(who),
                Arc::clone(&server.clock),
                Arc::new(OsRandom),
            );
            let mut open = Open::default();
            (open.mode, open.target) = (OpenMode::Watch, target.to_owned());
            client.open(open).await.unwrap_err();
        }
    }
    assert_eq!(*audit.0.lock().unwrap(), Vec::<String>::new());
}

/// Neither a foreign page nor a cookie gets anything done.
#[tokio::test(start_paused = true)]
async fn pages_of_other_sites_are_refused() {
    let (server, _) = server();
    let ann = opened(&server, "ann", &["forever"]).await;
    let path = format!("/v1/sessions/{}", ann.id());
    let bearer = "Authorization: Bearer root\r\n";
    let foreign = format!("{bearer}Origin: https://evil.example\r\n");
    let mut stream = server.dial();
    let request =
        format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\n{foreign}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let cookie = "Cookie: access_token=root\r\n";
    assert_eq!(get(&server, "DELETE", &path, cookie).await.0, 403);
    assert_eq!(server.hub.sessions().len(), 1);
}
