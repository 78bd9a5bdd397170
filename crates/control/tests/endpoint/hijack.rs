use bytes::Bytes;
use http::Request;
use longshore_core::http::Upgraded;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::cluster::Cluster;

async fn exec(cluster: &Cluster) -> String {
    let client = cluster.client();
    client.create("web", json!({})).await;
    let made = client
        .post(
            "/containers/web/exec",
            json!({"Cmd": ["sh"], "AttachStdin": true}),
        )
        .await
        .ok(201);
    made.json()["Id"].as_str().unwrap().to_owned()
}

fn sessions_done(cluster: &Cluster, operation: &str) -> usize {
    let records = cluster.audit.records();
    records
        .iter()
        .filter(|record| {
            record.event.operation == operation && format!("{:?}", record.event.outcome) == "Done"
        })
        .count()
}

#[tokio::test]
async fn a_raw_stream_closes_one_half_at_a_time() {
    let cluster = Cluster::new().await;
    let id = exec(&cluster).await;
    let request = Request::post(format!("/v1.40/exec/{id}/start"))
        .header("content-type", "application/json")
        .body(Bytes::from_static(b"{\"Tty\":false}"))
        .unwrap();
    let Upgraded::Stream {
        headers,
        status,
        mut stream,
    } = cluster.client().0.upgrade(request).await.unwrap()
    else {
        panic!("refused")
    };
    assert_eq!(status, 101);
    assert_eq!(headers["upgrade"], "tcp");
    assert_eq!(headers["content-type"], "application/vnd.docker.raw-stream");
    let greeting = format!("exec {id}: ");
    let mut seen = vec![0; greeting.len()];
    stream.read_exact(&mut seen).await.unwrap();
    assert_eq!(seen, greeting.as_bytes());
    // Input, then its end; only then the answer comes: the other half is still open.
    stream.write_all(b"\0abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"cba\0");
    let operation = format!("POST /exec/{id}/start");
    cluster
        .until("the session's end is on record", || {
            sessions_done(&cluster, &operation) == 1
        })
        .await;
}

#[tokio::test]
async fn large_input_comes_back_byte_for_byte() {
    let cluster = Cluster::new().await;
    let id = exec(&cluster).await;
    let request = Request::post(format!("/exec/{id}/start"))
        .body(Bytes::from_static(b"{}"))
        .unwrap();
    let Upgraded::Stream { stream, .. } = cluster.client().0.upgrade(request).await.unwrap() else {
        panic!("refused")
    };
    let input: Vec<u8> = (0..3_000_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let (mut read, mut write) = tokio::io::split(stream);
    let sending = input.clone();
    tokio::spawn(async move {
        write.write_all(&sending).await.unwrap();
        write.shutdown().await.unwrap();
    });
    let mut output = Vec::new();
    read.read_to_end(&mut output).await.unwrap();
    let greeting = format!("exec {id}: ").len();
    let reversed: Vec<u8> = input.into_iter().rev().collect();
    assert!(output[greeting..] == reversed);
}

async fn raw_answer(cluster: &Cluster, request: &str) -> String {
    let mut stream = cluster.raw().await;
    stream.write_all(request.as_bytes()).await.unwrap();
    // Input behind the request, at the moment it is sent.
    stream.write_all(b"xyz").await.unwrap();
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains(": ") || !seen.ends_with(b": ") {
        let mut chunk = [0; 512];
        let count = stream.read(&mut chunk).await.unwrap();
        assert!(count > 0, "{}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&chunk[..count]);
        if seen.ends_with(b"stdin: ") || seen.ends_with(b"1: ") {
            break;
        }
    }
    stream.shutdown().await.unwrap();
    stream.read_to_end(&mut seen).await.unwrap();
    String::from_utf8(seen).unwrap()
}

#[tokio::test]
async fn clients_that_ask_for_an_upgrade_get_101_and_older_ones_200() {
    let cluster = Cluster::new().await;
    cluster.client().create("web", json!({})).await;
    let new = raw_answer(
        &cluster,
        "POST /containers/web/attach?stdin=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n\
         Upgrade: tcp\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(
        new.starts_with("HTTP/1.1 101 Switching Protocols\r\n"),
        "{new}"
    );
    assert!(new.ends_with("\r\n\r\nattached to 1: zyx"), "{new}");
    let old = raw_answer(
        &cluster,
        "POST /v1.21/containers/web/attach?stdin=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
    )
    .await;
    assert!(old.starts_with("HTTP/1.1 200 OK\r\n"), "{old}");
    assert!(!old.to_lowercase().contains("upgrade"), "{old}");
    assert!(
        old.contains("content-type: application/vnd.docker.raw-stream\r\n"),
        "{old}"
    );
    assert!(old.ends_with("\r\n\r\nattached to 1: zyx"), "{old}");
}

#[tokio::test]
async fn an_engine_that_refuses_is_an_ordinary_error() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let id = client.create("web", json!({})).await;
    cluster.daemons[0].state().containers.remove(&id);
    let request = Request::post("/containers/web/attach")
        .body(Bytes::new())
        .unwrap();
    let Upgraded::Refused { status, body } = client.0.upgrade(request).await.unwrap() else {
        panic!("not refused")
    };
    assert_eq!(status, 404);
    let text = String::from_utf8(body.to_vec()).unwrap();
    assert!(text.contains("No such container"), "{text}");
}

#[tokio::test]
async fn a_shutdown_ends_sessions_after_a_grace() {
    let cluster = Cluster::new().await;
    let id = exec(&cluster).await;
    let request = Request::post(format!("/exec/{id}/start"))
        .body(Bytes::from_static(b"{}"))
        .unwrap();
    let Upgraded::Stream { mut stream, .. } = cluster.client().0.upgrade(request).await.unwrap()
    else {
        panic!("refused")
    };
    cluster.plane.shutdown().trigger();
    let mut seen = Vec::new();
    let ended = tokio::time::timeout(
        std::time::Duration::from_secs(5),
        stream.read_to_end(&mut seen),
    );
    assert!(ended.await.is_ok(), "the session went on");
}
