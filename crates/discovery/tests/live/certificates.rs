//! A small authority for servers that speak TLS.

use std::path::{Path, PathBuf};

use longshore_lab::StoreTlsFiles;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    date_time_ymd,
};

pub struct Pki {
    directory: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { directory, issuer }
    }

    pub fn authority(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A server's, for 127.0.0.1. etcd's gateway asks etcd with the same certificate, so it is a
    /// client's too.
    pub fn server(&self) -> StoreTlsFiles {
        let (certificate, key) = self.issue("server", VALID);
        StoreTlsFiles {
            authority: self.authority(),
            certificate,
            key,
        }
    }

    /// A certificate and its key, in files of this name.
    pub fn issue(&self, name: &str, ends: Year) -> (PathBuf, PathBuf) {
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(ends, 1, 1));
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let paths = (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        );
        let key = key.serialize_pem();
        std::fs::write(&paths.0, certificate.pem() + &key).unwrap();
        std::fs::write(&paths.1, key).unwrap();
        paths
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.directory.path()).join(name)
    }
}

type Year = i32;

/// In which a sound certificate ends, and in which one ended long ago.
pub const VALID: Year = 2100;
pub const ENDED: Year = 2021;
