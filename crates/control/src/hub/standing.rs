use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::StreamExt;
use longshore_core::{
    BoxByteStream, BoxFuture, Error, ErrorKind, Leader, LeaderElection, Mandate, StreamTarget,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// By what right a connector's streams are opened.
#[derive(Clone, Debug)]
pub(crate) enum Standing {
    /// Of the only manager there is.
    Alone,
    /// To look, whoever leads.
    Observer,
    /// To act while this manager leads, to look while it does not.
    Elected(Arc<dyn LeaderElection>),
}

impl Standing {
    /// The mandate at this very moment.
    pub(super) fn mandate(&self) -> Option<Mandate> {
        match self {
            Self::Alone => None,
            Self::Observer => Some(Mandate::Observe),
            Self::Elected(election) => Some(match election.leader() {
                Leader::Here { token } => Mandate::Act { token },
                _ => Mandate::Observe,
            }),
        }
    }

    /// The stream, broken off here as soon as another mandate has taken the place of the one that it
    /// was opened under: a connection that was kept must not be used under the new one.
    pub(super) fn hold(&self, mandate: Option<Mandate>, stream: BoxByteStream) -> BoxByteStream {
        match (self, mandate) {
            (Self::Elected(election), Some(mandate)) => Box::new(Held {
                stream,
                over: Box::pin(replaced(election.watch(), mandate)),
            }),
            _ => stream,
        }
    }
}

pub(super) fn engine_under(mandate: Option<Mandate>) -> StreamTarget {
    match mandate {
        Some(mandate) => StreamTarget::Engine.under(mandate),
        None => StreamTarget::Engine,
    }
}

/// A time without a leader replaces nothing: the same may lead again, and the node judges the rest.
async fn replaced(mut news: longshore_core::BoxStream<Leader>, mandate: Mandate) {
    while let Some(leader) = news.next().await {
        let over = match (&leader, mandate) {
            (Leader::Here { token }, Mandate::Act { token: held }) => *token != held,
            (Leader::Here { .. }, _) => true,
            (Leader::Elsewhere(_), Mandate::Act { .. }) => true,
            _ => false,
        };
        if over {
            return;
        }
    }
    std::future::pending::<()>().await;
}

struct Held {
    stream: BoxByteStream,
    over: BoxFuture<'static, ()>,
}

impl AsyncRead for Held {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.over.as_mut().poll(context).is_ready() {
            // Polled no more once it was ready.
            self.over = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::Error::other(over())));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Held {
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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

fn over() -> Error {
    Error::new(
        ErrorKind::Stale,
        "the leadership under which this stream to a node was opened is over",
    )
}
