//! A hijacked stream, shared by the two directions and closed by either side of the session.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use longshore_core::{BoxByteStream, Clock, ClockExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// One hijacked stream. Whoever holds it may close it for all.
#[derive(Clone)]
pub(super) struct Link {
    stream: Arc<Mutex<Option<BoxByteStream>>>,
    /// Set when the stream was closed from our side.
    closed: CancellationToken,
    /// Set when the engine has ended the stream, or it broke.
    ended: CancellationToken,
}

impl Link {
    pub(super) fn new(stream: BoxByteStream) -> Self {
        Self {
            stream: Arc::new(Mutex::new(Some(stream))),
            closed: CancellationToken::new(),
            ended: CancellationToken::new(),
        }
    }

    /// Nobody reads or writes any more, and the stream stays: what it holds up is held up.
    pub(super) fn leave(&self) {
        self.closed.cancel();
    }

    /// Throws away what comes, behind [`leave`](Self::leave), until the stream ends: so slowly that
    /// a command which floods it stands still nearly all the time, and fast enough that what was on
    /// its way when it ended is gone soon. An engine that can't get rid of what a command said tells
    /// no other end in that container (moby#53614).
    ///
    /// # Cancel safety
    /// Safe.
    pub(super) async fn drip(&self, clock: &dyn Clock) {
        let mut link = self.clone();
        let mut buffer = vec![0; DRIP];
        while matches!(link.read(&mut buffer).await, Ok(count) if count > 0) {
            clock.sleep(BETWEEN_DRIPS).await;
        }
    }

    pub(super) fn close(&self) {
        self.closed.cancel();
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.take();
    }

    pub(super) fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    fn with<T>(
        &self,
        work: impl FnOnce(Pin<&mut BoxByteStream>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        match stream.as_mut() {
            Some(stream) => work(Pin::new(stream)),
            None => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for Link {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_read(context, buffer))
    }
}

impl AsyncWrite for Link {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.with(|stream| stream.poll_write(context, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_flush(context))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|stream| stream.poll_shutdown(context))
    }
}

/// 1.6 MB/s: a pipe, a socket and an engine's buffer are empty within a quarter of a second.
const DRIP: usize = 16 * 1024;
const BETWEEN_DRIPS: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use longshore_core::SystemClock;
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_flood_that_nobody_takes_is_let_through_slowly_and_its_end_is_soon() {
        let (ours, mut engine) = tokio::io::duplex(64 << 10);
        let link = Link::new(Box::new(ours));
        link.leave();
        let clock = SystemClock::new();
        let piece = vec![b'y'; 4096];
        let mut passed = 0;
        let flooding = async {
            while engine.write_all(&piece).await.is_ok() {
                passed += piece.len();
            }
        };
        let second = clock.sleep(Duration::from_secs(1));
        tokio::select! {
            () = flooding => panic!("it has no end"),
            () = link.drip(&clock) => panic!("it has not ended"),
            () = second => {}
        }
        assert!((1 << 20..2 << 20).contains(&passed), "{passed}");
        // Ended, it is rid of what it had to say.
        let ending = async {
            engine.write_all(&[b'y'; 48 << 10]).await.unwrap();
            drop(engine);
        };
        tokio::join!(ending, link.drip(&clock));
    }
}
