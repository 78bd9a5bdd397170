//! A session as both sides see it: bytes in, bytes out.

use std::path::PathBuf;

use crate::{command::Client, direct::Direct, ttyd::Ttyd, wire::WireSession};

/// Who is compared.
#[derive(Clone)]
pub struct Scene {
    pub direct: Direct,
    pub client: Client,
    pub container: String,
    /// Where the gateway listens.
    pub gateway: PathBuf,
}

/// What is run.
#[derive(Clone, Copy)]
pub struct Program {
    pub argv: &'static [&'static str],
    pub tty: bool,
}

/// Bytes in, bytes out.
pub trait Line {
    async fn put(&mut self, bytes: &[u8]);

    /// The next piece of output; empty at the end.
    async fn get(&mut self) -> bytes::Bytes;

    /// Says that what came was consumed, where the protocol wants it said.
    async fn settle(&mut self) {}

    /// Reads until as many bytes came.
    async fn expect(&mut self, count: usize) {
        let mut missing = count;
        while missing > 0 {
            let piece = self.get().await;
            assert!(!piece.is_empty(), "the session ended early");
            missing = missing.saturating_sub(piece.len());
        }
    }
}

impl Scene {
    pub async fn through(&self, program: Program) -> WireSession {
        let stream = tokio::net::UnixStream::connect(&self.gateway)
            .await
            .expect("the gateway listens");
        WireSession::open(stream, &self.container, program).await
    }
}

impl Scene {
    /// ttyd for this program, if it is there, and the program has a terminal.
    pub async fn ttyd(&self, program: Program) -> Option<Ttyd> {
        match program.tty {
            true => Ttyd::start(&self.client, &self.container, program).await,
            false => None,
        }
    }
}

/// Output that `program` prints before it is ready, and nothing else, is read away.
pub async fn ready(line: &mut impl Line) {
    loop {
        let piece = line.get().await;
        assert!(!piece.is_empty(), "the session ended early");
        line.settle().await;
        if piece.ends_with(b"READY") {
            return;
        }
    }
}
