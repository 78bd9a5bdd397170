use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{carrier::InUse, mux::ReadOutcome};

/// One stream of a carrier.
///
/// Writes are buffered up to a bound and then wait for the peer's reader; shutting down is a
/// half-close. Dropped before both directions have ended, it is reset; dropped after this side's
/// shutdown, what was written is still delivered.
pub(crate) struct TunnelStream {
    id: u32,
    carrier: Arc<InUse>,
}

impl TunnelStream {
    pub(crate) fn new(id: u32, carrier: Arc<InUse>) -> Self {
        Self { id, carrier }
    }
}

impl AsyncRead for TunnelStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.carrier.shared().lock();
        let outcome = state.mux.read(self.id, buffer)?;
        match outcome {
            ReadOutcome::Bytes(_) => {
                state.nudge();
                Poll::Ready(Ok(()))
            }
            ReadOutcome::End => Poll::Ready(Ok(())),
            ReadOutcome::Blocked => {
                state.wait_readable(self.id, cx.waker());
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for TunnelStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.carrier.shared().lock();
        match state.mux.write(self.id, bytes)? {
            0 if !bytes.is_empty() => {
                state.wait_writable(self.id, cx.waker());
                Poll::Pending
            }
            count => {
                state.nudge();
                Poll::Ready(Ok(count))
            }
        }
    }

    /// Nothing is held back, so there is nothing to wait for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.carrier.shared().lock();
        state.mux.finish(self.id)?;
        state.nudge();
        Poll::Ready(Ok(()))
    }
}

impl Drop for TunnelStream {
    fn drop(&mut self) {
        let mut state = self.carrier.shared().lock();
        state.forget(self.id);
        state.mux.release(self.id);
        state.nudge();
    }
}

impl fmt::Debug for TunnelStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TunnelStream")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
