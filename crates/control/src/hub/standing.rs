use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::StreamExt;
use longshore_core::{
    BoxByteStream, BoxFuture, Error, ErrorKind, Leader, LeaderElection, Mandate, ReadRule,
    ReadThrough, StreamTarget,
};
use tokio::io::{AsyncRead, ReadBuf};

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
            (Self::Elected(election), Some(mandate)) => {
                let over = Until(Box::pin(replaced(election.watch(), mandate)));
                Box::new(ReadThrough::new(stream, over))
            }
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

/// Ends a stream's reads when its leadership is over.
struct Until(BoxFuture<'static, ()>);

impl ReadRule for Until {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.0.as_mut().poll(context).is_ready() {
            // Polled no more once it was ready.
            self.0 = Box::pin(std::future::ready(()));
            return Poll::Ready(Err(io::Error::other(over())));
        }
        Pin::new(stream).poll_read(context, buffer)
    }
}

fn over() -> Error {
    Error::new(
        ErrorKind::Stale,
        "the leadership under which this stream to a node was opened is over",
    )
}
