use std::time::Duration;

use http::{Method, Request};
use http_body_util::BodyExt;
use longshore_core::{EventAction, NodeHealth, WorkloadState, http::full_body};
use serde_json::{Value, json};

use crate::cluster::Cluster;

#[tokio::test]
async fn a_container_lives_and_every_step_shows_at_once() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client.create("web", json!({})).await;
    let state = async || {
        let list = client.get("/containers/json?all=1").await.ok(200).json();
        list[0]["State"].as_str().map(str::to_owned)
    };
    assert_eq!(state().await.as_deref(), Some("created"));
    client
        .post("/containers/web/start", json!({"Binds": []}))
        .await
        .ok(204);
    assert_eq!(state().await.as_deref(), Some("running"));
    client
        .post("/containers/node-1/web/pause", Value::Null)
        .await
        .ok(204);
    assert_eq!(state().await.as_deref(), Some("paused"));
    client
        .post(&format!("/containers/{}/stop?t=1", &id[..12]), Value::Null)
        .await
        .ok(204);
    assert_eq!(state().await.as_deref(), Some("exited"));
    client
        .post("/containers/web/rename?name=api", Value::Null)
        .await
        .ok(204);
    let list = client.get("/containers/json?all=1").await.json();
    assert_eq!(list[0]["Names"][0], "/node-1/api");
    client.delete("/containers/api?force=1").await.ok(204);
    assert_eq!(state().await, None);
    // The engine saw full ids, its own version, and the query.
    let daemon = &cluster.daemons[0];
    assert_eq!(
        daemon.asked(&format!("POST /v1.40/containers/{id}/stop?t=1")),
        1
    );
    assert_eq!(
        daemon.asked(&format!("DELETE /v1.40/containers/{id}?force=1")),
        1
    );
}

#[tokio::test]
async fn inspect_is_live_and_names_the_node() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client.create("web", json!({"Labels": {"a": "b"}})).await;
    let found = client
        .get("/v1.41/containers/web/json")
        .await
        .ok(200)
        .json();
    assert_eq!(found["Id"], id.as_str());
    assert_eq!(found["Node"]["Name"], "node-1");
    assert_eq!(found["Node"]["IP"], "10.0.0.1");
    assert_eq!(found["Node"]["Addr"], "10.0.0.1:2375");
    assert_eq!(found["Node"]["Cpus"], 4);
    assert_eq!(found["Node"]["Labels"]["zone"], "node-1");
    let ports = &found["NetworkSettings"]["Ports"]["80/tcp"];
    assert_eq!(ports[0]["HostIp"], "10.0.0.1");
    assert_eq!(ports[1]["HostIp"], "127.0.0.1");
    assert_eq!(cluster.daemons[0].asked("GET /v1.41/containers"), 1);
}

#[tokio::test]
async fn streams_pass_through_with_their_headers() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.create("web", json!({})).await;
    let logs = client
        .get("/containers/web/logs?follow=1&stdout=1")
        .await
        .ok(200);
    assert_eq!(logs.text, "one\ntwo\n");
    assert_eq!(logs.headers["content-type"], "application/x-test");
    let top = client.get("/containers/web/top?ps_args=aux").await.ok(200);
    assert_eq!(top.json()["Query"], "aux");
    let stat = client
        .call(Method::HEAD, "/containers/web/archive?path=/", None)
        .await
        .ok(200);
    assert_eq!(stat.headers["x-docker-container-path-stat"], "e30=");
    let upload = Request::put("/containers/web/archive?path=/")
        .body(full_body(vec![7u8; 1 << 20]))
        .unwrap();
    assert_eq!(client.send(upload).await.json()["received"], 1 << 20);
}

#[tokio::test]
async fn wait_answers_its_head_at_once_and_its_body_at_the_end() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client.create("job", json!({})).await;
    client
        .post("/containers/job/start", Value::Null)
        .await
        .ok(204);
    let request = Request::post("/containers/job/wait?condition=next-exit")
        .body(full_body(""))
        .unwrap();
    let waiting = client.0.send(request);
    let mut response = tokio::time::timeout(Duration::from_secs(5), waiting)
        .await
        .expect("the head must not wait for the end")
        .unwrap();
    assert_eq!(response.status(), 200);
    cluster.daemons[0].set_state(&id, WorkloadState::Exited, EventAction::Die);
    let body = response.body_mut().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["StatusCode"], 7);
}

#[tokio::test]
async fn wait_for_what_is_over_is_answered_by_the_engine() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client.create("job", json!({})).await;
    cluster.daemons[0].set_state(&id, WorkloadState::Exited, EventAction::Die);
    let answer = client
        .post("/containers/job/wait", Value::Null)
        .await
        .ok(200);
    assert_eq!(answer.json()["StatusCode"], 7);
}

#[tokio::test]
async fn an_exec_is_found_again_after_a_restart_of_the_control_plane() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.create("a", json!({})).await;
    client.create("b", json!({})).await;
    client
        .post("/containers/b/exec", json!({"Cmd": []}))
        .await
        .fails(400, "No exec command specified", "invalid-input");
    let made = client
        .post("/containers/b/exec", json!({"Cmd": ["sh"]}))
        .await
        .ok(201);
    assert_eq!(made.json()["Id"], "exec-node-2");
    let seen = client.get("/exec/exec-node-2/json").await.ok(200).json();
    assert_eq!(seen["ExitCode"], 3);
    // Never told to this endpoint: the engines are asked.
    client.get("/exec/exec-node-1/json").await.ok(200);
    client
        .get("/exec/unknown/json")
        .await
        .fails(404, "Exec unknown not found", "not-found");
    client
        .post("/exec/exec-node-2/resize?h=10&w=20", Value::Null)
        .await
        .ok(200);
    assert_eq!(
        cluster.daemons[1].asked("/exec/exec-node-2/resize?h=10&w=20"),
        1
    );
    let detached = client
        .post("/exec/exec-node-2/start", json!({"Detach": true}))
        .await
        .ok(200);
    assert_eq!(detached.json()["detached"], "exec-node-2");
}

#[tokio::test]
async fn a_host_that_is_down_keeps_its_containers_listed() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.create("web", json!({})).await;
    client
        .post("/containers/web/start", Value::Null)
        .await
        .ok(204);
    cluster.daemons[0].state().down = true;
    for _ in 0..3 {
        client.get("/containers/web/top").await;
    }
    cluster
        .until("node-1 is unhealthy", || {
            cluster.plane.node("node-1").unwrap().health == NodeHealth::Unhealthy
        })
        .await;
    // What it ran is told apart from what runs.
    let info = client.get("/info").await.ok(200).json();
    let counts =
        ["", "Running", "Paused", "Stopped"].map(|kind| &info[format!("Containers{kind}")]);
    assert_eq!(counts, [&json!(1), &json!(0), &json!(0), &json!(0)]);
    let warning = info["Warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with("node-1: Host Down; its 1 container"),
        "{warning}"
    );
    let running = client.get("/containers/json").await.json();
    assert_eq!(running, json!([]));
    let all = client.get("/containers/json?all=1").await.json();
    assert_eq!(all[0]["Status"], "Host Down");
    client.get("/containers/web/json").await.fails(
        500,
        "Container web running on unhealthy node node-1",
        "unavailable",
    );
    client
        .post("/containers/web/stop", Value::Null)
        .await
        .fails(
            500,
            "Container web running on unhealthy node node-1",
            "unavailable",
        );
    // The other node serves on.
    client.create("other", json!({})).await;
    client
        .post("/containers/other/start", Value::Null)
        .await
        .ok(204);
}
