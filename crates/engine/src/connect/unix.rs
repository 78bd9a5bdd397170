use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Error, ErrorKind, Result, UnixByteStream};
use tokio::net::UnixStream;

use super::place::{ENGINE, Place};

/// Connects to an engine on a unix socket of this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct UnixConnector {
    path: PathBuf,
    peer: &'static str,
}

impl UnixConnector {
    /// The socket's path, for example `/var/run/docker.sock`. It is looked at by each connect only.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            peer: ENGINE,
        }
    }

    /// Says what listens there, for errors: `engine` unless told.
    #[must_use]
    pub fn with_peer(mut self, peer: &'static str) -> Self {
        self.peer = peer;
        self
    }

    /// The socket's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[async_trait]
impl Connector for UnixConnector {
    async fn connect(&self) -> Result<BoxByteStream> {
        let connected = UnixStream::connect(&self.path).await;
        match connected.and_then(UnixByteStream::new) {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => Err(self.explain(error)),
        }
    }

    fn describe(&self) -> String {
        format!("unix://{}", self.path.display())
    }
}

impl UnixConnector {
    fn explain(&self, error: io::Error) -> Error {
        let peer = self.peer;
        let place = Place {
            peer,
            address: self.describe(),
        };
        let running = |what: &str| format!("{what}; is the {peer} running?");
        let (kind, reason) = match error.kind() {
            io::ErrorKind::PermissionDenied => (
                ErrorKind::PermissionDenied,
                "permission denied; run as root or as a member of the socket's group".to_owned(),
            ),
            io::ErrorKind::NotFound => (ErrorKind::Unavailable, running("there is no such socket")),
            io::ErrorKind::ConnectionRefused => (
                ErrorKind::Unavailable,
                running("nobody listens on this socket"),
            ),
            io::ErrorKind::InvalidInput => (
                ErrorKind::InvalidInput,
                "the path is too long for a unix socket".to_owned(),
            ),
            _ => (ErrorKind::Unavailable, "connecting failed".to_owned()),
        };
        Error::new(kind, format!("cannot connect to {place}: {reason}")).with_source(error)
    }
}

impl fmt::Debug for UnixConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixConnector({})", self.path.display())
    }
}
