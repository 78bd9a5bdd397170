use std::{fmt, sync::Arc};

use longshore_core::{Error, NodeId, Result, tls::ServerRule};
use rustls::{
    CertificateError, OtherError, RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

use super::ExpectedPeer;
use crate::pki::{self, TlsTrust};

/// Checks the listener's certificate: chain, validity and purpose as the TLS library does, then
/// that it is the peer that the dialler means.
#[derive(Debug)]
pub(super) struct PeerRule {
    roots: Arc<RootCertStore>,
    expected: Expected,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Expected {
    DialledHost,
    DialledManager,
    Name(ServerName<'static>),
    Node(NodeId),
}

/// The certificate is a good one of somebody else.
#[derive(Debug)]
pub(super) struct WrongNode {
    expected: NodeId,
    found: String,
}

impl PeerRule {
    pub(super) fn new(
        trust: &TlsTrust,
        expected: &ExpectedPeer,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self> {
        let expected = match expected {
            ExpectedPeer::DialledHost => Expected::DialledHost,
            ExpectedPeer::DialledManager => Expected::DialledManager,
            ExpectedPeer::Node(node) => Expected::Node(node.clone()),
            ExpectedPeer::Name(name) => {
                let parsed = ServerName::try_from(name.clone()).map_err(|error| {
                    Error::invalid(format!(
                        "the expected peer {name:?} is neither a DNS name nor an address"
                    ))
                    .with_source(error)
                })?;
                Expected::Name(parsed)
            }
        };
        Ok(Self {
            roots: trust.roots(),
            expected,
            provider,
        })
    }
}

impl ServerRule for PeerRule {
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        verify_server_cert_signed_by_trust_anchor(
            &certificate,
            &self.roots,
            intermediates,
            now,
            self.provider.signature_verification_algorithms.all,
        )?;
        match &self.expected {
            Expected::DialledHost => verify_server_name(&certificate, dialled)?,
            Expected::DialledManager => {
                verify_server_name(&certificate, dialled)?;
                check_manager(end_entity)?;
            }
            Expected::Name(name) => verify_server_name(&certificate, name)?,
            Expected::Node(expected) => {
                let found = pki::node_of(end_entity);
                if found.as_ref().ok() != Some(expected) {
                    let found = found.map_or_else(|error| error.to_string(), |id| id.to_string());
                    let wrong = WrongNode {
                        expected: expected.clone(),
                        found,
                    };
                    return Err(CertificateError::Other(OtherError(Arc::new(wrong))).into());
                }
            }
        }
        Ok(())
    }
}

fn check_manager(certificate: &CertificateDer<'_>) -> Result<(), rustls::Error> {
    let node = pki::node_of(certificate);
    let is_manager = match &node {
        Ok(node) => pki::is_manager(certificate, node).unwrap_or(false),
        Err(_) => false,
    };
    if is_manager {
        return Ok(());
    }
    let found = node.map_or_else(|error| error.to_string(), |id| id.to_string());
    let wrong = NoManager { found };
    Err(CertificateError::Other(OtherError(Arc::new(wrong))).into())
}

/// The certificate is a good one of a node that is no control plane.
#[derive(Debug)]
struct NoManager {
    found: String,
}

impl fmt::Display for NoManager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the peer is {} and no control plane; issue a control plane's certificate with the \
             role manager",
            self.found
        )
    }
}

impl std::error::Error for NoManager {}

impl fmt::Display for WrongNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the peer is {}, not the node {} that was meant",
            self.found, self.expected
        )
    }
}

impl std::error::Error for WrongNode {}
