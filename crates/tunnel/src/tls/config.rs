use std::sync::Arc;

use longshore_core::{
    Clock, Error, NodeId, Result, Timestamp,
    tls::{ClockTime, ServerCheck, provider},
};
use rustls::{
    ClientConfig, ServerConfig,
    client::Resumption,
    server::{NoServerSessionStorage, WebPkiClientVerifier},
};

use super::{ExpectedPeer, peer_rule::PeerRule};
use crate::pki::{TlsIdentity, TlsTrust};

/// What both ends speak inside TLS.
pub(super) const ALPN: &[u8] = b"longshore/1";

/// The TLS library's view of one set of certificates.
pub(super) struct Config {
    pub(super) client: Arc<ClientConfig>,
    pub(super) server: Arc<ServerConfig>,
    pub(super) node: NodeId,
    pub(super) expires: Timestamp,
    identity: TlsIdentity,
    trust: TlsTrust,
    clock: Arc<dyn Clock>,
}

impl Config {
    pub(super) fn new(
        identity: &TlsIdentity,
        trust: &TlsTrust,
        expected: &ExpectedPeer,
        clock: &Arc<dyn Clock>,
    ) -> Result<Self> {
        let node = identity.node()?;
        Ok(Self {
            client: Arc::new(client(identity, trust, expected, clock)?),
            server: Arc::new(server(identity, trust, clock)?),
            node,
            expires: identity.expires(),
            identity: identity.clone(),
            trust: trust.clone(),
            clock: Arc::clone(clock),
        })
    }

    /// The same certificates, and another peer expected.
    pub(super) fn expecting(&self, expected: &ExpectedPeer) -> Result<Self> {
        Self::new(&self.identity, &self.trust, expected, &self.clock)
    }
}

fn client(
    identity: &TlsIdentity,
    trust: &TlsTrust,
    expected: &ExpectedPeer,
    clock: &Arc<dyn Clock>,
) -> Result<ClientConfig> {
    let (chain, key) = identity.parts();
    let rule = PeerRule::new(trust, expected, provider())?;
    let verifier = ServerCheck::new(rule, &provider());
    let mut config =
        ClientConfig::builder_with_details(provider(), Arc::new(ClockTime::new(Arc::clone(clock))))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(refused)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(chain, key)
            .map_err(refused)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

fn server(
    identity: &TlsIdentity,
    trust: &TlsTrust,
    clock: &Arc<dyn Clock>,
) -> Result<ServerConfig> {
    let (chain, key) = identity.parts();
    let verifier = WebPkiClientVerifier::builder_with_provider(trust.roots(), provider())
        .build()
        .map_err(|error| Error::invalid("the trusted CAs can't be used").with_source(error))?;
    let mut config =
        ServerConfig::builder_with_details(provider(), Arc::new(ClockTime::new(Arc::clone(clock))))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(refused)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(refused)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn refused(error: rustls::Error) -> Error {
    Error::invalid("the certificate can't be used").with_source(error)
}
