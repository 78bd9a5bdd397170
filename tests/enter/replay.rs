//! LAIN's replay, as its page asks for it.

use std::path::Path;

use base64::{Engine, prelude::BASE64_STANDARD};
use futures::StreamExt;
use tokio::net::UnixStream;
use tokio_tungstenite::{client_async, tungstenite::Message};

/// Everything that is shown, with the last words behind `|`.
pub fn replay(socket: &Path, session: &str) -> String {
    let runtime = tokio::runtime::Runtime::new().expect("it starts");
    runtime.block_on(async {
        let stream = UnixStream::connect(socket).await.expect("it listens");
        let url = format!("ws://localhost/api/sessions/{session}/replay");
        let (mut socket, _) = client_async(url, stream).await.expect("it upgrades");
        let mut shown = String::new();
        while let Some(Ok(message)) = socket.next().await {
            let Message::Binary(bytes) = message else {
                continue;
            };
            let said: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
            let content = said["content"].as_str().unwrap_or_default();
            let content = BASE64_STANDARD.decode(content).expect("base64");
            let content = String::from_utf8_lossy(&content);
            match said["msgType"].as_u64().unwrap_or(0) {
                0 | 1 => shown.push_str(&content),
                2 => shown.push_str(&format!("|{content}")),
                _ => {}
            }
        }
        shown
    })
}
