use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use async_trait::async_trait;
use longshore_core::{
    Carrier, Clock, ClockExt, Endpoint, Error, NodeId, Result, Timestamp, TunnelCapabilities,
    TunnelListener, TunnelTransport,
};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

mod admission;
mod config;
mod explain;
mod handshake;
mod listener;
mod options;
mod peer_rule;
mod socket;

use config::Config;
use listener::TlsListener;
pub use options::{ExpectedPeer, TlsOptions};

use crate::{
    mux::Side,
    pki::{TlsIdentity, TlsTrust},
};

/// TCP with mutual TLS 1.3 (ALPN `longshore/1`): the transport between real machines.
///
/// Both ends show a certificate of a CA that the other trusts. A peer's identity is the node in its
/// certificate's URI name `longshore://node/<id>`; addresses and DNS names are never identities.
/// The dialler also checks that it reached whom it meant, see [`ExpectedPeer`]. Verification has no
/// off switch. Sessions are not resumed, so every connection is checked against the certificates
/// of the day. Clones are the same transport.
#[derive(Clone)]
pub struct TlsTransport {
    config: Arc<RwLock<Arc<Config>>>,
    expected: ExpectedPeer,
    options: TlsOptions,
    clock: Arc<dyn Clock>,
}

impl TlsTransport {
    /// A transport that shows `identity` and trusts `trust`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) when the identity's
    /// certificate names no node, or the TLS library refuses it.
    pub fn new(identity: &TlsIdentity, trust: &TlsTrust, clock: Arc<dyn Clock>) -> Result<Self> {
        let expected = ExpectedPeer::default();
        let config = Config::new(identity, trust, &expected, &clock)?;
        Ok(Self {
            config: Arc::new(RwLock::new(Arc::new(config))),
            expected,
            options: TlsOptions::default(),
            clock,
        })
    }

    /// Sets limits and times.
    #[must_use]
    pub fn with_options(mut self, options: TlsOptions) -> Self {
        self.options = options;
        self
    }

    /// A transport like this one that accepts only this peer when it dials. Certificates replaced
    /// in one are not replaced in the other.
    ///
    /// # Errors
    /// The name expected is neither a DNS name nor an address.
    pub fn with_expected_peer(mut self, expected: ExpectedPeer) -> Result<Self> {
        let config = self.current().expecting(&expected)?;
        self.config = Arc::new(RwLock::new(Arc::new(config)));
        self.expected = expected;
        Ok(self)
    }

    /// Uses other certificates for connections made from now on: how they are rotated. Carriers
    /// that are open go on.
    ///
    /// # Errors
    /// As [`new`](Self::new); the old certificates stay in use then.
    pub fn replace_certificates(&self, identity: &TlsIdentity, trust: &TlsTrust) -> Result<()> {
        let config = Config::new(identity, trust, &self.expected, &self.clock)?;
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
        Ok(())
    }

    /// Who this transport's certificate says it is.
    pub fn node(&self) -> NodeId {
        self.current().node.clone()
    }

    /// When this transport's certificate ends.
    pub fn expires(&self) -> Timestamp {
        self.current().expires
    }

    fn current(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    async fn connect(&self, to: &Endpoint) -> Result<TcpStream> {
        let connecting = TcpStream::connect((to.host(), to.port()));
        let tcp = self
            .clock
            .timeout(self.options.connect_timeout, "connecting", connecting)
            .await?
            .map_err(|error| {
                Error::unavailable(format!("cannot connect: {error}")).with_source(error)
            })?;
        socket::prepare(&tcp).map_err(|error| Error::io("cannot set up the socket", error))?;
        Ok(tcp)
    }

    async fn dial_tls(&self, to: &Endpoint) -> Result<Arc<dyn Carrier>> {
        let config = self.current();
        let name = ServerName::try_from(to.host().to_owned()).map_err(|error| {
            Error::invalid("the host is neither a DNS name nor an address").with_source(error)
        })?;
        let tcp = self.connect(to).await?;
        let deadline = self.clock.now().after(self.options.handshake_timeout);
        let connector = TlsConnector::from(Arc::clone(&config.client));
        let stream = self
            .clock
            .timeout(
                self.options.handshake_timeout,
                "the TLS handshake",
                connector.connect(name, tcp),
            )
            .await?
            .map_err(explain::explain)?;
        let (_, session) = stream.get_ref();
        let peer = handshake::peer(session.alpn_protocol(), session.peer_certificates())?
            .with_address(to.clone());
        let done = handshake::Done {
            peer,
            deadline,
            side: Side::Dialer,
        };
        done.into_carrier(stream, &self.options, &self.clock).await
    }
}

#[async_trait]
impl TunnelTransport for TlsTransport {
    fn capabilities(&self) -> TunnelCapabilities {
        TunnelCapabilities::secure(self.options.mux.max_streams)
    }

    async fn listen(&self, at: &Endpoint) -> Result<Arc<dyn TunnelListener>> {
        let listener = TlsListener::bind(at, self.clone()).await.map_err(|error| {
            error
                .with_backend("tls")
                .with_operation("tunnel.listen")
                .with_context("address", at)
        })?;
        Ok(Arc::new(listener))
    }

    async fn dial(&self, to: &Endpoint) -> Result<Arc<dyn Carrier>> {
        self.dial_tls(to).await.map_err(|error| {
            error
                .with_backend("tls")
                .with_operation("tunnel.dial")
                .with_context("address", to)
        })
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport")
            .field("node", &self.current().node)
            .field("expected", &self.expected)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
