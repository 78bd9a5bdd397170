//! Docker's API on the engine in memory: as much of it as the tests ask for.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{
    EventAction, Timestamp, WorkloadState,
    http::{Body, empty_body, full_body, stream_body},
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::daemon::Daemon;

pub(crate) async fn serve(daemon: Daemon, stream: DuplexStream) {
    let service = service_fn(move |request| {
        let daemon = daemon.clone();
        async move {
            if daemon.state().down {
                return Err(std::io::Error::other("killed"));
            }
            Ok(answer(daemon, request).await)
        }
    });
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades()
        .await;
}

/// Provisional answers without end.
pub(crate) async fn babble(mut stream: DuplexStream) {
    let mut seen = [0; 1024];
    let _ = stream.read(&mut seen).await;
    while stream
        .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        .await
        .is_ok()
    {}
}

fn say(status: u16, value: Value) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("api-version", "1.41")
        .body(full_body(value.to_string()))
        .unwrap()
}

fn fail(status: u16, message: &str) -> Response<Body> {
    say(status, json!({"message": message}))
}

fn done() -> Response<Body> {
    let mut response = Response::new(empty_body());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn query(request: &Request<Incoming>, key: &str) -> String {
    let text = request.uri().query().unwrap_or("");
    form_urlencoded::parse(text.as_bytes())
        .find(|(k, _)| k == key)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

async fn json_of(request: Request<Incoming>) -> Value {
    let bytes = request.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&bytes).unwrap_or(Value::Null)
}

async fn answer(daemon: Daemon, request: Request<Incoming>) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let line = format!(
        "{} {}",
        request.method(),
        request.uri().path_and_query().unwrap()
    );
    daemon.state().requests.push(line.clone());
    let headers = request.headers().clone();
    daemon.state().headers.push((line.clone(), headers));
    let gate = daemon.state().gate.clone();
    if let Some((what, permits)) = gate
        && line.contains(what)
    {
        permits.acquire().await.unwrap().forget();
    }
    // Every request must carry a version that this engine speaks.
    let Some(rest) = path
        .strip_prefix("/v1.")
        .and_then(|rest| rest.split_once('/'))
    else {
        return fail(400, "no version");
    };
    if rest.0.parse::<u32>().unwrap() > 41 {
        return fail(400, "client version is too new");
    }
    let parts: Vec<&str> = rest.1.split('/').collect();
    let post = request.method() == Method::POST;
    match parts.as_slice() {
        ["containers", "create"] => create(daemon, request).await,
        ["distribution", image @ .., "json"] => {
            match daemon.state().platforms.get(&image.join("/")) {
                Some(platforms) => say(200, json!({"Descriptor": {}, "Platforms": platforms})),
                None => fail(404, "manifest unknown"),
            }
        }
        ["containers", "json"] if std::mem::take(&mut daemon.state().hides) => {
            fail(500, "the list is not to be had")
        }
        ["containers", "json"] => found_by_label(&daemon, &query(&request, "filters")),
        ["containers", id] if request.method() == Method::DELETE => {
            if daemon.forget(id) {
                done()
            } else {
                fail(404, "No such container")
            }
        }
        ["containers", "prune"] => say(
            200,
            json!({"ContainersDeleted": [daemon.name()], "SpaceReclaimed": 7}),
        ),
        ["containers", id, op] => container(daemon.clone(), id, op, request).await,
        ["exec", id, "start"] => exec_start(id, request).await,
        ["exec", id, "json"] if *id == exec_id(&daemon) => say(
            200,
            json!({"ID": id, "ExitCode": 3, "ContainerID": first(&daemon)}),
        ),
        ["exec", id, "resize"] if post && id.starts_with("exec-") => say(200, json!({})),
        ["networks"] => say(200, Value::Array(daemon.state().networks.clone())),
        ["networks", "create"] => network_create(daemon, json_of(request).await),
        ["networks", id, op @ ("connect" | "disconnect")] => {
            let what = format!("{op} {id}");
            let body = json_of(request).await;
            daemon.state().bodies.push((what, body));
            done()
        }
        ["networks", id] if request.method() == Method::DELETE => {
            daemon.state().networks.retain(|n| n["Id"] != *id);
            done()
        }
        ["networks", id] => {
            let state = daemon.state();
            match state.networks.iter().find(|n| n["Id"] == *id) {
                Some(network) => say(200, network.clone()),
                None => fail(404, "network not found"),
            }
        }
        ["volumes"] => say(
            200,
            json!({"Volumes": daemon.state().volumes, "Warnings": null}),
        ),
        ["volumes", "create"] => {
            let body = json_of(request).await;
            let volume = json!({"Name": body["Name"], "Driver": "local", "Mountpoint": "/x",
                "Labels": body["Labels"], "Options": body["DriverOpts"]});
            daemon.state().volumes.push(volume.clone());
            say(201, volume)
        }
        ["volumes", name] if request.method() == Method::DELETE => {
            daemon.state().volumes.retain(|v| v["Name"] != *name);
            done()
        }
        ["images", "create"] => pull(daemon, &request),
        ["images", "load"] => {
            let bytes = request.into_body().collect().await;
            match bytes {
                Ok(bytes) => {
                    let bytes = bytes.to_bytes();
                    daemon.give_image(&format!("loaded:{}", bytes.len()));
                    say(200, json!({"stream": "Loaded image: loaded\n"}))
                }
                Err(_) => fail(500, "broken upload"),
            }
        }
        ["images", _, "tag"] => {
            let mut empty = done();
            *empty.status_mut() = StatusCode::CREATED;
            empty
        }
        ["images", name] if request.method() == Method::DELETE => {
            if daemon.name() == "node-2" && *name == "stuck" {
                return fail(409, "image is in use");
            }
            daemon
                .state()
                .images
                .retain(|image| !image.tags.iter().any(|tag| tag.starts_with(name)));
            say(200, json!([{"Untagged": name}]))
        }
        ["images", name, "json"] => say(200, json!({"Id": name, "By": daemon.name()})),
        ["images", "search"] => say(200, json!([{"name": "found"}])),
        _ => fail(404, "page not found"),
    }
}

fn exec_id(daemon: &Daemon) -> String {
    let given = daemon.state().exec_id.clone();
    given.unwrap_or_else(|| format!("exec-{}", daemon.name()))
}

fn first(daemon: &Daemon) -> String {
    let state = daemon.state();
    state.containers.keys().next().cloned().unwrap_or_default()
}

fn found_by_label(daemon: &Daemon, filters: &str) -> Response<Body> {
    let filters: Value = serde_json::from_str(filters).unwrap();
    let (key, value) = filters["label"][0]
        .as_str()
        .unwrap()
        .split_once('=')
        .unwrap();
    let state = daemon.state();
    let found: Vec<Value> = state
        .containers
        .iter()
        .filter(|(_, container)| container.config["Labels"][key] == value)
        .map(|(id, _)| json!({"Id": id}))
        .collect();
    say(200, found.into())
}

async fn create(daemon: Daemon, request: Request<Incoming>) -> Response<Body> {
    let name = query(&request, "name");
    let body = json_of(request).await;
    daemon.state().bodies.push(("create".into(), body.clone()));
    if let Some((status, message)) = daemon.state().refusals.pop() {
        return fail(status, &message);
    }
    if std::mem::take(&mut daemon.state().lose_create) {
        return breaks();
    }
    let image = body["Image"].as_str().unwrap_or("").to_owned();
    if !daemon.has_image(&image) {
        return fail(404, &format!("No such image: {image}"));
    }
    let mode = body["HostConfig"]["NetworkMode"]
        .as_str()
        .unwrap_or("default");
    let builtin = ["default", "bridge", "host", "none"].contains(&mode);
    let known = daemon.state().networks.iter().any(|n| n["Name"] == mode);
    if !builtin && !known && !mode.starts_with("container:") {
        return fail(404, &format!("network {mode} not found"));
    }
    let at = Timestamp::from_secs(1_600_000_000 + daemon.state().requests.len() as u64);
    let id = daemon.add(&name, body, at);
    if std::mem::take(&mut daemon.state().lose_create_answer) {
        return breaks();
    }
    say(201, json!({"Id": id, "Warnings": ["from the engine"]}))
}

/// An answer whose head promises more than comes.
fn breaks() -> Response<Body> {
    let broken = futures::stream::once(async {
        Err(longshore_core::Error::closed("the connection breaks"))
    });
    let mut response = Response::new(stream_body(broken));
    *response.status_mut() = StatusCode::CREATED;
    response
}

async fn container(
    daemon: Daemon,
    id: &str,
    op: &str,
    request: Request<Incoming>,
) -> Response<Body> {
    if !daemon.state().containers.contains_key(id) {
        return fail(404, &format!("No such container: {id}"));
    }
    let set = |to, action| {
        daemon.set_state(id, to, action);
        done()
    };
    match op {
        "json" => {
            let state = daemon.state();
            let container = &state.containers[id];
            say(
                200,
                json!({"Id": id, "Name": format!("/{}", container.name), "Config": container.config,
                    "NetworkSettings": {"Ports": {"80/tcp": [
                        {"HostIp": "0.0.0.0", "HostPort": "8080"},
                        {"HostIp": "127.0.0.1", "HostPort": "8081"}]}, "Other": {"HostIp": ""}}}),
            )
        }
        "start" => start(&daemon, id),
        "stop" | "kill" => set(WorkloadState::Exited, EventAction::Die),
        "pause" => set(WorkloadState::Paused, EventAction::Pause),
        "rename" => {
            let name = query(&request, "name");
            daemon.state().containers.get_mut(id).unwrap().name = name;
            daemon.tell(id, EventAction::Rename);
            done()
        }
        "wait" => {
            // An engine that keeps its head back until the end.
            loop {
                let state = daemon.state().containers.get(id).map(|c| c.state);
                if state != Some(WorkloadState::Running) && state != Some(WorkloadState::Created) {
                    return say(200, json!({"StatusCode": 7}));
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        "logs" => {
            let lines = futures::stream::iter(["one\n", "two\n"])
                .map(|line| Ok(Bytes::from_static(line.as_bytes())));
            let mut response = Response::new(stream_body(lines));
            response
                .headers_mut()
                .insert("content-type", "application/x-test".parse().unwrap());
            response
        }
        "changes" => {
            let (status, headers) = daemon.state().odd.clone().unwrap();
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            response.body(empty_body()).unwrap()
        }
        "top" => say(
            200,
            json!({"Titles": ["PID"], "Query": query(&request, "ps_args")}),
        ),
        "exec" => {
            let body = json_of(request).await;
            daemon.state().bodies.push(("exec".into(), body));
            say(201, json!({"Id": exec_id(&daemon)}))
        }
        "archive" if request.method() == Method::HEAD => Response::builder()
            .header("x-docker-container-path-stat", "e30=")
            .body(empty_body())
            .unwrap(),
        "archive" => match request.into_body().collect().await {
            Ok(bytes) => say(200, json!({"received": bytes.to_bytes().len()})),
            Err(_) => fail(400, "broken upload"),
        },
        "attach" => raw(request, "attached to "),
        _ => fail(404, "page not found"),
    }
}

fn start(daemon: &Daemon, id: &str) -> Response<Body> {
    let run = |shortly| {
        daemon.set_state(id, WorkloadState::Running, EventAction::Start);
        if shortly {
            daemon.set_state(id, WorkloadState::Exited, EventAction::Die);
        }
    };
    if std::mem::take(&mut daemon.state().lose_start) {
        return breaks();
    }
    let (refusal, shortly) = {
        let mut state = daemon.state();
        (state.start_refusals.pop(), state.runs_shortly)
    };
    if let Some((status, message)) = refusal {
        if shortly {
            run(true);
        }
        return fail(status, &message);
    }
    run(shortly);
    match std::mem::take(&mut daemon.state().lose_start_answer) {
        true => breaks(),
        false => done(),
    }
}

async fn exec_start(id: &str, request: Request<Incoming>) -> Response<Body> {
    let id = id.to_owned();
    let (mut parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let start: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    if start["Detach"] == true {
        return say(200, json!({"detached": id}));
    }
    let upgrade = parts.extensions.remove::<hyper::upgrade::OnUpgrade>();
    upgraded(upgrade, format!("exec {id}: "))
}

fn raw(mut request: Request<Incoming>, greeting: &str) -> Response<Body> {
    let upgrade = request.extensions_mut().remove();
    let greeting = format!("{greeting}{}: ", query(&request, "stdin"));
    upgraded(upgrade, greeting)
}

/// Greets, reads to the end of input, then says everything backwards and ends.
fn upgraded(upgrade: Option<hyper::upgrade::OnUpgrade>, greeting: String) -> Response<Body> {
    let Some(upgrade) = upgrade else {
        return fail(400, "no upgrade");
    };
    tokio::spawn(async move {
        let mut stream = TokioIo::new(upgrade.await.unwrap());
        stream.write_all(greeting.as_bytes()).await.unwrap();
        let mut input = Vec::new();
        stream.read_to_end(&mut input).await.unwrap();
        input.reverse();
        stream.write_all(&input).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("connection", "Upgrade")
        .header("upgrade", "tcp")
        .header("content-type", "application/vnd.docker.raw-stream")
        .body(empty_body())
        .unwrap()
}

fn network_create(daemon: Daemon, body: Value) -> Response<Body> {
    daemon.state().bodies.push(("network".into(), body.clone()));
    let mut state = daemon.state();
    if body["Driver"] == "overlay" && !state.overlay {
        return fail(503, "This node is not a swarm manager.");
    }
    if state.networks.iter().any(|n| n["Name"] == body["Name"]) {
        return fail(409, "network with that name already exists");
    }
    let mut network = body;
    let id = format!(
        "net-{}-{}",
        network["Name"].as_str().unwrap(),
        state.info.name
    );
    network["Id"] = id.clone().into();
    network["Scope"] = if network["Driver"] == "overlay" {
        "global"
    } else {
        "local"
    }
    .into();
    network["Containers"] = json!({});
    state.networks.push(network);
    say(201, json!({"Id": id, "Warning": ""}))
}

fn pull(daemon: Daemon, request: &Request<Incoming>) -> Response<Body> {
    let image = format!("{}:{}", query(request, "fromImage"), query(request, "tag"));
    let known = daemon.state().registry.contains(&image);
    let lines = if known {
        daemon.give_image(&image);
        "{\"status\":\"Pulling fs layer\",\"id\":\"a\"}\r\n{\"status\":\"Done\"}\r\n".to_owned()
    } else if image.starts_with("nowhere") {
        let error = format!("manifest for {image} not found: manifest unknown");
        json!({"errorDetail": {"message": error}, "error": error}).to_string()
    } else {
        format!(
            "{{\"errorDetail\":{{\"message\":\"x\"}},\"error\":\"no registry for {image}\"}}\r\n"
        )
    };
    Response::new(full_body(lines))
}
