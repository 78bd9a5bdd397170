use std::{fmt, io};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Endpoint, Error, ErrorKind, ReadThrough, Result};
use tokio::net::TcpStream;

use super::{
    place::{ENGINE, Place},
    sniff::Sniff,
};

/// Connects to an engine over plain TCP: nothing is encrypted and nobody is authenticated. For
/// engines on loopback or inside a network that is protected otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct TcpConnector {
    endpoint: Endpoint,
    peer: &'static str,
}

impl TcpConnector {
    /// A connector to this address. Names are resolved by each connect.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            peer: ENGINE,
        }
    }

    /// Says what listens there, for errors: `engine` unless told.
    #[must_use]
    pub fn with_peer(mut self, peer: &'static str) -> Self {
        self.peer = peer;
        self
    }

    /// The address.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }
}

#[async_trait]
impl Connector for TcpConnector {
    async fn connect(&self) -> Result<BoxByteStream> {
        let place = Place {
            peer: self.peer,
            address: self.describe(),
        };
        let stream = dial(&self.endpoint, &place).await?;
        Ok(Box::new(ReadThrough::new(stream, Sniff::new(place))))
    }

    fn describe(&self) -> String {
        format!("tcp://{}", self.endpoint)
    }
}

/// Dials, without delaying small writes: requests and key strokes are small.
pub(super) async fn dial(endpoint: &Endpoint, place: &Place) -> Result<TcpStream> {
    let failed = |error: io::Error| {
        let refused = format!(
            "connection refused; is the {} running and listening on this port?",
            place.peer
        );
        let (kind, reason) = match error.kind() {
            io::ErrorKind::ConnectionRefused => (ErrorKind::Unavailable, &*refused),
            io::ErrorKind::TimedOut => (ErrorKind::Timeout, "the host does not answer"),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                (ErrorKind::Unavailable, "there is no route to the host")
            }
            _ if endpoint.ip().is_none() && error.raw_os_error().is_none() => {
                (ErrorKind::Unavailable, "the host name can't be resolved")
            }
            _ => (ErrorKind::Unavailable, "connecting failed"),
        };
        Error::new(kind, format!("cannot connect to {place}: {reason}")).with_source(error)
    };
    let stream = TcpStream::connect((endpoint.host(), endpoint.port()))
        .await
        .map_err(failed)?;
    stream.set_nodelay(true).map_err(failed)?;
    Ok(stream)
}

impl fmt::Debug for TcpConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpConnector({})", self.endpoint)
    }
}
