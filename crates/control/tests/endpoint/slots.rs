//! Too many connections: those that wait give way, those that work don't.

use std::time::Duration;

use longshore_core::http::Upgraded;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::cluster::{Cluster, Setup};

async fn small(connections: usize) -> Cluster {
    let mut setup = Setup::default();
    setup.listen = setup.listen.with_max_connections(connections);
    Cluster::with(setup).await
}

/// One request on a connection that stays.
async fn ping(stream: &mut UnixStream) -> bool {
    let sent = stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n");
    if sent.await.is_err() {
        return false;
    }
    let (mut seen, mut chunk) = (Vec::new(), [0; 1024]);
    while !seen.ends_with(b"OK") {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return false,
            Ok(count) => seen.extend_from_slice(&chunk[..count]),
        }
    }
    true
}

#[tokio::test]
async fn idle_connections_lock_nobody_out() {
    let cluster = small(3).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut stream = cluster.raw().await;
        assert!(ping(&mut stream).await);
        idle.push(stream);
    }
    // Used last: the second one has waited longest now.
    assert!(ping(&mut idle[0]).await);
    let mut late = cluster.raw().await;
    let served = tokio::time::timeout(Duration::from_secs(20), ping(&mut late));
    assert!(served.await.is_ok_and(|served| served), "locked out");
    let mut end = Vec::new();
    let closed = idle[1].read_to_end(&mut end);
    assert_eq!(closed.await.unwrap(), 0);
    assert!(ping(&mut idle[0]).await && ping(&mut idle[2]).await);
}

#[tokio::test]
async fn a_raw_stream_keeps_its_place_and_is_never_cut() {
    let cluster = small(1).await;
    let client = cluster.client();
    client.create("web", json!({})).await;
    let request = http::Request::post("/containers/web/attach?stdin=1")
        .body(bytes::Bytes::new())
        .unwrap();
    let Upgraded::Stream { mut stream, .. } = client.0.upgrade(request).await.unwrap() else {
        panic!("refused")
    };
    let mut late = cluster.raw().await;
    late.write_all(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(b"abc").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert!(said.ends_with(b"cba"), "{said:?}");
    drop(stream);
    let mut start = [0; 15];
    late.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
}
