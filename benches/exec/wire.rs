//! A session over WebSocket, with no more client than the protocol needs.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use longshore::exec::{
    protocol::native::{ClientFrame, Open, ServerFrame},
    session::GapCause,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::line::{Line, Program};

pub struct WireSession<S = longshore::core::UnixByteStream> {
    socket: WebSocketStream<S>,
    sent: u64,
    consumed: u64,
}

impl WireSession {
    pub async fn open(stream: tokio::net::UnixStream, target: &str, program: Program) -> Self {
        let stream = longshore::core::UnixByteStream::new(stream).expect("it is watched");
        // As much as `RemoteExec` and the direct way read at a time.
        Self::reading(64 << 10, stream, target, program).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WireSession<S> {
    /// Opens a session over any stream, to be idle in.
    pub async fn over(stream: S, target: &str, program: Program) -> Self {
        Self::reading(4096, stream, target, program).await
    }

    async fn reading(buffer: usize, stream: S, target: &str, program: Program) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(buffer)
            .write_buffer_size(0);
        let (socket, _) = client_async_with_config("ws://localhost/v1/exec", stream, Some(config))
            .await
            .expect("a WebSocket");
        let mut this = Self {
            socket,
            sent: 0,
            consumed: 0,
        };
        let mut open = Open::default();
        open.target = target.to_owned();
        open.argv = program.argv.iter().map(|word| (*word).to_owned()).collect();
        (open.tty, open.stdin) = (program.tty, true);
        this.send(ClientFrame::Open(Box::new(open))).await;
        match this.receive().await {
            Some(ServerFrame::Ready(_)) => this,
            other => panic!("no READY: {other:?}"),
        }
    }

    async fn send(&mut self, frame: ClientFrame) {
        let message = Message::Binary(frame.encode());
        self.socket.send(message).await.expect("it is sent");
    }

    async fn receive(&mut self) -> Option<ServerFrame> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Binary(bytes)) => {
                    return Some(ServerFrame::decode(bytes).expect("a frame"));
                }
                Ok(Message::Close(frame)) => panic!("closed: {frame:?}"),
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Answers what the gateway asks, for as long as it lasts.
    pub async fn idle(mut self) {
        while let Some(Ok(_)) = self.socket.next().await {}
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line for WireSession<S> {
    async fn put(&mut self, bytes: &[u8]) {
        let frame = ClientFrame::Input(self.sent, Bytes::copy_from_slice(bytes));
        self.sent += bytes.len() as u64;
        self.send(frame).await;
    }

    async fn get(&mut self) -> Bytes {
        loop {
            match self.receive().await {
                Some(ServerFrame::Output(offset, _, bytes)) => {
                    self.consumed = offset + bytes.len() as u64;
                    return bytes;
                }
                Some(ServerFrame::Gap(from, to, GapCause::Trimmed)) => {
                    panic!("{from} to {to} are missing")
                }
                Some(ServerFrame::Exit(_)) | None => return Bytes::new(),
                Some(_) => {}
            }
        }
    }

    async fn settle(&mut self) {
        let consumed = self.consumed;
        self.send(ClientFrame::Ack(consumed)).await;
    }
}
