#![deny(clippy::missing_trait_methods)]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Connector, Engine, EngineEvents, EngineInfo, ExitStatus, Image, ListFilter, LogOptions,
    LogStream, PullOptions, PullStream, RemoveOptions, Result, Signal, Stats, Timestamp, Workload,
    WorkloadId, WorkloadName, WorkloadSpec,
    decorate::{Decorated, Layer, Operation},
};

#[async_trait]
impl<T: Engine + ?Sized, L: Layer> Engine for Decorated<T, L> {
    /// The inner engine's own: its byte streams are not decorated.
    fn connector(&self) -> Arc<dyn Connector> {
        self.inner.connector()
    }

    async fn info(&self) -> Result<EngineInfo> {
        self.layer
            .call(Operation::repeatable("engine.info"), || self.inner.info())
            .await
    }

    async fn ping(&self) -> Result<()> {
        self.layer
            .call(Operation::repeatable("engine.ping"), || self.inner.ping())
            .await
    }

    /// Never repeated: a lost answer would leave a second workload behind.
    async fn create(&self, spec: &WorkloadSpec) -> Result<WorkloadId> {
        let operation = Operation::once("engine.create").about(&spec.image);
        self.layer.call(operation, || self.inner.create(spec)).await
    }

    async fn start(&self, id: &WorkloadId) -> Result<()> {
        let operation = Operation::repeatable("engine.start").about(id);
        self.layer.call(operation, || self.inner.start(id)).await
    }

    async fn stop(&self, id: &WorkloadId, grace: Duration) -> Result<()> {
        let operation = Operation::repeatable("engine.stop")
            .about(id)
            .with_allowance(grace);
        self.layer
            .call(operation, || self.inner.stop(id, grace))
            .await
    }

    /// Never repeated: a signal sent twice may mean something else.
    async fn kill(&self, id: &WorkloadId, signal: Signal) -> Result<()> {
        let operation = Operation::once("engine.kill").about(id);
        self.layer
            .call(operation, || self.inner.kill(id, signal))
            .await
    }

    /// Never repeated: the second call would answer that the workload does not exist.
    async fn remove(&self, id: &WorkloadId, options: RemoveOptions) -> Result<()> {
        let operation = Operation::once("engine.remove").about(id);
        self.layer
            .call(operation, || self.inner.remove(id, options))
            .await
    }

    /// Never repeated: the second call would find the name taken by the first.
    async fn rename(&self, id: &WorkloadId, name: &WorkloadName) -> Result<()> {
        let operation = Operation::once("engine.rename").about(id);
        self.layer
            .call(operation, || self.inner.rename(id, name))
            .await
    }

    async fn inspect(&self, id: &WorkloadId) -> Result<Workload> {
        let operation = Operation::repeatable("engine.inspect").about(id);
        self.layer.call(operation, || self.inner.inspect(id)).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<Workload>> {
        self.layer
            .call(Operation::repeatable("engine.list"), || {
                self.inner.list(filter)
            })
            .await
    }

    async fn wait(&self, id: &WorkloadId) -> Result<ExitStatus> {
        let operation = Operation::repeatable("engine.wait").about(id).unbounded();
        self.layer.call(operation, || self.inner.wait(id)).await
    }

    async fn logs(&self, id: &WorkloadId, options: &LogOptions) -> Result<LogStream> {
        let operation = Operation::repeatable("engine.logs").about(id);
        self.layer
            .call(operation, || self.inner.logs(id, options))
            .await
    }

    async fn stats(&self, id: &WorkloadId) -> Result<Stats> {
        let operation = Operation::repeatable("engine.stats").about(id);
        self.layer.call(operation, || self.inner.stats(id)).await
    }

    async fn events(&self, since: Option<Timestamp>) -> Result<EngineEvents> {
        self.layer
            .call(Operation::repeatable("engine.events"), || {
                self.inner.events(since)
            })
            .await
    }

    async fn pull(&self, image: &str, options: &PullOptions) -> Result<PullStream> {
        let operation = Operation::repeatable("engine.pull").about(&image);
        self.layer
            .call(operation, || self.inner.pull(image, options))
            .await
    }

    async fn images(&self) -> Result<Vec<Image>> {
        self.layer
            .call(Operation::repeatable("engine.images"), || {
                self.inner.images()
            })
            .await
    }
}
