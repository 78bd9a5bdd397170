use std::fmt;

use rustls::{
    DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{
        CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// Which servers a [`ServerCheck`] takes, by the certificate that they show.
pub trait ServerRule: fmt::Debug + Send + Sync {
    /// Judges the certificate of whom was dialled by this name, and those that came with it.
    ///
    /// # Errors
    /// What is wrong with it; the connection ends with it.
    fn judge(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        dialled: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), rustls::Error>;
}

/// Takes the servers whose certificate a rule is content with, and that hold its key: the rule has no
/// say in that.
#[derive(Debug)]
pub struct ServerCheck<R> {
    rule: R,
    algorithms: WebPkiSupportedAlgorithms,
}

impl<R: ServerRule> ServerCheck<R> {
    /// By this rule, with the signatures of this provider.
    pub fn new(rule: R, provider: &CryptoProvider) -> Self {
        Self {
            rule,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl<R: ServerRule> ServerCertVerifier for ServerCheck<R> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.rule
            .judge(end_entity, intermediates, server_name, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
