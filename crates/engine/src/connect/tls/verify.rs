use std::sync::Arc;

use longshore_core::{Error, Result, tls::ServerRule};
use rustls::{
    CertificateError, OtherError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

use super::explain::{self, Explained};

/// rustls's own verifier, whose refusals say what is wrong with which certificate.
#[derive(Debug)]
pub(super) struct Verify {
    inner: Arc<WebPkiServerVerifier>,
    trusted: Vec<String>,
}

impl Verify {
    pub(super) fn new(
        roots: RootCertStore,
        authorities: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self> {
        let inner =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider))
                .build()
                .map_err(|error| Error::invalid("the CA can't be used").with_source(error))?;
        let trusted = authorities.iter().map(|ca| explain::subject(ca)).collect();
        Ok(Self { inner, trusted })
    }
}

impl ServerRule for Verify {
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let judged = self
            .inner
            .verify_server_cert(certificate, intermediates, dialled, &[], now);
        judged.map(drop).map_err(|error| match error {
            rustls::Error::InvalidCertificate(reason) => {
                let text = explain::certificate(&reason, certificate, dialled, &self.trusted);
                let told = CertificateError::Other(OtherError(Arc::new(Explained(text))));
                rustls::Error::InvalidCertificate(told)
            }
            other => other,
        })
    }
}

/// Accepts every certificate. That the peer holds its key is still wanted.
#[derive(Debug)]
pub(super) struct AcceptAny;

impl ServerRule for AcceptAny {
    fn judge(
        &self,
        _certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _dialled: &ServerName<'_>,
        _now: UnixTime,
    ) -> Result<(), rustls::Error> {
        Ok(())
    }
}
