//! ttyd in front of `docker exec`: what people put there today. Only where `LONGSHORE_BENCH_TTYD`
//! names the program.

use std::{path::PathBuf, process::Stdio, time::Duration};

use bytes::{BufMut, Bytes, BytesMut};
use futures::{SinkExt, StreamExt};
use tempfile::TempDir;
use tokio::{net::UnixStream, process::Child};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};

use crate::{
    command::Client,
    line::{Line, Program},
};

/// A server for one program in one container.
pub struct Ttyd {
    socket: PathBuf,
    _child: Child,
    _directory: TempDir,
}

impl Ttyd {
    /// `None` where there is none.
    pub async fn start(client: &Client, container: &str, program: Program) -> Option<Self> {
        let ttyd = std::env::var_os("LONGSHORE_BENCH_TTYD")?;
        let directory = tempfile::tempdir().expect("a temporary folder");
        let socket = directory.path().join("ttyd.sock");
        let child = tokio::process::Command::new(ttyd)
            .arg("--interface")
            .arg(&socket)
            .args(["--writable", "docker"])
            .args(client.words(container, program))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("ttyd runs");
        for _ in 0..100 {
            if UnixStream::connect(&socket).await.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(Self {
            socket,
            _child: child,
            _directory: directory,
        })
    }

    pub async fn open(&self) -> TtydSession {
        let stream = UnixStream::connect(&self.socket).await;
        let mut request = "ws://localhost/ws"
            .into_client_request()
            .expect("a fixed request");
        let protocol = http::HeaderValue::from_static("tty");
        request
            .headers_mut()
            .insert(http::header::SEC_WEBSOCKET_PROTOCOL, protocol);
        let stream = stream.expect("ttyd listens");
        let (mut socket, _) = client_async(request, stream).await.expect("a WebSocket");
        let hello = Bytes::from_static(br#"{"AuthToken":"","columns":80,"rows":24}"#);
        let sent = socket.send(Message::Binary(hello)).await;
        sent.expect("it is sent");
        TtydSession(socket)
    }
}

pub struct TtydSession(WebSocketStream<UnixStream>);

impl Line for TtydSession {
    async fn put(&mut self, bytes: &[u8]) {
        let mut frame = BytesMut::from(&b"0"[..]);
        frame.put_slice(bytes);
        let sent = self.0.send(Message::Binary(frame.freeze())).await;
        sent.expect("it is sent");
    }

    async fn get(&mut self) -> Bytes {
        while let Some(Ok(message)) = self.0.next().await {
            if let Message::Binary(bytes) = message
                && bytes.first() == Some(&b'0')
                && bytes.len() > 1
            {
                return bytes.slice(1..);
            }
        }
        Bytes::new()
    }
}
