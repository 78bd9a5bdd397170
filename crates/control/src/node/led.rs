use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Connector, Engine, EngineEvents, EngineInfo, ExitStatus, Image, ListFilter, LogOptions,
    LogStream, PullOptions, PullStream, RemoveOptions, Result, Signal, Stats, Timestamp, Workload,
    WorkloadId, WorkloadName, WorkloadSpec,
};

use crate::plane::Leadership;

/// A node's engine as one of several managers has it: everybody looks, the one that leads acts.
///
/// Whether this manager leads is asked before each call that changes something. Behind a tunnel the
/// two ways are two kinds of stream, and the node asks too: by the token that a stream to act carries.
#[derive(Debug)]
pub(crate) struct LedEngine {
    look: Arc<dyn Engine>,
    act: Arc<dyn Engine>,
    leadership: Leadership,
}

impl LedEngine {
    pub(crate) fn new(look: Arc<dyn Engine>, act: Arc<dyn Engine>, leadership: Leadership) -> Self {
        Self {
            look,
            act,
            leadership,
        }
    }

    fn act(&self) -> Result<&dyn Engine> {
        self.leadership.token()?;
        Ok(&*self.act)
    }
}

#[async_trait]
impl Engine for LedEngine {
    /// For requests of any kind; whoever changes something through it asks before.
    fn connector(&self) -> Arc<dyn Connector> {
        self.act.connector()
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.look.info().await
    }

    async fn ping(&self) -> Result<()> {
        self.look.ping().await
    }

    async fn create(&self, spec: &WorkloadSpec) -> Result<WorkloadId> {
        self.act()?.create(spec).await
    }

    async fn start(&self, id: &WorkloadId) -> Result<()> {
        self.act()?.start(id).await
    }

    async fn stop(&self, id: &WorkloadId, grace: Duration) -> Result<()> {
        self.act()?.stop(id, grace).await
    }

    async fn kill(&self, id: &WorkloadId, signal: Signal) -> Result<()> {
        self.act()?.kill(id, signal).await
    }

    async fn remove(&self, id: &WorkloadId, options: RemoveOptions) -> Result<()> {
        self.act()?.remove(id, options).await
    }

    async fn rename(&self, id: &WorkloadId, name: &WorkloadName) -> Result<()> {
        self.act()?.rename(id, name).await
    }

    async fn inspect(&self, id: &WorkloadId) -> Result<Workload> {
        self.look.inspect(id).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Workload>> {
        self.look.list(filter).await
    }

    async fn wait(&self, id: &WorkloadId) -> Result<ExitStatus> {
        self.look.wait(id).await
    }

    async fn logs(&self, id: &WorkloadId, options: &LogOptions) -> Result<LogStream> {
        self.look.logs(id, options).await
    }

    async fn stats(&self, id: &WorkloadId) -> Result<Stats> {
        self.look.stats(id).await
    }

    async fn events(&self, since: Option<Timestamp>) -> Result<EngineEvents> {
        self.look.events(since).await
    }

    async fn pull(&self, image: &str, options: &PullOptions) -> Result<PullStream> {
        self.act()?.pull(image, options).await
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.look.images().await
    }
}
