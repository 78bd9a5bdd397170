//! A link that is slow towards the client.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use longshore_core::BoxByteStream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// So many bytes a second are read, whatever waits before it.
pub(crate) struct Slow {
    stream: BoxByteStream,
    bytes_per_second: u64,
    free_at: Instant,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Slow {
    pub(crate) fn over(stream: BoxByteStream, bytes_per_second: u64) -> Self {
        Self {
            stream,
            bytes_per_second,
            free_at: Instant::now(),
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
        let mut piece = [0; 1024];
        let room = buffer.remaining().min(piece.len());
        let mut part = ReadBuf::new(&mut piece[..room]);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut part))?;
        let bytes = part.filled();
        buffer.put_slice(bytes);
        let time = Duration::from_micros(bytes.len() as u64 * 1_000_000 / self.bytes_per_second);
        let now = Instant::now();
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
