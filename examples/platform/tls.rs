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
    let Some(files) = files else {
        return Ok(ConnectOptions::new());
    };
    let (cert, key) = (Path::new(&files.cert), Path::new(&files.key));
    let settings = match files.ca.as_deref().filter(|_| files.verify) {
        Some(ca) => TlsSettings::from_files(Path::new(ca), cert, key, clock)?,
        None => {
            let identity = TlsIdentity::from_files(cert, key)?;
            TlsSettings::dangerously_accept_any_server(Some(identity), clock)?
        }
    };
    Ok(ConnectOptions::new().with_tls(settings))
}

/// The transport of tunnels: always mutual TLS.
pub fn tunnel(files: &TlsFiles, clock: Arc<dyn Clock>) -> Result<TlsTransport, Failure> {
    let identity = pki::TlsIdentity::load(Path::new(&files.cert), Path::new(&files.key))?;
    let trust = pki::TlsTrust::load(Path::new(files.ca.as_deref().unwrap_or_default()))?;
    let transport = TlsTransport::new(&identity, &trust, clock)?;
    // For who dials: a node's certificate never stands for a control plane's, whatever its names.
    Ok(transport.with_expected_peer(ExpectedPeer::DialledManager)?)
}
