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
