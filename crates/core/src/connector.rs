use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;

use crate::{Announcement, BoxByteStream, Engine, Result};

/// Opens byte streams to one engine's own API (Docker's HTTP API), whatever lies between: a unix
/// socket, TCP, mutual TLS, a tunnel, or a pipe to an engine in the same process.
///
/// Rules held by the conformance suite: every call gives a fresh, independent stream; half-close
/// works in both directions; closing one stream leaves the others alone; after a failure the next
/// call tries again.
#[async_trait]
pub trait Connector: Debug + Send + Sync + 'static {
    /// Opens a stream.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) when the engine can't be reached;
    /// TLS failures say what is wrong with which certificate.
    ///
    /// # Cancel safety
    /// Dropping the future closes a stream that was being opened.
    async fn connect(&self) -> Result<BoxByteStream>;

    /// Where it leads, for people: `unix:///var/run/docker.sock`, `tcp://10.0.0.1:2375`,
    /// `tunnel://node-3`. Holds no secret.
    fn describe(&self) -> String;
}

/// Makes engines out of addresses and streams: how a control plane, which knows no engine,
/// gets one for each node that joins.
#[async_trait]
pub trait EngineProvider: Debug + Send + Sync + 'static {
    /// The engine of a node that was announced by a discovery backend.
    ///
    /// # Errors
    /// The announcement can't be turned into an engine (an unknown scheme, missing TLS files). An
    /// engine that does not answer is no error here: the first call finds out.
    async fn engine_at(&self, node: &Announcement) -> Result<Arc<dyn Engine>>;

    /// The engine behind these streams, for nodes that dialled in through a tunnel.
    ///
    /// # Errors
    /// The engine's client can't be built over such streams.
    async fn engine_over(&self, connector: Arc<dyn Connector>) -> Result<Arc<dyn Engine>>;
}
