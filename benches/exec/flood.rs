//! `interrupt-under-flood`, `interrupt-lossless`, `interrupt-stub`

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use longshore::core::BoxByteStream;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::{Sleep, sleep_until},
};

use crate::{
    line::{Line, Program, Scene},
    report::{Arguments, Measurement, Report, median},
    wire::WireSession,
};

const SHELL: Program = Program {
    argv: &["sh", "-c", "PS1='READY> ' exec sh -i"],
    tty: true,
};
const BYTES_PER_SECOND: usize = 100_000;
/// Nobody waits longer.
const PATIENCE: Duration = Duration::from_secs(30);

pub async fn run(
    case: &'static str,
    bar: &'static str,
    scene: &Scene,
    arguments: &Arguments,
    report: &Report,
) {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds(5) {
        report.progress(&format!("{case}: round {}", round + 1));
        let stream = tokio::net::UnixStream::connect(&scene.gateway)
            .await
            .expect("the gateway listens");
        let slow = Slow::over(Box::new(stream));
        let line = WireSession::over(slow, &scene.container, SHELL).await;
        ours.push(interrupted(line).await);
        let far = scene.direct.open(&scene.container, SHELL).await;
        peer.push(interrupted(Plain(Slow::over(far.split()))).await);
    }
    report.add(&Measurement {
        case,
        ours: median(&mut ours),
        peer: median(&mut peer),
        peer_name: "the same link directly",
        unit: "s",
        bar,
    });
}

/// Seconds from ^C to the next prompt.
async fn interrupted(mut line: impl Line) -> f64 {
    prompt(&mut line).await;
    line.put(b"yes\n").await;
    let flooding = Instant::now();
    while flooding.elapsed() < Duration::from_secs(3) {
        assert!(!line.get().await.is_empty(), "the session ended early");
        line.settle().await;
    }
    line.put(b"\x03").await;
    let start = Instant::now();
    let _ = tokio::time::timeout(PATIENCE, prompt(&mut line)).await;
    let took = start.elapsed().as_secs_f64();
    line.put(b"\x04").await;
    took
}

async fn prompt(line: &mut impl Line) {
    let mut end = Vec::new();
    loop {
        let piece = line.get().await;
        assert!(!piece.is_empty(), "the session ended early");
        line.settle().await;
        end.extend_from_slice(&piece);
        if end.windows(7).any(|text| text == b"READY> ") {
            return;
        }
        let keep = end.len().saturating_sub(6);
        end.drain(..keep);
    }
}

/// A link of 100 kB/s towards the reader: it reads ahead no more than it may hand on.
struct Slow {
    stream: BoxByteStream,
    /// When what was read has passed.
    free_at: tokio::time::Instant,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Slow {
    fn over(stream: BoxByteStream) -> Self {
        Self {
            stream,
            free_at: tokio::time::Instant::now(),
            pause: None,
        }
    }
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        let room = buffer.remaining().min(1024);
        let mut piece = [0; 1024];
        let mut part = ReadBuf::new(&mut piece[..room]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let bytes = part.filled();
        buffer.put_slice(bytes);
        let time = Duration::from_secs_f64(bytes.len() as f64 / BYTES_PER_SECOND as f64);
        let now = tokio::time::Instant::now();
        self.free_at = self.free_at.max(now) + time;
        // Timers are coarse: short times add up first.
        if self.free_at > now + Duration::from_millis(5) {
            self.pause = Some(Box::pin(sleep_until(self.free_at)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Slow {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A terminal's raw stream.
struct Plain(Slow);

impl Line for Plain {
    async fn put(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.expect("it is written");
        self.0.flush().await.expect("it is sent");
    }

    async fn get(&mut self) -> bytes::Bytes {
        let mut piece = [0; 1024];
        let count = self.0.read(&mut piece).await.unwrap_or_default();
        bytes::Bytes::copy_from_slice(&piece[..count])
    }
}
