//! A WebSocket client of a few lines (RFC 6455), which does what it is told, right or wrong.

use longshore_core::BoxByteStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::Server;

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

pub(crate) struct Raw {
    stream: BoxByteStream,
    /// The response's head, in lower case.
    pub(crate) head: String,
    /// Whether pings are answered.
    pub(crate) answers: bool,
}

impl Raw {
    /// Sends an upgrade request and reads the head of its answer.
    pub(crate) async fn dial(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::dial_over(server.dial(), path, headers).await
    }

    /// As [`dial`](Self::dial), over a stream that leads to a gateway.
    pub(crate) async fn dial_over(
        mut stream: BoxByteStream,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        );
        if !headers
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            request.push_str("Host: localhost\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        Self {
            stream,
            head,
            answers: true,
        }
    }

    /// As [`dial`](Self::dial), and it must have worked.
    pub(crate) async fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::open_over(server.dial(), path, headers).await
    }

    /// As [`open`](Self::open), over a stream that leads to a gateway.
    pub(crate) async fn open_over(
        stream: BoxByteStream,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Self {
        let raw = Self::dial_over(stream, path, headers).await;
        assert!(raw.head.starts_with("http/1.1 101 "), "{}", raw.head);
        // The accept key of the RFC's own example.
        assert!(
            raw.head
                .contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=\r\n")
        );
        raw
    }

    pub(crate) async fn send(&mut self, opcode: u8, payload: &[u8]) {
        self.frame(0x80 | opcode, payload, true).await;
    }

    /// One frame, with whatever first byte.
    pub(crate) async fn frame(&mut self, first: u8, payload: &[u8], masked: bool) {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match payload.len() {
            short @ ..126 => frame.push(mask | short as u8),
            long @ ..65536 => {
                frame.push(mask | 126);
                frame.extend_from_slice(&(long as u16).to_be_bytes());
            }
            longest => {
                frame.push(mask | 127);
                frame.extend_from_slice(&(longest as u64).to_be_bytes());
            }
        }
        if masked {
            let key = [1, 2, 3, 4];
            frame.extend_from_slice(&key);
            frame.extend(
                payload
                    .iter()
                    .zip(key.iter().cycle())
                    .map(|(byte, key)| byte ^ key),
            );
        } else {
            frame.extend_from_slice(payload);
        }
        self.bytes(&frame).await;
    }

    pub(crate) async fn bytes(&mut self, bytes: &[u8]) {
        // The server may have closed already.
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame with its opcode; `None` at the end of the connection. Pings are answered and
    /// given.
    pub(crate) async fn receive(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.stream.read_u8().await.ok()?;
        assert_eq!(first & 0x70, 0, "no extension was agreed on");
        assert_eq!(first & 0x80, 0x80, "the server does not fragment");
        let length = match self.stream.read_u8().await.ok()? {
            126 => usize::from(self.stream.read_u16().await.ok()?),
            127 => self.stream.read_u64().await.ok()? as usize,
            masked @ 128.. => panic!("a server's frame is masked: {masked}"),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).await.ok()?;
        let opcode = first & 0x0f;
        if opcode == PING && self.answers {
            self.send(PONG, &payload).await;
        }
        Some((opcode, payload))
    }

    /// The next binary message; everything of the server's is one.
    pub(crate) async fn message(&mut self) -> Vec<u8> {
        loop {
            match self.receive().await {
                Some((BINARY, payload)) => return payload,
                Some((PING | PONG, _)) => {}
                other => panic!("expected a message, got {other:?}"),
            }
        }
    }

    /// One that reads and answers nothing, and one that writes.
    pub(crate) fn split(self) -> (Self, Self) {
        let (reads, writes) = tokio::io::split(self.stream);
        let half = |stream| Self {
            stream,
            head: String::new(),
            answers: false,
        };
        (
            half(Box::new(tokio::io::join(reads, tokio::io::sink()))),
            half(Box::new(tokio::io::join(tokio::io::empty(), writes))),
        )
    }

    /// The close code and reason; what comes before is passed over.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match self.receive().await {
                Some((CLOSE, payload)) => {
                    self.send(CLOSE, &payload[..2]).await;
                    let code = u16::from_be_bytes([payload[0], payload[1]]);
                    return (code, String::from_utf8(payload[2..].to_vec()).unwrap());
                }
                Some(_) => {}
                None => panic!("the connection ended without a close"),
            }
        }
    }
}
