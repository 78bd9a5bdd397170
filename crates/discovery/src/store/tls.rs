use std::{fmt, io, path::Path, sync::Arc};

use longshore_core::{BoxByteStream, Error, ErrorKind, Result};
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
};
use tokio_rustls::TlsConnector;

mod refusal;

pub(crate) use refusal::Refusal;
#[cfg(feature = "zookeeper")]
pub(crate) use refusal::told;

/// TLS to a store: which authority is trusted, and who we are when the store asks.
///
/// TLS 1.2 and 1.3. The server's certificate must name the host that is dialled.
#[derive(Clone)]
pub struct StoreTls {
    config: Arc<ClientConfig>,
}

impl StoreTls {
    /// Trusts the certificates in this file, and shows none.
    ///
    /// # Errors
    /// The file can't be read or holds no certificate; it is named.
    pub fn from_authority(authority: impl AsRef<Path>) -> Result<Self> {
        let builder = builder(authority.as_ref())?;
        Ok(Self::new(builder.with_no_client_auth()))
    }

    /// Trusts the certificates in the first file, and shows the second with the key in the third:
    /// Swarm's `kv.cacertfile`, `kv.certfile` and `kv.keyfile`.
    ///
    /// # Errors
    /// A file can't be read or holds nothing usable, or the key does not belong to the certificate;
    /// it is named.
    pub fn from_files(
        authority: impl AsRef<Path>,
        certificate: impl AsRef<Path>,
        key: impl AsRef<Path>,
    ) -> Result<Self> {
        let (certificate, key) = (certificate.as_ref(), key.as_ref());
        let chain = certificates(certificate)?;
        let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| {
            let message = format!("{} holds no private key in PEM form", key.display());
            Error::invalid(message).with_source(error)
        })?;
        let config = builder(authority.as_ref())?
            .with_client_auth_cert(chain, private)
            .map_err(|error| {
                let message = format!(
                    "the key in {} does not belong to the certificate in {}",
                    key.display(),
                    certificate.display()
                );
                Error::invalid(message).with_source(error)
            })?;
        Ok(Self::new(config))
    }

    fn new(config: ClientConfig) -> Self {
        Self {
            config: Arc::new(config),
        }
    }

    /// Shakes hands over a connected stream.
    pub(super) async fn secure<S>(
        &self,
        stream: S,
        host: &str,
        refusal: &Refusal,
    ) -> Result<BoxByteStream>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Error::invalid(format!("{host:?} is no name that a certificate has")))?;
        match TlsConnector::from(self.config.clone())
            .connect(name, stream)
            .await
        {
            Ok(stream) => Ok(Box::new(refusal::Judged {
                stream: Box::new(stream),
                host: host.to_owned(),
                refusal: refusal.clone(),
                accepted: false,
            })),
            Err(error) => Err(explain(host, error)),
        }
    }
}

impl fmt::Debug for StoreTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreTls(…)")
    }
}

fn builder(
    authority: &Path,
) -> Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(authority)? {
        roots.add(certificate).map_err(|error| {
            let message = format!(
                "{} holds a certificate that is no authority",
                authority.display()
            );
            Error::invalid(message).with_source(error)
        })?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS is not available").with_source(error))?;
    Ok(builder.with_root_certificates(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(path)?).collect();
    let bad = || {
        Error::invalid(format!(
            "{} holds no certificate in PEM form",
            path.display()
        ))
    };
    match found {
        Ok(found) if found.is_empty() => Err(bad()),
        Ok(found) => Ok(found),
        Err(error) => Err(bad().with_source(error)),
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let message = format!("cannot read the TLS file {}", path.display());
        Error::new(ErrorKind::InvalidInput, message).with_source(error)
    })
}

/// What is wrong and what to do, for the failures that people meet.
fn explain(host: &str, error: io::Error) -> Error {
    let cause = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>());
    let text = match cause {
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired: renew it, or check this machine's clock".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: check both clocks".to_owned()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("its certificate does not name {host}: issue one that does")
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                "its certificate was not issued by the authority in kv.cacertfile".to_owned()
            }
            other => format!("its certificate was refused: {other}"),
        },
        Some(rustls::Error::AlertReceived(alert)) => {
            return refusal::refused(host, *alert).with_source(error);
        }
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        _ => return Error::io(format!("the store {host}: the TLS handshake broke"), error),
    };
    Error::new(
        ErrorKind::Unauthenticated,
        format!("the store {host}: {text}"),
    )
    .with_source(error)
}
