use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Error, ErrorKind, Result, UnixByteStream};
use tokio::net::UnixStream;

/// Connects to an engine on a unix socket of this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct UnixConnector {
    path: PathBuf,
}

impl UnixConnector {
    /// The socket's path, for example `/var/run/docker.sock`. It is looked at by each connect only.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
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
        let place = self.describe();
        let (kind, reason) = match error.kind() {
            io::ErrorKind::PermissionDenied => (
                ErrorKind::PermissionDenied,
                "permission denied; run as root or as a member of the socket's group",
            ),
            io::ErrorKind::NotFound => (
                ErrorKind::Unavailable,
                "there is no such socket; is the engine running?",
            ),
            io::ErrorKind::ConnectionRefused => (
                ErrorKind::Unavailable,
                "nobody listens on this socket; is the engine running?",
            ),
            io::ErrorKind::InvalidInput => (
                ErrorKind::InvalidInput,
                "the path is too long for a unix socket",
            ),
            _ => (ErrorKind::Unavailable, "connecting failed"),
        };
        Error::new(
            kind,
            format!("cannot connect to the engine at {place}: {reason}"),
        )
        .with_source(error)
    }
}

impl fmt::Debug for UnixConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixConnector({})", self.path.display())
    }
}
