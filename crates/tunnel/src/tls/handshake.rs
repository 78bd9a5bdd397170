use std::sync::Arc;

use longshore_core::{
    ByteStream, Carrier, Clock, Error, ErrorKind, PeerIdentity, Result, Timestamp,
};
use rustls::pki_types::CertificateDer;

use super::{TlsOptions, config::ALPN, explain};
use crate::{carrier::MuxCarrier, mux::Side, pki};

/// A finished TLS handshake; the hello is still to come.
pub(super) struct Done {
    pub(super) peer: PeerIdentity,
    /// By when the hello must be done too.
    pub(super) deadline: Timestamp,
    pub(super) side: Side,
}

impl Done {
    pub(super) async fn into_carrier(
        self,
        stream: impl ByteStream,
        options: &TlsOptions,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<dyn Carrier>> {
        let left = self.deadline.since(clock.now());
        let mux = options
            .mux
            .with_hello_timeout(options.mux.hello_timeout.min(left));
        let clock = Arc::clone(clock);
        let explain = explain::explain;
        let carrier =
            MuxCarrier::establish_explained(stream, self.side, self.peer, mux, clock, explain)
                .await?;
        Ok(Arc::new(carrier))
    }
}

/// Who the peer has proved to be.
pub(super) fn peer(
    alpn: Option<&[u8]>,
    certificates: Option<&[CertificateDer<'_>]>,
) -> Result<PeerIdentity> {
    if alpn != Some(ALPN) {
        return Err(Error::protocol(explain::NOT_LONGSHORE));
    }
    let certificate = certificates
        .and_then(<[_]>::first)
        .ok_or_else(|| Error::new(ErrorKind::Unauthenticated, "the peer showed no certificate"))?;
    let node = pki::node_of(certificate).map_err(|error| {
        Error::new(
            ErrorKind::Unauthenticated,
            format!("the peer's certificate can't be used: {}", error.message()),
        )
    })?;
    Ok(PeerIdentity::new(node))
}
