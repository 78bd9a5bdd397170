//! TLS files from flags, as the crates take them.

use std::{path::Path, sync::Arc};

use longshore::{
    Clock,
    engine::{ConnectOptions, TlsIdentity, TlsSettings},
    tunnel::{ExpectedPeer, TlsTransport, pki},
};

use crate::{Failure, check::TlsFiles};

/// How endpoints and engines are dialled.
pub fn client(files: Option<&TlsFiles>, clock: Arc<dyn Clock>) -> Result<ConnectOptions, Failure> {
    Ok(match files {
        None => ConnectOptions::new(),
        Some(files) => ConnectOptions::new().with_tls(settings(files, clock)?),
    })
}

/// Whom to trust and who we are, when something is dialled.
pub fn settings(files: &TlsFiles, clock: Arc<dyn Clock>) -> longshore::Result<TlsSettings> {
    // For its errors, which are those of the other uses of the pair and name both files.
    identity(files)?;
    let (cert, key) = (Path::new(&files.cert), Path::new(&files.key));
    match files.ca.as_deref().filter(|_| files.verify) {
        Some(ca) => {
            pki::TlsTrust::load(Path::new(ca))?;
            TlsSettings::from_files(Path::new(ca), cert, key, clock)
        }
        None => {
            let identity = TlsIdentity::from_files(cert, key)?;
            TlsSettings::dangerously_accept_any_server(Some(identity), clock)
        }
    }
}

/// The transport that agents dial. They take nobody but a manager for their control plane, so another
/// certificate would serve nobody.
pub fn serving_tunnel(files: &TlsFiles, clock: Arc<dyn Clock>) -> longshore::Result<TlsTransport> {
    if !identity(files)?.is_manager() {
        return Err(longshore::Error::invalid(format!(
            "{}: no manager's certificate, and agents refuse every other: issue one with 'platform \
             cert issue --role manager --san HOST'",
            files.cert
        )));
    }
    tunnel(files, clock)
}

/// The transport of tunnels: always mutual TLS.
pub fn tunnel(files: &TlsFiles, clock: Arc<dyn Clock>) -> longshore::Result<TlsTransport> {
    let transport = TlsTransport::new(&identity(files)?, &trust(files)?, clock)?;
    // For who dials: a node's certificate never stands for a control plane's, whatever its names.
    transport.with_expected_peer(ExpectedPeer::DialledManager)
}

/// Reads the files of a tunnel again, for connections made from now on.
pub fn renew_tunnel(transport: &TlsTransport, files: &TlsFiles) -> longshore::Result<()> {
    transport.replace_certificates(&identity(files)?, &trust(files)?)
}

fn identity(files: &TlsFiles) -> longshore::Result<pki::TlsIdentity> {
    pki::TlsIdentity::load(Path::new(&files.cert), Path::new(&files.key))
}

fn trust(files: &TlsFiles) -> longshore::Result<pki::TlsTrust> {
    pki::TlsTrust::load(Path::new(files.ca.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use longshore::core::{NodeId, OsRandom, SystemClock};
    use pki::{Authority, Profile, Role};

    use super::*;

    #[test]
    fn only_a_managers_certificate_serves_tunnels() {
        let clock = Arc::new(SystemClock::new());
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let authority = Authority::generate("test", clock.now(), &OsRandom).unwrap();
        std::fs::write(path("ca"), authority.certificate_pem()).unwrap();
        for (role, serves) in [
            (Role::Manager, true),
            (Role::Node, false),
            (Role::Client, false),
        ] {
            let profile = Profile::new(NodeId::new("x").unwrap()).with_role(role);
            let identity = authority.issue(&profile, clock.now(), &OsRandom).unwrap();
            let files = TlsFiles {
                ca: Some(path("ca")),
                cert: path("cert"),
                key: path("key"),
                verify: true,
            };
            identity
                .save(Path::new(&files.cert), Path::new(&files.key))
                .unwrap();
            match serving_tunnel(&files, clock.clone()) {
                Ok(_) => assert!(serves, "{role:?}"),
                Err(error) => {
                    assert!(!serves, "{role:?}: {error}");
                    assert!(error.message().contains("--role manager"), "{error}");
                }
            }
        }
    }
}
