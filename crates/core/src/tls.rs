//! What every use of TLS in the workspace shares: PEM texts taken apart with errors that say what is
//! wrong, certificates judged by the injected clock, and one choice of cryptography.
//!
//! Whom to trust and who we are is decided where a connection is made: by the engine's connector,
//! the tunnel's transport and the endpoint's listener. The types are `rustls`'s own, as this module
//! is for code that configures it.

use std::{fmt, sync::Arc, time::Duration};

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject},
    time_provider::TimeProvider,
};

use crate::{Clock, Error, Result};

mod server_check;

pub use server_check::{ServerCheck, ServerRule};

/// Ring, to be named at every use: an embedder's process-wide choice is left alone.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// All certificates of a PEM text, the end entity first; at least one.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), in words that go on from the name
/// of what was read: `it holds no certificate in PEM form`.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::invalid(format!("it is not valid PEM: {error}")))?;
    if found.is_empty() {
        return Err(Error::invalid("it holds no certificate in PEM form"));
    }
    Ok(found)
}

/// The private key of a PEM text: PKCS #8, PKCS #1 or SEC 1, not encrypted.
///
/// # Errors
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput), worded as for [`certificates`]. The
/// text is never repeated.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>> {
    let is_marked = |marker: &[u8]| pem.windows(marker.len()).any(|window| window == marker);
    if ENCRYPTED.iter().any(|marker| is_marked(marker)) {
        return Err(Error::invalid(
            "it is encrypted: decrypt it first (openssl pkey -in key.pem -out plain.pem)",
        ));
    }
    PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| Error::invalid("it holds no private key in PEM form"))
}

/// The authorities of a PEM text, to be trusted. At least one: a trust that is empty by mistake
/// would refuse every peer and not say why.
///
/// # Errors
/// As for [`certificates`], and for one that is no usable authority.
pub fn roots(pem: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates(pem)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| {
            let number = index + 1;
            Error::invalid(format!("certificate {number} is no usable CA: {error}"))
        })?;
    }
    Ok(roots)
}

/// The injected clock as `rustls` asks for the time.
pub struct ClockTime(Arc<dyn Clock>);

impl ClockTime {
    /// By this clock.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self(clock)
    }
}

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Duration::from_secs(self.0.now().as_secs());
        Some(UnixTime::since_unix_epoch(now))
    }
}

impl fmt::Debug for ClockTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ClockTime").field(&self.0.now()).finish()
    }
}

/// What stands before a node's id in the URI name of its certificate. Who shows one is a machine that
/// lends its engine: it may dial a control plane's tunnel, and nothing else.
pub const NODE_URI: &str = "longshore://node/";

/// What a manager's certificate says beside its name as a node: it may call other managers'
/// endpoints.
pub const MANAGER_URI: &str = "longshore://manager/";

/// The URI name of a certificate for a person or a program that calls endpoints.
pub const CLIENT_URI: &str = "longshore://client/";

/// How PKCS #8 and the older form say that a key is encrypted.
const ENCRYPTED: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused<T>(result: Result<T>, expected: &str) {
        let error = result.err().expect("refused");
        assert_eq!(error.message(), expected);
    }

    #[test]
    fn a_text_without_the_thing_is_told_apart_from_a_broken_one() {
        refused(certificates(b""), "it holds no certificate in PEM form");
        refused(private_key(b"x"), "it holds no private key in PEM form");
        let cut = b"-----BEGIN CERTIFICATE-----\nAA";
        let error = certificates(cut).unwrap_err();
        assert!(error.message().starts_with("it is not valid PEM"));
    }

    #[test]
    fn an_encrypted_key_is_named_as_such() {
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
        ] {
            let error = private_key(text.as_bytes()).unwrap_err();
            assert!(error.message().starts_with("it is encrypted"));
        }
    }

    #[test]
    fn what_is_no_authority_is_numbered() {
        let text = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = roots(text).unwrap_err();
        assert!(error.message().starts_with("certificate 1 is no usable CA"));
    }
}
