use std::{fmt, fs, path::Path};

use longshore_core::{Error, Result, tls};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::explain::key_usages;

/// A certificate chain and its private key: who we are when an engine asks.
///
/// `Debug` shows neither.
pub struct TlsIdentity {
    pub(super) chain: Vec<CertificateDer<'static>>,
    pub(super) key: PrivateKeyDer<'static>,
}

impl TlsIdentity {
    /// From PEM texts: the certificate with its intermediates, and the key (PKCS #8, PKCS #1 or
    /// SEC 1, not encrypted).
    ///
    /// # Errors
    /// Nothing usable is in a text, the key is encrypted, or the certificate may not be used by a
    /// client. That key and certificate belong together is checked by [`TlsSettings`].
    ///
    /// [`TlsSettings`]: super::TlsSettings
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self> {
        Self::read(certificate, key, "the certificate", "the key")
    }

    /// From PEM files, as `--tlscert` and `--tlskey` name them.
    ///
    /// # Errors
    /// As for [`from_pem`](Self::from_pem), naming the file; and a file that can't be read.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self> {
        Self::read(
            &read_file(certificate)?,
            &read_file(key)?,
            &format!("the certificate file {}", certificate.display()),
            &format!("the key file {}", key.display()),
        )
    }

    fn read(certificate: &[u8], key: &[u8], certificate_is: &str, key_is: &str) -> Result<Self> {
        let chain = certificates(certificate, certificate_is)?;
        check_usage(&chain[0], certificate_is)?;
        let key = tls::private_key(key).map_err(|error| named(key_is, &error))?;
        Ok(Self { chain, key })
    }
}

impl Clone for TlsIdentity {
    fn clone(&self) -> Self {
        Self {
            chain: self.chain.clone(),
            key: self.key.clone_key(),
        }
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity(…)")
    }
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>> {
    fs::read(path)
        .map_err(|error| Error::io(format!("cannot read the file {}", path.display()), error))
}

/// All certificates of a PEM text, at least one.
pub(super) fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    tls::certificates(pem).map_err(|error| named(what, &error))
}

/// Says of what it is.
fn named(what: &str, error: &Error) -> Error {
    let message = error.message();
    let message = message.strip_prefix("it ").unwrap_or(message);
    Error::invalid(format!("{what} {message}"))
}

fn check_usage(certificate: &CertificateDer<'_>, what: &str) -> Result<()> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|error| {
        Error::invalid(format!("{what} is not a valid X.509 certificate"))
            .with_source(error.to_string())
    })?;
    let Ok(Some(usage)) = parsed.extended_key_usage() else {
        return Ok(());
    };
    if usage.value.client_auth || usage.value.any {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "{what} lacks the extended key usage clientAuth (it has {}): engines will refuse it. Issue \
         one with extendedKeyUsage = clientAuth",
        key_usages(&parsed)
    )))
}
