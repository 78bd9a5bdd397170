use std::{
    fmt,
    sync::{Arc, Weak},
};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Error, Result};

use super::{SimEngine, engine::Shared};

/// Streams to the API of a simulated engine, as good as its node: a node that is down refuses
/// them, a hanging one never answers.
pub(super) struct SimConnector {
    engine: Weak<SimEngine>,
    api: Arc<dyn Connector>,
    name: String,
}

impl SimConnector {
    pub(super) fn new(engine: Weak<SimEngine>, shared: &Shared) -> Self {
        let name = format!("sim://{}", shared.info().name);
        let (clock, random) = (Arc::clone(&shared.clock), Arc::clone(&shared.random));
        Self {
            api: crate::own_api::own_api(engine.clone(), clock, random, &name),
            engine,
            name,
        }
    }
}

#[async_trait]
impl Connector for SimConnector {
    async fn connect(&self) -> Result<BoxByteStream> {
        let engine = self
            .engine
            .upgrade()
            .ok_or_else(|| Error::unavailable("the simulated engine has gone"))?;
        engine.shared.gate().await?;
        self.api.connect().await
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

impl fmt::Debug for SimConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimConnector({})", self.name)
    }
}
