use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::link::Link;

/// The input of a session. Dropping it is its end, like shutting it down.
pub(super) struct DockerInput {
    link: Link,
    ended: bool,
}

impl DockerInput {
    pub(super) fn new(link: Link) -> Self {
        Self { link, ended: false }
    }
}

impl AsyncWrite for DockerInput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        Pin::new(&mut self.link).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.link).poll_shutdown(context));
        self.ended = true;
        // A command that has ended does not care.
        let gone = [io::ErrorKind::BrokenPipe, io::ErrorKind::NotConnected];
        Poll::Ready(result.or_else(|error| match gone.contains(&error.kind()) {
            true => Ok(()),
            false => Err(error),
        }))
    }
}

impl Drop for DockerInput {
    fn drop(&mut self) {
        if self.ended || self.link.closed().is_cancelled() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let mut link = self.link.clone();
            runtime.spawn(async move {
                let closed = link.closed().clone();
                closed.run_until_cancelled(link.shutdown()).await
            });
        }
    }
}
