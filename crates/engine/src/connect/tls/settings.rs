use std::{fmt, path::Path, sync::Arc};

use longshore_core::{
    Clock, Error, Result,
    tls::{ClockTime, provider},
};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::CertificateDer};

use super::{
    identity::{TlsIdentity, certificates, read_file},
    verify::{AcceptAny, Verify},
};

/// Whom to trust and who we are, checked once. Clones share session tickets.
///
/// TLS 1.3 is preferred, 1.2 the least. A connection offers the protocol `http/1.1`.
#[derive(Clone)]
pub struct TlsSettings {
    config: Arc<ClientConfig>,
    verified: bool,
}

impl TlsSettings {
    /// Trusts servers with certificates from these CAs (PEM), for the name or address dialled, and
    /// shows them `identity`. Certificates are judged by `clock`.
    ///
    /// # Errors
    /// The CA text holds no usable certificate, or the key does not fit the certificate.
    pub fn verified(
        ca: &[u8],
        identity: Option<TlsIdentity>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Self::trusting(certificates(ca, "the CA")?, "the CA", identity, clock)
    }

    /// From files, as `--tlscacert`, `--tlscert` and `--tlskey` name them.
    ///
    /// # Errors
    /// As for [`verified`](Self::verified) and [`TlsIdentity::from_files`], naming the file.
    pub fn from_files(
        ca: &Path,
        certificate: &Path,
        key: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let what = format!("the CA file {}", ca.display());
        let identity = TlsIdentity::from_files(certificate, key)?;
        Self::trusting(
            certificates(&read_file(ca)?, &what)?,
            &what,
            Some(identity),
            clock,
        )
    }

    /// Accepts **any** server certificate, as `--tls` without `--tlsverify` does: the connection is
    /// encrypted, but whoever can redirect it can read and change everything on it, and whoever
    /// holds an engine's API is root on its host. A warning is logged.
    ///
    /// # Errors
    /// The key does not fit the certificate.
    pub fn dangerously_accept_any_server(
        identity: Option<TlsIdentity>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        tracing::warn!(
            "TLS to engines is not verified: whoever can redirect a connection can read and change \
             everything on it; use --tlsverify with --tlscacert"
        );
        let provider = provider();
        let verifier = Arc::new(AcceptAny::new(&provider));
        Self::build(provider, verifier, identity, clock, false)
    }

    /// Whether servers have to prove who they are.
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    fn trusting(
        authorities: Vec<CertificateDer<'static>>,
        what: &str,
        identity: Option<TlsIdentity>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        for authority in &authorities {
            roots.add(authority.clone()).map_err(|error| {
                Error::invalid(format!("{what} holds a certificate that is no usable CA"))
                    .with_source(error)
            })?;
        }
        let provider = provider();
        let verifier = Arc::new(Verify::new(roots, &authorities, &provider)?);
        Self::build(provider, verifier, identity, clock, true)
    }

    fn build(
        provider: Arc<CryptoProvider>,
        verifier: Arc<dyn rustls::client::danger::ServerCertVerifier>,
        identity: Option<TlsIdentity>,
        clock: Arc<dyn Clock>,
        verified: bool,
    ) -> Result<Self> {
        let bad = |error: rustls::Error| {
            let message = match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the private key does not belong to the certificate"
                }
                _ => "the certificate or its key can't be used",
            };
            Error::invalid(message).with_source(error)
        };
        let builder = ClientConfig::builder_with_details(provider, Arc::new(ClockTime::new(clock)))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(bad)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => builder
                .with_client_auth_cert(identity.chain, identity.key)
                .map_err(bad)?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            config: Arc::new(config),
            verified,
        })
    }
}

impl fmt::Debug for TlsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSettings")
            .field("verified", &self.verified)
            .finish_non_exhaustive()
    }
}
