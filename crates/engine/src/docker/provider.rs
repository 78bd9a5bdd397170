use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::{Announcement, Clock, Connector, Engine, EngineProvider, Result};

use super::DockerEngine;
use crate::connect::{ConnectOptions, connect};

/// Makes a [`DockerEngine`] of each node: over TCP or TLS at its announced address, or over
/// streams that a tunnel gives.
#[derive(Clone, Debug)]
pub struct DockerProvider {
    clock: Arc<dyn Clock>,
    options: ConnectOptions,
}

impl DockerProvider {
    /// Plain TCP to announced addresses.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            options: ConnectOptions::new(),
        }
    }

    /// Changes how announced addresses are spoken to (TLS).
    #[must_use]
    pub fn with_options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// The engine at an address as people write it: `unix:///var/run/docker.sock`,
    /// `tcp://10.0.0.1:2375`.
    ///
    /// # Errors
    /// The address is malformed.
    pub fn engine_at_url(&self, url: &str) -> Result<Arc<dyn Engine>> {
        self.engine(connect(url, &self.options)?)
    }

    fn engine(&self, connector: Arc<dyn Connector>) -> Result<Arc<dyn Engine>> {
        let engine = DockerEngine::new(connector, Arc::clone(&self.clock))?;
        Ok(Arc::new(engine))
    }
}

#[async_trait]
impl EngineProvider for DockerProvider {
    async fn engine_at(&self, node: &Announcement) -> Result<Arc<dyn Engine>> {
        self.engine(self.options.tcp(node.endpoint.clone()))
    }

    async fn engine_over(&self, connector: Arc<dyn Connector>) -> Result<Arc<dyn Engine>> {
        self.engine(connector)
    }
}
