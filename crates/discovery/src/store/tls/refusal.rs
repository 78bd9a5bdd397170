//! A server that ends a connection with an alert after the handshake. In TLS 1.3 it judges our
//! certificate only then.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

#[cfg(any(feature = "etcd", feature = "consul"))]
use longshore_core::ErrorKind;
use longshore_core::{Error, ReadRule};
use rustls::AlertDescription;
use tokio::io::{AsyncRead, ReadBuf};

use crate::tls_failure;

/// The last refusal of one server, until it says something else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Refusal(Arc<Mutex<Option<AlertDescription>>>);

impl Refusal {
    /// The reason that the server gave, where it gave one and all that is known is that the
    /// connection ended.
    #[cfg(any(feature = "etcd", feature = "consul"))]
    pub(crate) fn explain(&self, host: &str, error: Error) -> Error {
        let alert = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match alert.filter(|_| error.kind() == ErrorKind::Unavailable) {
            Some(alert) => refused(host, alert).with_source(error),
            None => error,
        }
    }

    fn set(&self, alert: Option<AlertDescription>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = alert;
    }
}

fn refused(host: &str, alert: AlertDescription) -> Error {
    tls_failure::refused("store", "kv", host, alert)
}

/// What a failed read was told to be by the stream, if it knows.
#[cfg(feature = "zookeeper")]
pub(crate) fn told(error: &io::Error) -> Option<Error> {
    let told = error.get_ref()?.downcast_ref::<Error>()?;
    Some(Error::new(told.kind(), told.message().to_owned()))
}

/// Reads of a stream over TLS: notes refusals, and fails with them.
pub(super) struct Judged {
    pub(super) host: String,
    pub(super) refusal: Refusal,
    /// Whether the server has said something: then it has taken our certificate.
    pub(super) accepted: bool,
}

impl ReadRule for Judged {
    fn poll_read<S: AsyncRead + Unpin>(
        &mut self,
        stream: &mut S,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Err(error) = ready!(Pin::new(stream).poll_read(context, buffer)) else {
            if !self.accepted && buffer.filled().len() > before {
                self.accepted = true;
                self.refusal.set(None);
            }
            return Poll::Ready(Ok(()));
        };
        let cause = error
            .get_ref()
            .and_then(|cause| cause.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::AlertReceived(alert)) = cause else {
            return Poll::Ready(Err(error));
        };
        let alert = *alert;
        self.refusal.set(Some(alert));
        let told = refused(&self.host, alert);
        Poll::Ready(Err(io::Error::new(error.kind(), told)))
    }
}
