mod pace;

use std::{
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use longshore_core::{
    BoxFuture, Clock, Error, ExecOutput, OutputKind, Result, http::Demultiplexer,
};
use tokio::io::AsyncReadExt;
use tokio_util::sync::CancellationToken;

use self::pace::Pace;
use super::link::Link;

/// The output of a session, read as fast as somebody asks for it.
///
/// Dropped before its end it is read on into nowhere, so that the command is not held up by a
/// reader who left.
pub(super) struct DockerOutput {
    link: Link,
    /// Resolves when the session is closed from our side.
    closed: BoxFuture<'static, ()>,
    /// `None` on a terminal, where nothing is framed.
    frames: Option<Demultiplexer>,
    piece: Bytes,
    buffer: BytesMut,
    clock: Arc<dyn Clock>,
    pace: Pace,
    /// Until the next read.
    held: Option<BoxFuture<'static, ()>>,
    done: bool,
    opening: Opening,
}

/// The first words of a session: an engine that can't start a command says so there.
#[derive(Clone, Debug, Default)]
pub(super) struct Opening {
    words: Arc<Mutex<Option<String>>>,
    noted: CancellationToken,
}

impl Opening {
    /// The engine's complaint, if the output began with one that is known.
    pub(super) fn complaint(&self) -> Option<String> {
        self.words()
            .filter(|text| COMPLAINTS.iter().any(|known| text.starts_with(known)))
    }

    /// What the output began with. Of a command that never began these are the engine's words.
    pub(super) fn words(&self) -> Option<String> {
        let words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.as_ref().map(|text| text.trim().to_owned())
    }

    /// Cancelled once somebody has read the first of it.
    pub(super) fn noted(&self) -> &CancellationToken {
        &self.noted
    }

    fn note(&self, output: &ExecOutput) {
        let mut words = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if words.is_none() {
            let start = &output.bytes[..output.bytes.len().min(LONGEST_COMPLAINT)];
            *words = Some(String::from_utf8_lossy(start).into_owned());
            self.noted.cancel();
        }
    }
}

impl DockerOutput {
    pub(super) fn new(link: Link, tty: bool, opening: Opening, clock: Arc<dyn Clock>) -> Self {
        let closed = link.closed().clone();
        Self {
            closed: Box::pin(async move { closed.cancelled().await }),
            link,
            frames: (!tty).then(Demultiplexer::new),
            piece: Bytes::new(),
            buffer: BytesMut::new(),
            clock,
            pace: Pace::default(),
            held: None,
            done: false,
            opening,
        }
    }

    /// What is left of the last read.
    fn next_of_piece(&mut self) -> Result<Option<ExecOutput>> {
        match &mut self.frames {
            Some(frames) => frames.next(&mut self.piece),
            None if self.piece.is_empty() => Ok(None),
            None => Ok(Some(ExecOutput {
                kind: OutputKind::Stdout,
                bytes: std::mem::take(&mut self.piece),
            })),
        }
    }

    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if let Some(held) = &mut self.held {
            ready!(held.as_mut().poll(context));
            self.held = None;
        }
        self.pace.ready(self.clock.now());
        // Given away and consumed, it is used again; and it is not filled with zeros first.
        self.buffer.reserve(READ);
        let link = Pin::new(&mut self.link);
        let count = ready!(tokio_util::io::poll_read_buf(
            link,
            context,
            &mut self.buffer
        ))?;
        self.piece = if count < READ / 4 {
            // A large buffer with a few keys in it would be kept for long.
            let piece = Bytes::copy_from_slice(&self.buffer);
            self.buffer.clear();
            piece
        } else {
            self.buffer.split().freeze()
        };
        if let Some(until) = self.pace.took(count, self.clock.now()) {
            let clock = Arc::clone(&self.clock);
            self.held = Some(Box::pin(async move { clock.sleep_until(until).await }));
        }
        Poll::Ready(Ok(count))
    }

    fn end(&mut self) {
        self.done = true;
        self.buffer = BytesMut::new();
        self.link.ended().cancel();
    }
}

impl Stream for DockerOutput {
    type Item = Result<ExecOutput>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            if this.closed.as_mut().poll(context).is_ready() {
                this.end();
                continue;
            }
            match this.next_of_piece() {
                Ok(Some(output)) => {
                    this.opening.note(&output);
                    return Poll::Ready(Some(Ok(output)));
                }
                Ok(None) => {}
                Err(error) => {
                    this.end();
                    // What follows can't be understood; the engine must not wait for a reader.
                    this.link.close();
                    return Poll::Ready(Some(Err(error)));
                }
            }
            match this.poll_read(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => {
                    this.end();
                    if let Some(Err(error)) = this.frames.as_ref().map(Demultiplexer::finish) {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    this.end();
                    let error = Error::io("the connection to the engine broke", error);
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }
}

impl Drop for DockerOutput {
    fn drop(&mut self) {
        if self.done || self.link.closed().is_cancelled() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let mut link = self.link.clone();
            runtime.spawn(async move {
                let closed = link.closed().clone();
                let ended = link.ended().clone();
                let mut buffer = vec![0; READ / 8];
                let draining = async {
                    while matches!(link.read(&mut buffer).await, Ok(count) if count > 0) {}
                };
                closed.run_until_cancelled(draining).await;
                ended.cancel();
            });
        }
    }
}

const READ: usize = 64 * 1024;
const COMPLAINTS: [&str; 2] = ["OCI runtime exec failed", "exec attach failed"];
const LONGEST_COMPLAINT: usize = 1024;
