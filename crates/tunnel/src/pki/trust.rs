use std::{fmt, path::Path, sync::Arc};

use longshore_core::{Error, Result, tls};
use rustls::RootCertStore;

use super::files;

/// The CAs whose certificates are believed. At least one.
#[derive(Clone)]
pub struct TlsTrust(Arc<RootCertStore>);

impl TlsTrust {
    /// From CA certificates in PEM; one after another during a rotation.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) when there is none, or
    /// one that can't be read: an empty CA file would refuse every peer and not say why.
    pub fn from_pem(text: &str) -> Result<Self> {
        Ok(Self(Arc::new(tls::roots(text.as_bytes())?)))
    }

    /// From a file. Blocks the thread.
    ///
    /// # Errors
    /// `Couldn't read CA certificate: …`, in the words of classic Swarm.
    pub fn load(path: &Path) -> Result<Self> {
        files::read_file(path)
            .and_then(|text| {
                Self::from_pem(&text).map_err(|error| {
                    Error::new(
                        error.kind(),
                        format!("{}: {}", path.display(), error.message()),
                    )
                })
            })
            .map_err(|error| {
                Error::new(
                    error.kind(),
                    format!("Couldn't read CA certificate: {}", error.message()),
                )
                .with_source(error)
            })
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for TlsTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTrust")
            .field("authorities", &self.0.len())
            .finish()
    }
}
