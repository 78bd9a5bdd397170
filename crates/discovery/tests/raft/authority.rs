//! Certificates of managers, of a client and of a node.

use std::path::{Path, PathBuf};

use longshore_core::tls::{CLIENT_URI, MANAGER_URI, NODE_URI};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};

pub struct Authority {
    directory: PathBuf,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub fn new(directory: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(directory.join("ca.pem"), issuer.pem()).unwrap();
        Self {
            directory: directory.to_owned(),
            issuer,
        }
    }

    pub fn manager(&self, name: &str) -> [PathBuf; 3] {
        self.issue(name, &[NODE_URI, MANAGER_URI])
    }

    pub fn client(&self) -> [PathBuf; 3] {
        self.issue("client", &[CLIENT_URI])
    }

    pub fn node(&self) -> [PathBuf; 3] {
        self.issue("node", &[NODE_URI])
    }

    /// The authority, a certificate for 127.0.0.1 and its key.
    fn issue(&self, name: &str, roles: &[&str]) -> [PathBuf; 3] {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        for role in roles {
            let uri = format!("{role}{name}").try_into().unwrap();
            params.subject_alt_names.push(SanType::URI(uri));
        }
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let path = |end: &str| self.directory.join(format!("{name}.{end}"));
        std::fs::write(path("pem"), certificate.pem()).unwrap();
        std::fs::write(path("key"), key.serialize_pem()).unwrap();
        [self.directory.join("ca.pem"), path("pem"), path("key")]
    }
}
