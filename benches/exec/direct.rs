//! The Docker API, asked directly.

use std::{path::Path, sync::Arc};

use bytes::{Bytes, BytesMut};
use longshore::{
    core::{
        BoxByteStream, SystemClock,
        http::{Demultiplexer, HttpClient, Upgraded, full_body, read_body},
    },
    engine::UnixConnector,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::line::{Line, Program};

#[derive(Clone)]
pub struct Direct(HttpClient);

impl Direct {
    pub fn new(socket: &Path) -> Self {
        let connector = Arc::new(UnixConnector::new(socket));
        Self(HttpClient::new(connector, Arc::new(SystemClock::new())))
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
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

    /// A running container that does nothing.
    pub async fn container(&self) -> String {
        let body = json!({ "Image": "busybox:lab", "Cmd": ["sleep", "36000"] });
        let made = self.post("/containers/create", &body).await;
        let id = made["Id"].as_str().expect("an id").to_owned();
        self.post(&format!("/containers/{id}/start"), &Value::Null)
            .await;
        id
    }

    pub async fn open(&self, container: &str, program: Program) -> DirectSession {
        let body = json!({
            "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
            "Tty": program.tty, "Cmd": program.argv,
        });
        let made = self
            .post(&format!("/containers/{container}/exec"), &body)
            .await;
        let id = made["Id"].as_str().expect("an id");
        let body = json!({ "Detach": false, "Tty": program.tty }).to_string();
        let request = http::Request::post(format!("/exec/{id}/start"))
            .header("Content-Type", "application/json")
            .body(Bytes::from(body))
            .expect("a fixed request");
        let stream = match self.0.upgrade(request).await.expect("an answer") {
            Upgraded::Stream { stream, .. } => stream,
            refused => panic!("{refused:?}"),
        };
        DirectSession {
            stream,
            frames: (!program.tty).then(Demultiplexer::new),
            piece: Bytes::new(),
            buffer: BytesMut::with_capacity(64 << 10),
        }
    }
}

pub struct DirectSession {
    stream: BoxByteStream,
    frames: Option<Demultiplexer>,
    /// Read, and still to be taken apart.
    piece: Bytes,
    buffer: BytesMut,
}

impl DirectSession {
    /// A session over another stream than the engine's own, for example a slow one.
    pub fn split(self) -> BoxByteStream {
        self.stream
    }
}

impl Line for DirectSession {
    async fn put(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it is written");
        self.stream.flush().await.expect("it is sent");
    }

    async fn get(&mut self) -> Bytes {
        loop {
            if let Some(frames) = &mut self.frames
                && let Some(output) = frames.next(&mut self.piece).expect("frames")
            {
                return output.bytes;
            }
            self.buffer.reserve(64 << 10);
            let count = self.stream.read_buf(&mut self.buffer).await;
            if count.unwrap_or_default() == 0 {
                return Bytes::new();
            }
            self.piece = self.buffer.split().freeze();
            if self.frames.is_none() {
                return std::mem::take(&mut self.piece);
            }
        }
    }
}
