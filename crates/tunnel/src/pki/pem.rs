use longshore_core::{Error, Result};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

/// All certificates of a PEM text; at least one.
pub(super) fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| Error::invalid(format!("bad PEM: {error}")))?;
    if certificates.is_empty() {
        return Err(Error::invalid("it holds no certificate"));
    }
    Ok(certificates)
}

/// The private key of a PEM text. The text is never repeated in an error.
pub(super) fn private_key(text: &str) -> Result<PrivateKeyDer<'static>> {
    if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
        return Err(Error::invalid(
            "the private key is encrypted, decrypt it first",
        ));
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => Error::invalid("it holds no private key"),
        _ => Error::invalid("bad PEM in the private key"),
    })
}
