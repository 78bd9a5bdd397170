use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use longshore_core::{
    Clock, Error, Result,
    tls::{ClockTime, ServerCheck, provider},
};
use rustls::{ClientConfig, RootCertStore, crypto::CryptoProvider, pki_types::CertificateDer};

use super::{
    identity::{TlsIdentity, certificates, read_file},
    verify::{AcceptAny, Verify},
};

/// Whom to trust and who we are, checked once. Clones share session tickets, and what replaces the
/// certificates of one does so for all.
///
/// TLS 1.3 is preferred, 1.2 the least. A connection offers the protocol `http/1.1`.
#[derive(Clone)]
pub struct TlsSettings {
    config: Arc<RwLock<Arc<ClientConfig>>>,
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
        let verifier = Arc::new(ServerCheck::new(AcceptAny, &provider));
        Self::build(provider, verifier, identity, clock, false)
    }

    /// Whether servers have to prove who they are.
    pub fn is_verified(&self) -> bool {
        self.verified
    }

    /// Uses the certificates of others for connections made from now on, in all clones: how they are
    /// rotated. Connections that are open go on. Whether servers are verified does not change: what
    /// does not verify is never taken where verification was asked for.
    pub fn replace(&self, others: &Self) {
        if self.verified == others.verified {
            let config = others.config();
            *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
        }
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
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
        let rule = Verify::new(roots, &authorities, &provider)?;
        let verifier = Arc::new(ServerCheck::new(rule, &provider));
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
            config: Arc::new(RwLock::new(Arc::new(config))),
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

#[cfg(test)]
mod tests {
    use longshore_core::SystemClock;

    use super::*;

    #[test]
    fn replaced_certificates_are_those_of_all_clones() {
        let settings = || {
            let clock = Arc::new(SystemClock::new());
            TlsSettings::dangerously_accept_any_server(None, clock).unwrap()
        };
        let (first, new) = (settings(), settings());
        let clone = first.clone();
        first.replace(&new);
        assert!(Arc::ptr_eq(&clone.config(), &new.config()));
    }

    #[test]
    fn verification_is_never_replaced_away() {
        let clock = Arc::new(SystemClock::new());
        let careless = TlsSettings::dangerously_accept_any_server(None, clock).unwrap();
        let careful = TlsSettings {
            config: Arc::clone(&careless.clone().config),
            verified: true,
        };
        let before = careful.config();
        let other = TlsSettings {
            config: Arc::new(RwLock::new(Arc::new((*before).clone()))),
            verified: false,
        };
        careful.replace(&other);
        assert!(Arc::ptr_eq(&careful.config(), &before));
    }
}
