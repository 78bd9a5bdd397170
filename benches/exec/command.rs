//! `docker exec`, as people call it.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    process::Child,
};

use crate::line::{Line, Program};

/// The stock client of this engine.
#[derive(Clone)]
pub struct Client(PathBuf);

impl Client {
    pub fn new(engine: &Path) -> Self {
        Self(engine.into())
    }

    /// What stands behind the program's name.
    pub fn words(&self, container: &str, program: Program) -> Vec<String> {
        let engine = format!("unix://{}", self.0.display());
        let flags = if program.tty { "-it" } else { "-i" };
        let words = ["--host", &engine, "exec", flags, container];
        let words = words.iter().chain(program.argv);
        words.map(|word| (*word).to_owned()).collect()
    }

    pub fn open(&self, container: &str, program: Program) -> CommandSession {
        let words = self.words(container, program);
        if program.tty {
            let (pty, pts) = pty_process::open().expect("a terminal");
            let child = pty_process::Command::new("docker").args(words).spawn(pts);
            let (output, input) = tokio::io::split(pty);
            return CommandSession::new(child.expect("docker runs"), input, output);
        }
        let mut command = tokio::process::Command::new("docker");
        command.args(words).stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("docker runs");
        let input = child.stdin.take().expect("it is piped");
        let output = child.stdout.take().expect("it is piped");
        CommandSession::new(child, input, output)
    }
}

pub struct CommandSession {
    child: Child,
    input: Box<dyn AsyncWrite + Unpin>,
    output: Box<dyn AsyncRead + Unpin>,
    buffer: BytesMut,
}

impl CommandSession {
    fn new(
        child: Child,
        input: impl AsyncWrite + Unpin + 'static,
        output: impl AsyncRead + Unpin + 'static,
    ) -> Self {
        Self {
            child,
            input: Box::new(input),
            output: Box::new(output),
            buffer: BytesMut::new(),
        }
    }
}

impl Line for CommandSession {
    async fn put(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).await.expect("it is written");
        self.input.flush().await.expect("it is sent");
    }

    async fn get(&mut self) -> Bytes {
        self.buffer.reserve(64 << 10);
        match self.output.read_buf(&mut self.buffer).await {
            Ok(count) if count > 0 => self.buffer.split().freeze(),
            // A terminal that nobody has open any more is an error.
            _ => {
                let _ = self.child.wait().await;
                Bytes::new()
            }
        }
    }
}
