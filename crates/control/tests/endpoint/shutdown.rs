//! What a shutdown ends, and what it waits for.

use std::time::Duration;

use http::Request;
use longshore_control::endpoint::ListenOptions;
use longshore_core::{SystemClock, http::empty_body};
use serde_json::{Value, json};

use crate::cluster::{Cluster, Setup};

#[tokio::test]
async fn endless_streams_end_at_once() {
    // Longer than the test may take: whatever is waited for shows.
    let cluster = Cluster::with(Setup {
        listen: ListenOptions::default().with_drain_limit(Duration::from_secs(3600)),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let id = client.create("web", json!({})).await;
    let start = format!("/containers/{id}/start");
    client.post(&start, Value::Null).await.ok(204);

    let request = Request::get("/events").body(empty_body()).unwrap();
    let events = client.0.send(request).await.unwrap();
    let waiting = tokio::spawn({
        let client = cluster.client();
        async move {
            let path = format!("/v1.29/containers/{id}/wait");
            client.post(&path, Value::Null).await
        }
    });
    let (clock, limit) = (SystemClock::new(), Duration::from_secs(30));
    let ended = cluster.plane.shutdown().finish(&clock, limit).await;
    assert!(ended, "a connection was waited for");
    // A clean end: the client has no broken stream to report.
    longshore_core::http::read_body(events.into_body(), 1 << 20)
        .await
        .unwrap();
    // The request may have come too late to be taken at all.
    if let Ok(answer) = waiting.await {
        answer.fails(503, "the control plane is shutting down", "closed");
    }
}
