use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use longshore_core::{Error, ExecBackend, Result, WorkloadId};

use super::Place;

/// A container, and the way into it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Located {
    /// The engine's exec.
    pub backend: Arc<dyn ExecBackend>,
    /// The container there.
    pub workload: WorkloadId,
    /// The node, for records.
    pub node: Option<String>,
}

impl Located {
    /// A container of an engine.
    pub fn new(backend: Arc<dyn ExecBackend>, workload: WorkloadId) -> Self {
        Self {
            backend,
            workload,
            node: None,
        }
    }

    /// Adds the node.
    #[must_use]
    pub fn with_node(mut self, node: impl Into<String>) -> Self {
        self.node = Some(node.into());
        self
    }
}

/// Finds containers: over discovery, a scheduler, or a list.
#[async_trait]
pub trait Directory: Debug + Send + Sync + 'static {
    /// Where a place is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) when there is no such place.
    ///
    /// # Cancel safety
    /// Safe.
    async fn find(&self, place: &Place) -> Result<Located>;
}

/// A list of places.
#[derive(Clone, Debug, Default)]
pub struct StaticDirectory {
    places: BTreeMap<Place, Located>,
    every: Option<Arc<dyn ExecBackend>>,
}

impl StaticDirectory {
    /// An empty list.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a place.
    #[must_use]
    pub fn with(mut self, place: Place, located: Located) -> Self {
        self.places.insert(place, located);
        self
    }

    /// All containers of an engine, under their own names.
    #[must_use]
    pub fn with_engine(mut self, backend: Arc<dyn ExecBackend>) -> Self {
        self.every = Some(backend);
        self
    }
}

#[async_trait]
impl Directory for StaticDirectory {
    async fn find(&self, place: &Place) -> Result<Located> {
        if let Some(located) = self.places.get(place) {
            return Ok(located.clone());
        }
        if let (Place::Container(name), Some(backend)) = (place, &self.every) {
            return Ok(Located::new(
                Arc::clone(backend),
                WorkloadId::new(name.clone())?,
            ));
        }
        Err(Error::not_found(format!("no such container: {place}")))
    }
}
