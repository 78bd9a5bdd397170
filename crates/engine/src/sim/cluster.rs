use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use longshore_core::{
    Announcement, Clock, Connector, Engine, EngineProvider, Error, NodeName, Result,
};

use super::{SimEngine, SimOptions};

/// Many simulated engines, found by name.
///
/// As an [`EngineProvider`] it gives a control plane the engine of a node by the announcement's
/// name, or by the host of its endpoint.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> longshore_core::Result<()> {
/// use std::sync::Arc;
/// use longshore_core::{Engine, SystemClock, WorkloadSpec};
/// use longshore_engine::{SimCluster, SimOptions};
///
/// let clock = Arc::new(SystemClock::new());
/// let cluster = SimCluster::new(100, 42, clock, |index| {
///     let zone = if index % 2 == 0 { "a" } else { "b" };
///     SimOptions::default().with_label("zone", zone)
/// })?;
/// let engine = cluster.engine("sim-007").expect("one of a hundred");
/// let id = engine.create(&WorkloadSpec::new("nginx")).await?;
/// engine.start(&id).await?;
/// engine.crash();
/// assert!(engine.ping().await.unwrap_err().is_retryable());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct SimCluster {
    engines: Vec<Arc<SimEngine>>,
    by_name: HashMap<NodeName, usize>,
}

impl SimCluster {
    /// So many engines, named `sim-000`, `sim-001` and so on. Each gets its options by its number,
    /// and a seed of its own made from `seed`.
    ///
    /// # Errors
    /// None with options whose ids are unset or all different.
    pub fn new(
        count: usize,
        seed: u64,
        clock: Arc<dyn Clock>,
        mut options: impl FnMut(usize) -> SimOptions,
    ) -> Result<Self> {
        let mut engines = Vec::with_capacity(count);
        let mut by_name = HashMap::with_capacity(count);
        for index in 0..count {
            let name = NodeName::new(format!("sim-{index:03}"))?;
            // Far apart, so that neighbours have nothing in common.
            let own_seed = (seed ^ index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let clock = Arc::clone(&clock);
            let engine = SimEngine::new(name.clone(), options(index), clock, own_seed)?;
            by_name.insert(name, index);
            engines.push(engine);
        }
        Ok(Self { engines, by_name })
    }

    /// All engines in the order of their numbers.
    pub fn engines(&self) -> &[Arc<SimEngine>] {
        &self.engines
    }

    /// The engine of a node.
    pub fn engine(&self, name: &str) -> Option<&Arc<SimEngine>> {
        self.engines.get(*self.by_name.get(name)?)
    }
}

#[async_trait]
impl EngineProvider for SimCluster {
    async fn engine_at(&self, node: &Announcement) -> Result<Arc<dyn Engine>> {
        let by_name = node
            .name
            .as_ref()
            .and_then(|name| self.engine(name.as_str()));
        let engine = by_name.or_else(|| self.engine(node.endpoint.host()));
        engine
            .map(|engine| Arc::clone(engine) as Arc<dyn Engine>)
            .ok_or_else(|| unknown(&node.endpoint))
    }

    /// By what the connector says of itself: `…://<name>`.
    async fn engine_over(&self, connector: Arc<dyn Connector>) -> Result<Arc<dyn Engine>> {
        let text = connector.describe();
        let name = text.rsplit("://").next().unwrap_or_default();
        self.engine(name)
            .map(|engine| Arc::clone(engine) as Arc<dyn Engine>)
            .ok_or_else(|| unknown(&text))
    }
}

fn unknown(what: &dyn std::fmt::Display) -> Error {
    Error::not_found(format!("no simulated engine is called {what}"))
}
