use std::{fmt, path::Path, sync::Arc};

use longshore_core::{BoxByteStream, Error, ErrorKind, ReadThrough, Result, tls};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio_rustls::TlsConnector;

use crate::tls_failure;

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
        let chain = tls::certificates(&read(certificate)?);
        let chain = chain.map_err(|error| of(certificate, &error))?;
        let private = tls::private_key(&read(key)?).map_err(|error| of(key, &error))?;
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
            Ok(stream) => {
                let rule = refusal::Judged {
                    host: host.to_owned(),
                    refusal: refusal.clone(),
                    accepted: false,
                };
                Ok(Box::new(ReadThrough::new(stream, rule)))
            }
            Err(error) => Err(tls_failure::explain("store", "kv", host, error)),
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
    let roots = tls::roots(&read(authority)?).map_err(|error| of(authority, &error))?;
    let builder = ClientConfig::builder_with_provider(tls::provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS is not available").with_source(error))?;
    Ok(builder.with_root_certificates(roots))
}

/// What is wrong with a file, which is named.
fn of(path: &Path, error: &Error) -> Error {
    Error::invalid(format!(
        "the TLS file {}: {}",
        path.display(),
        error.message()
    ))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        let message = format!("cannot read the TLS file {}", path.display());
        Error::new(ErrorKind::InvalidInput, message).with_source(error)
    })
}
