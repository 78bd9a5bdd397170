use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use tokio::{io::AsyncWrite, sync::mpsc};
use tokio_util::sync::PollSender;

/// The input of a remote session: a bounded queue to its driver. Shutting it down is the end of the
/// input, and told by an empty piece: dropping it ends a command's own input too, but not that of a
/// workload, which others share.
pub(super) struct QueueInput(PollSender<Bytes>);

impl QueueInput {
    pub(super) fn new(queue: mpsc::Sender<Bytes>) -> Self {
        Self(PollSender::new(queue))
    }
}

impl AsyncWrite for QueueInput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.0.poll_reserve(context)).map_err(gone)?;
        let piece = Bytes::copy_from_slice(&bytes[..bytes.len().min(PIECE)]);
        let count = piece.len();
        self.0.send_item(piece).map_err(gone)?;
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A session that has gone needs no end of its input.
        if ready!(self.0.poll_reserve(context)).is_ok() {
            let _ = self.0.send_item(Bytes::new());
        }
        self.0.close();
        Poll::Ready(Ok(()))
    }
}

const PIECE: usize = 16 * 1024;
