//! Streams to the service: TCP, and TLS over it.

use std::{fmt, path::Path, sync::Arc};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Endpoint, Error, Result, tls};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::TokenBase;
use crate::tls_failure;

pub(super) struct Dial {
    endpoint: Endpoint,
    tls: Option<TlsConnector>,
}

impl Dial {
    pub(super) fn plain(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            tls: None,
        }
    }

    /// Trusts the authorities of a PEM file.
    pub(super) fn secure(endpoint: Endpoint, authorities: &Path) -> Result<Self> {
        let bad = |text: String| {
            Error::invalid(format!("Couldn't read CA certificate: {text}"))
                .with_context("file", authorities.display())
        };
        let pem = std::fs::read(authorities).map_err(|error| bad(error.to_string()))?;
        let roots = tls::roots(&pem).map_err(|error| bad(error.message().to_owned()))?;
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::internal("TLS can't be set up").with_source(error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            endpoint,
            tls: Some(TlsConnector::from(Arc::new(config))),
        })
    }

    /// What the base URL asks for.
    pub(super) fn to(base: &TokenBase, authorities: Option<&Path>) -> Result<Self> {
        match (base.secure, authorities) {
            (false, _) => Ok(Self::plain(base.endpoint.clone())),
            (true, Some(file)) => Self::secure(base.endpoint.clone(), file),
            (true, None) => Err(Error::invalid(
                "https needs the authority that the token service is trusted by: give its PEM \
                 file as --discovery-opt token.cacertfile=…, or ask for plain HTTP with \
                 --discovery-opt token.plain=true",
            )
            .with_context("url", base)),
        }
    }
}

#[async_trait]
impl Connector for Dial {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        let stream = TcpStream::connect((host, port)).await.map_err(|error| {
            Error::io("the token service can't be reached", error)
                .with_retryable(true)
                .with_context("address", &self.endpoint)
        })?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|error| Error::invalid("no name for TLS").with_source(error))?;
        let stream = tls.connect(name, stream).await.map_err(|error| {
            tls_failure::explain("token service", "token", host, error)
                .with_context("address", &self.endpoint)
        })?;
        Ok(Box::new(stream))
    }

    fn describe(&self) -> String {
        format!("tcp://{}", self.endpoint)
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dial({}, tls: {})", self.endpoint, self.tls.is_some())
    }
}
