use std::sync::Arc;

use async_trait::async_trait;

use crate::{BoxByteStream, Carrier, Connector, Result, StreamTarget};

/// Reaches the engine at the other end of a carrier: each connection is a stream of its own.
///
/// It leads there as long as the carrier lives, and to nobody afterwards: whoever wants the node when
/// it dials in again takes its next carrier.
#[derive(Clone, Debug)]
pub struct CarrierConnector(Arc<dyn Carrier>);

impl CarrierConnector {
    /// Through this carrier.
    pub fn new(carrier: Arc<dyn Carrier>) -> Self {
        Self(carrier)
    }
}

#[async_trait]
impl Connector for CarrierConnector {
    async fn connect(&self) -> Result<BoxByteStream> {
        self.0.open(&StreamTarget::Engine).await
    }

    fn describe(&self) -> String {
        format!("tunnel://{}", self.0.peer().node)
    }
}
