//! The client that measures both sides alike.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use longshore::{
    core::{
        BoxByteStream, SystemClock,
        http::{HttpClient, Upgraded, empty_body, full_body, read_body},
    },
    engine::UnixConnector,
};
use serde_json::Value;

#[derive(Clone)]
pub struct Client(HttpClient);

impl Client {
    pub fn new(socket: &Path) -> Self {
        let connector = Arc::new(UnixConnector::new(socket));
        Self(HttpClient::new(connector, Arc::new(SystemClock::new())))
    }

    pub async fn get(&self, path: &str) -> Bytes {
        let request = http::Request::get(path)
            .body(empty_body())
            .expect("a fixed request");
        let response = self.0.send(request).await.expect("an answer");
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.status()
        );
        read_body(response.into_body(), 64 << 20)
            .await
            .expect("a body")
    }

    pub async fn post(&self, path: &str, body: &Value) -> Value {
        let request = http::Request::post(path)
            .header("Content-Type", "application/json")
            .body(full_body(body.to_string()))
            .expect("a fixed request");
        let response = self.0.send(request).await.expect("an answer");
        let status = response.status();
        let body = read_body(response.into_body(), 1 << 20)
            .await
            .expect("a body");
        assert!(status.is_success(), "{path}: {status} {body:?}");
        serde_json::from_slice(&body).unwrap_or_default()
    }

    /// The raw stream of a started exec instance.
    pub async fn start_exec(&self, id: &str) -> BoxByteStream {
        let request = http::Request::post(format!("/exec/{id}/start"))
            .header("Content-Type", "application/json")
            .body(Bytes::from_static(br#"{"Detach":false,"Tty":false}"#))
            .expect("a fixed request");
        match self.0.upgrade(request).await.expect("an answer") {
            Upgraded::Stream { stream, .. } => stream,
            refused => panic!("{refused:?}"),
        }
    }

    /// A running container that does nothing.
    pub async fn container(&self) -> String {
        let body = serde_json::json!({ "Image": "busybox:lab", "Cmd": ["sleep", "3600"] });
        let id = self.post("/containers/create", &body).await["Id"]
            .as_str()
            .expect("an id")
            .to_owned();
        self.post(&format!("/containers/{id}/start"), &Value::Null)
            .await;
        id
    }
}
