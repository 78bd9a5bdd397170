use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Endpoint, Error, Result};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{TlsSettings, explain};
use crate::connect::{
    place::{ENGINE, Place},
    tcp::dial,
};

/// Connects to an engine over TLS, mutual if the settings hold an identity.
#[derive(Clone)]
pub struct TlsConnector {
    endpoint: Endpoint,
    settings: TlsSettings,
    name: Option<String>,
    peer: &'static str,
}

impl TlsConnector {
    /// A connector to this address, whose host the server's certificate must name.
    pub fn new(endpoint: Endpoint, settings: TlsSettings) -> Self {
        Self {
            endpoint,
            settings,
            name: None,
            peer: ENGINE,
        }
    }

    /// Says what listens there, for errors: `engine` unless told.
    #[must_use]
    pub fn with_peer(mut self, peer: &'static str) -> Self {
        self.peer = peer;
        self
    }

    /// Expects the server's certificate to name this host instead of the one dialled.
    #[must_use]
    pub fn with_server_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// The settings.
    pub fn settings(&self) -> &TlsSettings {
        &self.settings
    }
}

#[async_trait]
impl Connector for TlsConnector {
    /// A server may refuse our certificate only after this has returned (TLS 1.3): the first read
    /// fails then, with an `io::Error` around the [`Error`] that says why.
    async fn connect(&self) -> Result<BoxByteStream> {
        let place = Place {
            peer: self.peer,
            address: self.describe(),
        };
        let name = self.name.as_deref().unwrap_or(self.endpoint.host());
        let name = ServerName::try_from(name.to_owned()).map_err(|error| {
            Error::invalid(format!(
                "{name:?} can't be the name on a certificate: expected a host name or an address"
            ))
            .with_source(error)
        })?;
        let tcp = dial(&self.endpoint, &place).await?;
        let stream = tokio_rustls::TlsConnector::from(self.settings.config())
            .connect(name, tcp)
            .await
            .map_err(|error| explain::failure(&place, error))?;
        Ok(Box::new(Explaining { stream, place }))
    }

    fn describe(&self) -> String {
        format!("tcp://{}", self.endpoint)
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("endpoint", &self.endpoint)
            .field("settings", &self.settings)
            .field("name", &self.name)
            .finish()
    }
}

/// A TLS stream whose errors say what an alert means.
struct Explaining {
    stream: TlsStream<TcpStream>,
    place: Place,
}

impl Explaining {
    fn explain<T>(&self, result: io::Result<T>) -> io::Result<T> {
        result.map_err(|error| {
            let by_tls = error
                .get_ref()
                .and_then(|inner| inner.downcast_ref::<rustls::Error>())
                .is_some();
            if by_tls {
                io::Error::new(error.kind(), explain::failure(&self.place, error))
            } else {
                error
            }
        })
    }
}

impl AsyncRead for Explaining {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_read(context, buffer);
        poll.map(|result| self.explain(result))
    }
}

impl AsyncWrite for Explaining {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        poll.map(|result| self.explain(result))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        poll.map(|result| self.explain(result))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
