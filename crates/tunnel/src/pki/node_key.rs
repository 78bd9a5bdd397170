use std::fmt;

use longshore_core::{Error, NodeId, Result};
use rcgen::{CertificateParams, DnType, KeyPair};

use super::{TlsIdentity, authority::internal};

/// A private key that waits for its certificate: made on the node, and it stays there. `Debug`
/// never shows it.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// A new key (ECDSA on P-256).
    ///
    /// # Errors
    /// The machine has no randomness to give.
    pub fn generate() -> Result<Self> {
        KeyPair::generate()
            .map(Self)
            .map_err(|error| internal("cannot make a key", error))
    }

    /// A key kept from an earlier run, in PEM.
    ///
    /// # Errors
    /// It can't be read. The text is not repeated.
    pub fn from_pem(text: &str) -> Result<Self> {
        KeyPair::from_pem(text)
            .map(Self)
            .map_err(|_| Error::invalid("the private key can't be read"))
    }

    /// The key in PEM. A secret: not for logs, arguments or errors.
    pub fn to_pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// A certificate signing request in PEM. What it asks for is a wish: the authority decides
    /// what the certificate says.
    ///
    /// # Errors
    /// The request can't be signed.
    pub fn request(&self, node: &NodeId) -> Result<String> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, super::authority::common_name(node));
        params
            .serialize_request(&self.0)
            .and_then(|request| request.pem())
            .map_err(|error| internal("cannot sign the request", error))
    }

    /// Joins the key with the certificate chain that the authority gave, in PEM.
    ///
    /// # Errors
    /// The certificate is for another key, or can't be read.
    pub fn into_identity(self, chain: &str) -> Result<TlsIdentity> {
        TlsIdentity::from_pem(chain, &self.to_pem())
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeKey").finish_non_exhaustive()
    }
}
