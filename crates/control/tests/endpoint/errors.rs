//! What clients read when something is wrong, word for word.

use longshore_core::http::full_body;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::{Cluster, Setup};

/// Sends bytes, closes that half, reads everything; gives status line and body.
async fn exchange(cluster: &Cluster, bytes: &[u8], close: bool) -> (String, String) {
    let mut stream = cluster.raw().await;
    stream.write_all(bytes).await.unwrap();
    if close {
        stream.shutdown().await.unwrap();
    }
    let mut seen = Vec::new();
    stream.read_to_end(&mut seen).await.unwrap();
    let text = String::from_utf8(seen).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let line = head.lines().next().unwrap_or("").to_owned();
    (line, body.to_owned())
}

#[tokio::test]
async fn truncated_http_is_answered_with_a_message() {
    let cluster = Cluster::new().await;
    let (line, body) = exchange(&cluster, b"GET /info HTTP/1.1\r\nHos", true).await;
    assert_eq!(line, "HTTP/1.1 400 Bad Request");
    assert_eq!(
        body,
        "{\"message\":\"the request is truncated: the connection ended in the middle of its head\",\
         \"reason\":\"protocol\"}"
    );
    let (line, _) = exchange(&cluster, b"POST /containers/cre", true).await;
    assert_eq!(line, "HTTP/1.1 400 Bad Request");
}

#[tokio::test]
async fn what_is_not_http_is_answered_with_a_message() {
    let cluster = Cluster::new().await;
    let (line, body) = exchange(&cluster, b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", true).await;
    assert_eq!(line, "HTTP/1.1 400 Bad Request");
    assert_eq!(
        body,
        "{\"message\":\"the request is not valid HTTP/1.1\",\"reason\":\"protocol\"}"
    );
}

#[tokio::test]
async fn an_oversized_head_is_refused() {
    let cluster = Cluster::new().await;
    let mut head = b"GET /info HTTP/1.1\r\nX: ".to_vec();
    head.resize(80 * 1024, b'a');
    head.extend_from_slice(b"\r\n\r\n");
    let (line, body) = exchange(&cluster, &head, false).await;
    assert_eq!(line, "HTTP/1.1 431 Request Header Fields Too Large");
    assert_eq!(
        body,
        "{\"message\":\"the request head is too large: at most 65536 bytes and 100 fields are \
         accepted\",\"reason\":\"resource-exhausted\"}"
    );
}

#[tokio::test]
async fn a_head_that_trickles_is_cut_off_and_an_idle_connection_is_not() {
    let mut setup = Setup::default();
    setup.listen = setup
        .listen
        .with_head_limit(std::time::Duration::from_millis(150));
    let cluster = Cluster::with(setup).await;
    for start in [&b"GET /in"[..], b"POST /containers/x"] {
        let (line, body) = exchange(&cluster, start, false).await;
        assert_eq!(line, "HTTP/1.1 408 Request Timeout");
        assert_eq!(
            body,
            "{\"message\":\"the request head did not arrive within 150ms\",\"reason\":\"timeout\"}"
        );
    }
    // Between two requests a connection may rest.
    let mut stream = cluster.raw().await;
    for _ in 0..2 {
        stream
            .write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut seen = vec![0; 2048];
        let count = stream.read(&mut seen).await.unwrap();
        assert!(seen[..count].starts_with(b"HTTP/1.1 200 OK"));
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    }
}

#[tokio::test]
async fn an_oversized_body_is_refused() {
    let mut setup = Setup::default();
    setup.endpoint = setup.endpoint.with_body_limit(1000);
    let cluster = Cluster::with(setup).await;
    let request = http::Request::post("/containers/create")
        .body(full_body(vec![b' '; 2000]))
        .unwrap();
    cluster.client().send(request).await.fails(
        413,
        "the request body is larger than 1000 bytes",
        "resource-exhausted",
    );
}

#[tokio::test]
async fn a_truncated_body_is_a_bad_request() {
    let cluster = Cluster::new().await;
    let (line, _) = exchange(
        &cluster,
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"Image\"",
        true,
    )
    .await;
    assert!(line.is_empty() || line.contains("400"), "{line}");
    assert_eq!(cluster.daemons[0].asked("/containers/create"), 0);
}

#[tokio::test]
async fn versions_that_can_t_be_spoken_are_refused() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.get("/v9.99/containers/json").await.fails(
        400,
        "client version 9.99 is too new. Maximum supported API version is 1.41",
        "invalid-input",
    );
    client.get("/v1.41/containers/json").await.ok(200);
    let old = client.get("/v1.10/containers/json").await.ok(400);
    assert_eq!(
        old.text,
        "client version 1.10 is too old. Minimum supported API version is 1.12, please upgrade \
         your client to a newer version\n"
    );
    assert_eq!(old.headers["content-type"], "text/plain; charset=utf-8");
}

#[tokio::test]
async fn unknown_and_ambiguous_names_are_told_apart() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client
        .get("/containers/x/json")
        .await
        .fails(404, "No such container x", "not-found");
    client.post("/containers/x/start", Value::Null).await.fails(
        404,
        "No such container x",
        "not-found",
    );
    client.post("/containers/x/stop", Value::Null).await.fails(
        404,
        "No such container: x",
        "not-found",
    );
    client
        .delete("/containers/x")
        .await
        .fails(404, "Container x not found", "not-found");
    client
        .get("/nothing")
        .await
        .fails(404, "page not found", "not-found");
    // Engines may know a name twice; the endpoint says which ones.
    for (daemon, node) in cluster.daemons.iter().zip(["ID-node-1", "ID-node-2"]) {
        daemon.add(
            "twin",
            json!({"Image": "busybox"}),
            longshore_core::Timestamp::ZERO,
        );
        cluster
            .plane
            .refresh_node(&node.parse().unwrap())
            .await
            .unwrap();
    }
    let twin = client.get("/containers/twin/json").await.ok(409).json();
    assert_eq!(twin["reason"], "ambiguous");
    let candidates = twin["candidates"].as_array().unwrap();
    let shown: Vec<&str> = candidates.iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(shown.len(), 2);
    assert!(
        shown[0].starts_with("node-1/twin") && shown[1].starts_with("node-2/twin"),
        "{shown:?}"
    );
    // Old clients get text.
    let old = client.get("/v1.23/containers/x/json").await.ok(404);
    assert_eq!(old.text, "No such container x\n");
}

#[tokio::test]
async fn malformed_json_and_filters_are_named() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let request = http::Request::post("/containers/create")
        .body(full_body("{"))
        .unwrap();
    client.send(request).await.fails(
        400,
        "invalid JSON: EOF while parsing an object at line 1 column 1",
        "invalid-input",
    );
    client.get("/containers/json?filters=x").await.fails(
        400,
        "invalid filters: expected value at line 1 column 1",
        "invalid-input",
    );
}
