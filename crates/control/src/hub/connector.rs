use std::{fmt, sync::Arc};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, ErrorKind, NodeId, Result, StreamTarget};

use super::{
    Shared,
    standing::{Standing, engine_under},
};

/// Streams to a node's engine through its newest carrier.
pub(super) struct HubConnector {
    shared: Arc<Shared>,
    node: NodeId,
    standing: Standing,
}

impl HubConnector {
    pub(super) fn new(shared: Arc<Shared>, node: NodeId, standing: Standing) -> Self {
        Self {
            shared,
            node,
            standing,
        }
    }

    pub(super) async fn open(&self, target: &StreamTarget) -> Result<BoxByteStream> {
        let mut tried = None;
        loop {
            let found = self.shared.lock().carrier(&self.node);
            let Some((generation, carrier)) = found else {
                return Err(self.shared.not_connected(&self.node));
            };
            match carrier.open(target).await {
                Ok(stream) => return Ok(stream),
                // It ended under our hands: perhaps a newer one has taken its place.
                Err(error) if error.kind() == ErrorKind::Closed && tried != Some(generation) => {
                    tried = Some(generation);
                    self.shared.lock().end(
                        &self.node,
                        generation,
                        "its connection ended",
                        self.shared.clock.now(),
                    );
                    self.shared.changed();
                }
                Err(error) => return Err(error.with_context("node", &self.node)),
            }
        }
    }
}

#[async_trait]
impl Connector for HubConnector {
    async fn connect(&self) -> Result<BoxByteStream> {
        let mandate = self.standing.mandate();
        let stream = self.open(&engine_under(mandate)).await?;
        Ok(self.standing.hold(mandate, stream))
    }

    fn describe(&self) -> String {
        format!("tunnel://{}", self.node)
    }
}

impl fmt::Debug for HubConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HubConnector").field(&self.node).finish()
    }
}
