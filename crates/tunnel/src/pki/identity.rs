use std::{fmt, path::Path, sync::Arc};

use longshore_core::{
    Error, ErrorKind, NodeId, Result, Timestamp,
    tls::{self, provider},
};
use rustls::{
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use super::{files, name};

/// A certificate chain and its private key: what one side shows. `Debug` never shows the key.
#[derive(Clone)]
pub struct TlsIdentity(Arc<Inner>);

struct Inner {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    chain_pem: String,
    key_pem: String,
    starts: Timestamp,
    expires: Timestamp,
}

impl TlsIdentity {
    /// From a certificate chain, the end entity first, and its private key, both in PEM.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when one of them can't be read, the key is encrypted, or the two
    /// do not belong together.
    pub fn from_pem(chain: &str, key: &str) -> Result<Self> {
        let certificates = tls::certificates(chain.as_bytes())?;
        let private_key = tls::private_key(key.as_bytes())?;
        CertifiedKey::from_der(certificates.clone(), private_key.clone_key(), &provider())
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => {
                    Error::invalid("the private key does not belong to the certificate")
                }
                other => Error::invalid(format!("the pair can't be used: {other}")),
            })?;
        let (starts, expires) = name::validity(&certificates[0])?;
        Ok(Self(Arc::new(Inner {
            chain: certificates,
            key: private_key,
            chain_pem: chain.to_owned(),
            key_pem: key.to_owned(),
            starts,
            expires,
        })))
    }

    /// From files. Blocks the thread.
    ///
    /// # Errors
    /// `Couldn't load X509 key pair (<cert>, <key>): …. Key encrypted?`, in the words of classic
    /// Swarm.
    pub fn load(chain: &Path, key: &Path) -> Result<Self> {
        let load = || Self::from_pem(&files::read_file(chain)?, &files::read_file(key)?);
        load().map_err(|error| {
            let message = format!(
                "Couldn't load X509 key pair ({}, {}): {}. Key encrypted?",
                chain.display(),
                key.display(),
                error.message()
            );
            Error::new(error.kind(), message).with_source(error)
        })
    }

    /// Writes both files, readable by their owner only. Blocks the thread.
    ///
    /// # Errors
    /// A file can't be written.
    pub fn save(&self, chain: &Path, key: &Path) -> Result<()> {
        // The key first: a certificate without its key is useless, and seen as such.
        files::write_private_file(key, self.0.key_pem.as_bytes())?;
        files::write_private_file(chain, self.0.chain_pem.as_bytes())
    }

    /// The node that the certificate is for.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] when it names none.
    pub fn node(&self) -> Result<NodeId> {
        name::node_of(&self.0.chain[0]).map_err(|error| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("this side's certificate can't be used: {}", error.message()),
            )
        })
    }

    /// Whether it can listen for nodes: [`Role::Manager`](super::Role::Manager). Who dials with
    /// [`ExpectedPeer::DialledManager`](crate::ExpectedPeer::DialledManager) takes nothing else for
    /// a control plane.
    pub fn is_manager(&self) -> bool {
        let certificate = &self.0.chain[0];
        name::node_of(certificate)
            .and_then(|node| name::is_manager(certificate, &node))
            .unwrap_or(false)
    }

    /// From when on the certificate is valid.
    pub fn starts(&self) -> Timestamp {
        self.0.starts
    }

    /// Until when the certificate is valid.
    pub fn expires(&self) -> Timestamp {
        self.0.expires
    }

    /// The certificate chain in PEM. Not a secret.
    pub fn chain_pem(&self) -> &str {
        &self.0.chain_pem
    }

    /// The private key in PEM. A secret: not for logs, arguments or errors.
    pub fn key_pem(&self) -> &str {
        &self.0.key_pem
    }

    pub(crate) fn parts(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        (self.0.chain.clone(), self.0.key.clone_key())
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsIdentity")
            .field("node", &name::node_of(&self.0.chain[0]).ok())
            .field("expires", &self.0.expires)
            .finish_non_exhaustive()
    }
}
