//! Docker's API as a client sees it on the wire, in front of the process engine.

#![cfg(all(feature = "api", feature = "process", target_os = "linux"))]
#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use longshore_core::{
    Clock, Engine, ErrorKind, ExecBackend, OsRandom, Shutdown, SystemClock,
    http::{Body, HttpClient, Upgraded, empty_body, full_body, read_body},
};
use longshore_engine::{EngineApi, ProcessEngine, ProcessOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Api {
    client: HttpClient,
    engine: Arc<ProcessEngine>,
    api: EngineApi,
}

impl Api {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let random = Arc::new(OsRandom);
        let options = ProcessOptions::default();
        let engine = ProcessEngine::new(options, Arc::clone(&clock), random.clone()).unwrap();
        let api = EngineApi::new(engine.clone(), engine.clone(), Arc::clone(&clock), random);
        Self {
            client: HttpClient::new(api.connector(), clock),
            engine,
            api,
        }
    }

    async fn send(&self, method: &str, path: &str, body: Body) -> (StatusCode, Bytes) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(body)
            .unwrap();
        let answer = self.client.send(request).await.unwrap();
        let status = answer.status();
        (
            status,
            read_body(answer.into_body(), 1 << 20).await.unwrap(),
        )
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, body) = self.send("GET", path, empty_body()).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn post(&self, path: &str, body: Value) -> (StatusCode, Value) {
        let body = if body.is_null() {
            empty_body()
        } else {
            full_body(body.to_string())
        };
        let (status, body) = self.send("POST", path, body).await;
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    async fn create(&self, script: &str, more: Value) -> String {
        let mut body = json!({ "Image": "host", "Cmd": ["sh", "-c", script] });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, made) = self.post("/v1.41/containers/create", body).await;
        assert_eq!(status, 201, "{made}");
        made["Id"].as_str().unwrap().to_owned()
    }

    async fn run(&self, script: &str, more: Value) -> String {
        let id = self.create(script, more).await;
        assert_eq!(
            self.post(&format!("/containers/{id}/start"), Value::Null)
                .await
                .0,
            204
        );
        id
    }

    async fn upgrade(&self, path: &str, body: Value) -> longshore_core::BoxByteStream {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let request = Request::post(path).body(Bytes::from(body)).unwrap();
        match self.client.upgrade(request).await.unwrap() {
            Upgraded::Stream { stream, status, .. } => {
                assert_eq!(status, StatusCode::SWITCHING_PROTOCOLS);
                stream
            }
            refused @ Upgraded::Refused { .. } => panic!("{refused:?}"),
        }
    }

    async fn exec(&self, id: &str, command: &[&str], more: Value) -> String {
        let mut body = json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let (status, made) = self.post(&format!("/containers/{id}/exec"), body).await;
        assert_eq!(status, 201, "{made}");
        made["Id"].as_str().unwrap().to_owned()
    }
}

async fn to_end(stream: &mut longshore_core::BoxByteStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn frame(kind: u8, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend_from_slice(&(text.len() as u32).to_be_bytes());
    bytes.extend_from_slice(text);
    bytes
}

#[tokio::test]
async fn refusals_have_a_status_a_message_and_a_reason() {
    let api = Api::new();
    for (path, status, message, reason) in [
        (
            "/v1.99/info",
            400,
            "client version 1.99 is too new. Maximum supported API version is 1.41",
            "invalid-input",
        ),
        ("/nope", 404, "page not found", "not-found"),
        (
            "/containers/nope/json",
            404,
            "No such container: nope",
            "not-found",
        ),
        (
            "/containers/json?filters=%7B%22a%22:[%22b%22]%7D",
            400,
            "Invalid filter 'a'",
            "invalid-input",
        ),
        (
            "/exec/nope/json",
            404,
            "No such exec instance: nope",
            "not-found",
        ),
        ("/images/nope/json", 404, "No such image: nope", "not-found"),
        (
            "/system/df",
            501,
            "GET /system/df is not offered by this engine: it runs no Docker daemon",
            "unsupported",
        ),
    ] {
        let (found, body) = api.get(path).await;
        assert_eq!(found, status, "{path}");
        assert_eq!(
            body,
            json!({ "message": message, "reason": reason }),
            "{path}"
        );
    }
    let (status, body) = api
        .post("/containers/create", json!({ "Cmd": ["a"] }))
        .await;
    assert_eq!(
        (status.as_u16(), &body["message"]),
        (400, &json!("no image specified"))
    );
    let (status, body) = api.send("POST", "/containers/create", full_body("{")).await;
    assert_eq!(status, 400);
    assert!(String::from_utf8_lossy(&body).contains("invalid container configuration"));
}

#[tokio::test]
async fn a_prune_removes_what_does_not_run_and_nothing_else() {
    let api = Api::new();
    let running = api.run("sleep 60", json!({})).await;
    let created = api.create("true", json!({})).await;
    let (status, pruned) = api.post("/v1.41/containers/prune", Value::Null).await;
    assert_eq!(
        (status.as_u16(), pruned),
        (
            200,
            json!({ "ContainersDeleted": [created], "SpaceReclaimed": 0 })
        )
    );
    let (_, left) = api.get("/v1.41/containers/json?all=1").await;
    assert_eq!(left.as_array().unwrap().len(), 1);
    assert_eq!(left[0]["Id"], running);
    // What `docker system prune` asks for besides.
    for group in ["networks", "images", "volumes", "build"] {
        let path = format!("/v1.41/{group}/prune");
        let (status, _) = api.post(&path, Value::Null).await;
        assert_eq!(status, 200, "{group}");
    }
}

#[tokio::test]
async fn a_ping_tells_the_version_in_its_head() {
    let api = Api::new();
    for method in ["GET", "HEAD"] {
        let request = Request::builder()
            .method(method)
            .uri("/_ping")
            .body(empty_body())
            .unwrap();
        let answer = api.client.send(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["Api-Version"], "1.41");
        assert_eq!(answer.headers()["Ostype"], "linux");
        let body = read_body(answer.into_body(), 100).await.unwrap();
        assert_eq!(body, if method == "GET" { "OK" } else { "" });
    }
}

#[tokio::test]
async fn starts_and_stops_of_what_is_so_already_are_304() {
    let api = Api::new();
    let id = api.create("sleep 100", json!({})).await;
    let post = async |action: &str| {
        api.post(&format!("/containers/{id}/{action}"), Value::Null)
            .await
            .0
    };
    assert_eq!(post("stop").await, 304);
    assert_eq!(post("start").await, 204);
    assert_eq!(post("start").await, 304);
    assert_eq!(post("kill?signal=KILL").await, 204);
    assert_eq!(post("wait").await, 200);
    assert_eq!(post("kill").await, 409);
    assert_eq!(post("stop").await, 304);
}

#[tokio::test]
async fn names_short_ids_and_prefixes_find() {
    let api = Api::new();
    let (_, made) = api
        .post(
            "/containers/create?name=web",
            json!({ "Image": "host", "Cmd": ["true"] }),
        )
        .await;
    let id = made["Id"].as_str().unwrap();
    for name in [id, &id[..12], &id[..5], "web", "%2Fweb"] {
        assert_eq!(
            api.get(&format!("/containers/{name}/json")).await.1["Id"],
            id,
            "{name}"
        );
    }
    let taken = api
        .post(
            "/containers/create?name=web",
            json!({ "Image": "host", "Cmd": ["true"] }),
        )
        .await;
    assert_eq!(taken.0, 409);
}

#[tokio::test]
async fn an_exec_is_framed_half_closed_and_has_its_code_at_its_end() {
    let api = Api::new();
    let id = api.run("sleep 100", json!({})).await;
    let script = "wc -c; printf '\\0\\1' ; echo err >&2; exit 7";
    let exec = api
        .exec(&id, &["sh", "-c", script], json!({ "AttachStdin": true }))
        .await;
    let path = format!("/exec/{exec}/start");
    let mut stream = api
        .upgrade(&path, json!({ "Detach": false, "Tty": false }))
        .await;
    stream.write_all(b"12345").await.unwrap();
    // The answer only comes after the end of the input.
    stream.shutdown().await.unwrap();
    let bytes = to_end(&mut stream).await;
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let length = u32::from_be_bytes(rest[4..8].try_into().unwrap()) as usize;
        if rest[0] == 1 { &mut out } else { &mut err }.extend_from_slice(&rest[8..8 + length]);
        rest = &rest[8 + length..];
    }
    assert_eq!((&out[..], &err[..]), (&b"5\n\0\x01"[..], &b"err\n"[..]));
    // At once: whoever saw the end may ask.
    let (_, state) = api.get(&format!("/exec/{exec}/json")).await;
    assert_eq!(
        (&state["Running"], &state["ExitCode"]),
        (&json!(false), &json!(7))
    );
    let again = api.post(&path, json!({ "Tty": false })).await;
    assert_eq!(again.0, 409);
}

#[tokio::test]
async fn an_exec_on_a_terminal_is_bare_and_sized() {
    let api = Api::new();
    let id = api.run("sleep 100", json!({})).await;
    let script = "stty -echo; read _; stty size; printf '\\0\\0\\0end'";
    let more = json!({ "AttachStdin": true, "Tty": true });
    let exec = api.exec(&id, &["sh", "-c", script], more).await;
    // Kept for the start.
    let resize = async |size: &str| {
        api.post(&format!("/exec/{exec}/resize?{size}"), Value::Null)
            .await
            .0
    };
    assert_eq!(resize("h=11&w=22").await, 200);
    let start = json!({ "Tty": true });
    let mut stream = api.upgrade(&format!("/exec/{exec}/start"), start).await;
    assert_eq!(resize("h=33&w=44").await, 200);
    assert_eq!(resize("h=0&w=44").await, 400);
    stream.write_all(b"go\n").await.unwrap();
    let bytes = to_end(&mut stream).await;
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("33 44\r\n") && text.ends_with("\0\0\0end"),
        "{text:?}"
    );
    assert_eq!(resize("h=1&w=1").await, 200, "after the end it is harmless");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_in_the_stream() {
    let api = Api::new();
    let id = api.run("sleep 100", json!({})).await;
    let exec = api.exec(&id, &["/no/such"], json!({})).await;
    let mut stream = api.upgrade(&format!("/exec/{exec}/start"), json!({})).await;
    let text = to_end(&mut stream).await;
    assert!(
        String::from_utf8_lossy(&text[8..]).contains("/no/such"),
        "{text:?}"
    );
    let (_, state) = api.get(&format!("/exec/{exec}/json")).await;
    assert!(
        matches!(state["ExitCode"].as_i64(), Some(126 | 127)),
        "{state}"
    );
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_command() {
    let api = Api::new();
    let id = api.run("sleep 100", json!({})).await;
    let exec = api
        .exec(
            &id,
            &["sh", "-c", "while :; do echo x; sleep 0.01; done"],
            json!({}),
        )
        .await;
    let stream = api.upgrade(&format!("/exec/{exec}/start"), json!({})).await;
    drop(stream);
    for _ in 0..500 {
        let (_, state) = api.get(&format!("/exec/{exec}/json")).await;
        if state["Running"] == false {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it still runs");
}

#[tokio::test]
async fn an_attach_before_the_start_misses_nothing() {
    let api = Api::new();
    for round in 0..20 {
        let id = api
            .create(&format!("echo {round}; echo e >&2"), json!({}))
            .await;
        let path = format!("/containers/{id}/attach?stream=1&stdout=1&stderr=0");
        let mut stream = api.upgrade(&path, Value::Null).await;
        api.post(&format!("/containers/{id}/start"), Value::Null)
            .await;
        assert_eq!(
            to_end(&mut stream).await,
            frame(1, format!("{round}\n").as_bytes())
        );
    }
}

#[tokio::test]
async fn the_end_of_an_attached_input_is_the_containers_only_if_asked_for() {
    let api = Api::new();
    let asked = json!({ "OpenStdin": true, "StdinOnce": true });
    let id = api.create("cat; echo done", asked).await;
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1");
    let mut stream = api.upgrade(&path, Value::Null).await;
    api.post(&format!("/containers/{id}/start"), Value::Null)
        .await;
    stream.write_all(b"hi\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let bytes = to_end(&mut stream).await;
    assert!(bytes.ends_with(b"done\n"), "{bytes:?}");

    let id = api
        .run("cat; echo done", json!({ "OpenStdin": true }))
        .await;
    let path = format!("/containers/{id}/attach?stream=1&stdin=1&stdout=1");
    let mut stream = api.upgrade(&path, Value::Null).await;
    stream.shutdown().await.unwrap();
    drop(stream);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(
        api.get(&format!("/containers/{id}/json")).await.1["State"]["Running"],
        true
    );
}

#[tokio::test]
async fn wait_tells_the_next_exit_and_the_removal() {
    let api = Api::new();
    let id = api
        .create("exit 5", json!({ "HostConfig": { "AutoRemove": true } }))
        .await;
    let ask = async |condition: &str| {
        let path = format!("/containers/{id}/wait?condition={condition}");
        let request = Request::post(path).body(empty_body()).unwrap();
        // The head comes before the container was even started.
        api.client.send(request).await.unwrap().into_body()
    };
    let (exit, removed) = (ask("next-exit").await, ask("removed").await);
    api.post(&format!("/containers/{id}/start"), Value::Null)
        .await;
    for body in [exit, removed] {
        let answer: Value = serde_json::from_slice(&read_body(body, 1000).await.unwrap()).unwrap();
        assert_eq!(answer["StatusCode"], 5);
    }
    assert_eq!(
        api.get(&format!("/containers/{id}/json")).await.0,
        404,
        "it removed itself"
    );
}

#[tokio::test]
async fn what_cannot_start_removes_itself_too() {
    let api = Api::new();
    let body = json!({
        "Image": "host", "Cmd": ["/no/such/program"], "HostConfig": { "AutoRemove": true }
    });
    let (_, made) = api.post("/containers/create", body).await;
    let id = made["Id"].as_str().unwrap();
    let start = format!("/containers/{id}/start");
    let (status, refusal) = api.post(&start, Value::Null).await;
    assert!(status.is_client_error(), "{status}: {refusal}");
    assert_eq!(api.get(&format!("/containers/{id}/json")).await.0, 404);
}

#[tokio::test]
async fn events_are_lines_filtered_and_ended_by_until() {
    let api = Api::new();
    let id = api.run("exit 3", json!({})).await;
    api.post(&format!("/containers/{id}/wait"), Value::Null)
        .await;
    let now = SystemClock::new().now().as_secs();
    let filters = "%7B%22event%22:%7B%22die%22:true%7D%7D";
    let path = format!(
        "/events?since={}&until={}&filters={filters}",
        now - 60,
        now + 1
    );
    let (status, body) = api.send("GET", &path, empty_body()).await;
    assert_eq!(status, 200);
    let lines: Vec<Value> = body
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (&lines[0]["status"], &lines[0]["id"]),
        (&json!("die"), &json!(id))
    );
    assert_eq!(lines[0]["Actor"]["Attributes"]["exitCode"], "3");
}

#[tokio::test]
async fn a_followed_log_flows_and_ends() {
    let api = Api::new();
    let id = api
        .run("echo first; sleep 0.5; echo second >&2", json!({}))
        .await;
    let path = format!("/containers/{id}/logs?follow=1&stdout=1&stderr=1");
    let request = Request::get(path).body(empty_body()).unwrap();
    let mut body = api.client.send(request).await.unwrap().into_body();
    let mut pieces = Vec::new();
    while let Some(piece) = body.frame().await {
        if let Ok(data) = piece.unwrap().into_data() {
            pieces.push(data.to_vec());
        }
    }
    assert_eq!(pieces, [frame(1, b"first\n"), frame(2, b"second\n")]);
    let (status, _) = api.get(&format!("/containers/{id}/logs")).await;
    assert_eq!(status, 400, "no output was chosen");
}

#[tokio::test]
async fn what_is_ignored_is_a_warning() {
    let api = Api::new();
    let body = json!({ "Image": "host", "Cmd": ["true"], "HostConfig": { "Binds": ["/a:/b"] } });
    let (_, made) = api.post("/containers/create", body).await;
    assert_eq!(
        made["Warnings"],
        json!(["HostConfig.Binds is ignored: this engine has no such thing"])
    );
}

#[tokio::test]
async fn without_its_engine_a_weak_api_answers_503() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let engine = ProcessEngine::new(
        ProcessOptions::default(),
        Arc::clone(&clock),
        Arc::new(OsRandom),
    );
    let engine = engine.unwrap();
    let weak: std::sync::Weak<dyn Engine> = Arc::downgrade(&engine) as _;
    let exec: std::sync::Weak<dyn ExecBackend> = Arc::downgrade(&engine) as _;
    let api = EngineApi::weak(weak, exec, Arc::clone(&clock), Arc::new(OsRandom));
    let client = HttpClient::new(api.connector(), clock);
    let ping = async || {
        let request = Request::get("/_ping").body(empty_body()).unwrap();
        client.send(request).await.unwrap().status()
    };
    assert_eq!(ping().await, 200);
    drop(engine);
    assert_eq!(ping().await, 503);
}

#[tokio::test]
async fn a_unix_socket_is_private_single_and_cleaned_up() {
    use std::os::unix::fs::PermissionsExt;

    let api = Api::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("engine.sock");
    // Left behind by a dead process.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());

    let shutdown = Shutdown::new();
    api.api.serve_unix(&path, &shutdown).await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let taken = api.api.serve_unix(&path, &shutdown).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::AlreadyExists);

    let file = folder.path().join("file");
    std::fs::write(&file, "mine").unwrap();
    let error = api.api.serve_unix(&file, &shutdown).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");

    assert!(
        shutdown
            .finish(&SystemClock::new(), Duration::from_secs(5))
            .await
    );
    assert!(!path.exists());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the file that was there");
    api.engine.shutdown(Duration::ZERO).await.unwrap();
}
