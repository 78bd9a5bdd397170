//! LAIN Entry's HTTP API over records, and the replay of what was recorded.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::STANDARD};
use longshore_core::{ClockExt, Error, ErrorKind, Identity, Result, SystemClock};
use longshore_exec::{
    ScriptedExec,
    access::{AccessControl, AccessRequest, Admission, Located, Place, StaticDirectory},
    gateway::GatewayOptions,
    record::{MemoryRecords, RecordLimits},
    session::SessionOptions,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    raw::{CLOSE, Raw, TEXT},
    server::{Server, id},
};

/// Tokens are names; only `auditor` may look at records.
#[derive(Debug)]
struct Names;

#[async_trait]
impl AccessControl for Names {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let refused = |text: &'static str| Error::new(ErrorKind::PermissionDenied, text);
        let name = request
            .credentials
            .token
            .clone()
            .ok_or_else(|| refused("who are you?"))?;
        match request.place {
            Place::Records | Place::Session(_) if name != "auditor" => Err(refused("not yours")),
            _ => Ok(Admission::new(Identity::new(name, "token"))),
        }
    }
}

fn server() -> Arc<Server> {
    let exec = ScriptedExec::new().with_workload(id("c1")).with_program(
        "/bin/bash",
        |mut process| async move {
            process.print("$ ").await;
            while let Some(key) = process.read(1).await {
                process
                    .print(if key == "\r" {
                        "\r\n".into()
                    } else {
                        key.clone()
                    })
                    .await;
                if key == "q" {
                    return 3;
                }
            }
            0
        },
    );
    let place = Place::Lain {
        app: "shop".into(),
        proc: "web".into(),
        instance: "1".into(),
    };
    let located = Located::new(Arc::new(exec), id("c1")).with_node("node-1");
    let records = Arc::new(MemoryRecords::new(RecordLimits::default()));
    let options = GatewayOptions::default()
        .with_session(SessionOptions::default().with_input_recorded())
        .with_real_ip_trusted();
    let recorder = records.clone();
    Server::with_hub(
        StaticDirectory::new().with(place, located),
        options,
        |hub| hub.with_recorder(recorder),
        |gateway| gateway.with_access(Arc::new(Names)).with_records(records),
    )
}

/// Status, content type, body.
pub(crate) async fn get(
    server: &Server,
    method: &str,
    path: &str,
    headers: &str,
) -> (u16, String, Value) {
    let mut stream = server.dial();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    let kind = head.split("content-type: ").nth(1).unwrap_or_default();
    let kind = kind.split("\r\n").next().unwrap().to_owned();
    (
        head[9..12].parse().unwrap(),
        kind,
        serde_json::from_str(body).unwrap(),
    )
}

const AUDITOR: &str = "Cookie: access_token=auditor\r\n";

async fn ask(server: &Server, path: &str) -> Value {
    let (status, kind, body) = get(server, "GET", path, AUDITOR).await;
    assert_eq!(
        (status, kind.as_str()),
        (200, "application/vnd.laincloud.entry.v3+json"),
        "{body}"
    );
    body
}

/// A stock client's visit: `keys`, then `q`.
async fn visit(server: &Server, user: &str, keys: &str) {
    let headers = [
        ("access-token", user),
        ("app-name", "shop"),
        ("proc-name", "web"),
        ("instance-no", "1"),
        ("X-Real-IP", "192.0.2.7"),
    ];
    let mut raw = Raw::open(server, "/enter", &headers).await;
    for key in keys.chars().chain(['q']) {
        SystemClock::new().sleep(Duration::from_millis(500)).await;
        raw.send(TEXT, &[0x12, 1, key as u8]).await;
    }
    raw.closed().await;
    SystemClock::new().sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn the_index_answers_who_what_where_and_when() {
    let server = server();
    visit(&server, "alice@example.com", "ls\r").await;
    visit(&server, "bob@example.com", "make\r").await;
    let all = ask(&server, "/api/sessions").await;
    let users: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|session| &session["user"])
        .collect();
    assert_eq!(users, ["bob@example.com", "alice@example.com"]);
    let found = ask(&server, "/api/sessions?user=alice%25&app_name=sh_p&limit=5").await;
    let mut session = found[0].clone();
    let times = (session["created_at"].take(), session["ended_at"].take());
    assert!(times.0.as_u64().unwrap() > 1_700_000_000 && times.1.as_u64() > times.0.as_u64());
    let expected = json!({
        "session_id": session["session_id"], "user": "alice@example.com", "source_ip": "192.0.2.7",
        "app_name": "shop", "proc_name": "web", "instance_no": "1", "container_id": "c1",
        "node_ip": "node-1", "status": "inactive", "created_at": null, "ended_at": null,
        "place": "shop/web/1", "commands": ["/bin/bash", "bash", "/bin/sh", "sh", "longshore-shell"], "reason": "exited", "exit_code": 3,
        "cleanup": "tree",
    });
    assert_eq!(session, expected);
    let by_cleanup = async |word: &str| {
        let found = ask(&server, &format!("/api/sessions?cleanup={word}")).await;
        found.as_array().unwrap().len()
    };
    assert_eq!((by_cleanup("tree").await, by_cleanup("none").await), (2, 0));
    let one = session["session_id"].as_str().unwrap();
    assert_eq!(
        ask(&server, &format!("/api/sessions?session_id={one}"))
            .await
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(
        ask(&server, "/api/sessions?limit=1&offset=1").await[0]["user"],
        "alice@example.com"
    );
    assert_eq!(
        ask(&server, "/api/sessions?since=99999999999").await,
        json!([])
    );
    for (query, found) in [
        ("container=c1", 2),
        ("container=shop/web/_", 2),
        ("container=c2", 0),
        ("node=node-1&container=c1", 2),
        ("node=node-2", 0),
        ("command=%25bash", 2),
        ("command=make", 0),
        ("until=99999999999", 2),
        ("until=1", 0),
    ] {
        let sessions = ask(&server, &format!("/api/sessions?{query}")).await;
        assert_eq!(sessions.as_array().unwrap().len(), found, "{query}");
        let commands = ask(&server, &format!("/api/commands?{query}")).await;
        // What each of them typed, and `q`.
        assert_eq!(commands.as_array().unwrap().len(), 2 * found, "{query}");
    }
    let commands = ask(&server, "/api/commands?content=%25s&user=alice%25").await;
    assert_eq!(commands.as_array().unwrap().len(), 1);
    assert_eq!(commands[0]["content"], "ls");
    assert_eq!(
        (&commands[0]["is_guess"], &commands[0]["session_id"]),
        (&json!(true), &json!(one))
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_recorded_is_replayed_in_its_own_time() {
    let server = server();
    visit(&server, "alice@example.com", "ls\r").await;
    let session = ask(&server, "/api/sessions").await[0]["session_id"]
        .as_str()
        .unwrap()
        .to_owned();
    let path = format!("/api/sessions/{session}/replay");
    let clock = SystemClock::new();
    let start = longshore_core::Clock::now(&clock);
    let mut raw = Raw::open(&server, &path, &[("Cookie", "access_token=auditor")]).await;
    let (mut shown, mut times) = (String::new(), Vec::new());
    loop {
        let message: Value = serde_json::from_slice(&raw.message().await).unwrap();
        let content = STANDARD
            .decode(message["content"].as_str().unwrap())
            .unwrap();
        match message.get("msgType").and_then(Value::as_u64) {
            None => {
                shown.push_str(&String::from_utf8(content).unwrap());
                let at = longshore_core::Clock::now(&clock).since(start);
                times.push((at.as_millis() as f64 / 500.0).round() as u64);
            }
            Some(2) => break assert!(String::from_utf8(content).unwrap().contains("replay done")),
            _ => {}
        }
    }
    assert_eq!(shown, "$ ls\r\nq");
    assert_eq!(times.last(), Some(&4), "{times:?}");
    let mut refused = Raw::open(&server, &path, &[("Cookie", "access_token=alice")]).await;
    let message: Value = serde_json::from_slice(&refused.message().await).unwrap();
    let text = STANDARD
        .decode(message["content"].as_str().unwrap())
        .unwrap();
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("Authorization failed")
    );
}

#[tokio::test(start_paused = true)]
async fn who_may_not_look_is_told_so_in_the_api_s_own_form() {
    let server = server();
    assert_eq!(get(&server, "GET", "/api/ping", "").await.2, json!("OK"));
    for path in ["/api/sessions", "/api/commands"] {
        for headers in ["", "Cookie: access_token=alice\r\n"] {
            let (status, kind, body) = get(&server, "GET", path, headers).await;
            assert_eq!((status, body), (401, json!({"message": "not allowed"})));
            assert_eq!(kind, "application/vnd.laincloud.entry.v3+json");
        }
        assert_eq!(get(&server, "POST", path, AUDITOR).await.0, 405);
        for query in ["limit=x", "since=-1", "offset=1.5", "until=now"] {
            let (status, _, body) = get(&server, "GET", &format!("{path}?{query}"), AUDITOR).await;
            assert_eq!(status, 400, "{query}");
            assert!(body["message"].as_str().unwrap().contains(query));
        }
        let long = format!("{path}?user={}", "%25a".repeat(200));
        assert_eq!(get(&server, "GET", &long, AUDITOR).await.0, 400);
    }
}

/// All at once, and only with leave to look at the session.
#[tokio::test(start_paused = true)]
async fn a_record_is_given_whole_as_asciicast() {
    let server = server();
    visit(&server, "alice@example.com", "ls\r").await;
    let sessions = ask(&server, "/api/sessions").await;
    let session = sessions[0]["session_id"].as_str().unwrap();
    let path = format!("/api/sessions/{session}/replay?format=");
    let open = async |who: &str, format: &str| {
        let cookie = format!("access_token={who}");
        Raw::open(&server, &format!("{path}{format}"), &[("Cookie", &cookie)]).await
    };
    let start = server.clock.now();
    let mut raw = open("auditor", "asciicast").await;
    let mut lines = Vec::new();
    let code = loop {
        match raw.receive().await.unwrap() {
            (TEXT, line) => {
                assert_eq!(line.last(), Some(&b'\n'));
                lines.push(serde_json::from_slice::<Value>(&line).unwrap());
            }
            (CLOSE, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, 1000);
    assert!(
        server.clock.now().since(start) < Duration::from_secs(1),
        "not in its own time"
    );
    assert_eq!(
        (&lines[0]["version"], &lines[0]["width"]),
        (&json!(2), &json!(80))
    );
    let output: Vec<_> = lines.iter().filter(|line| line[1] == "o").collect();
    let text: String = output
        .iter()
        .map(|line| line[2].as_str().unwrap())
        .collect();
    assert_eq!(text, "$ ls\r\nq");
    assert!(
        output.last().unwrap()[0].as_f64().unwrap() > 1.5,
        "{output:?}"
    );
    for (who, format) in [("alice@example.com", "asciicast"), ("auditor", "video")] {
        let mut raw = open(who, format).await;
        let told: Value = serde_json::from_slice(&raw.message().await).unwrap();
        assert_eq!(told["msgType"], 2, "{who} {format}");
    }
}
