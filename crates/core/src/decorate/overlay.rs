#![deny(clippy::missing_trait_methods)]

use async_trait::async_trait;

use crate::{
    AttachNetwork, Attachment, NetworkName, NetworkSpec, NetworkStatus, OverlayCapabilities,
    OverlayNetwork, Peer, Result, WorkloadId,
    decorate::{Decorated, Layer, Operation},
};

/// Everything is repeatable: the trait is idempotent.
#[async_trait]
impl<T: OverlayNetwork + ?Sized, L: Layer> OverlayNetwork for Decorated<T, L> {
    fn capabilities(&self) -> OverlayCapabilities {
        self.inner.capabilities()
    }

    async fn ensure(&self, spec: &NetworkSpec) -> Result<NetworkStatus> {
        let operation = Operation::repeatable("overlay.ensure").about(&spec.name);
        self.layer.call(operation, || self.inner.ensure(spec)).await
    }

    async fn attach(&self, request: &AttachNetwork) -> Result<Attachment> {
        let operation = Operation::repeatable("overlay.attach").about(&request.workload);
        self.layer
            .call(operation, || self.inner.attach(request))
            .await
    }

    async fn detach(&self, network: &NetworkName, workload: &WorkloadId) -> Result<()> {
        let operation = Operation::repeatable("overlay.detach").about(workload);
        self.layer
            .call(operation, || self.inner.detach(network, workload))
            .await
    }

    async fn sync_peers(&self, network: &NetworkName, peers: &[Peer]) -> Result<()> {
        let operation = Operation::repeatable("overlay.sync_peers").about(network);
        self.layer
            .call(operation, || self.inner.sync_peers(network, peers))
            .await
    }

    async fn remove(&self, network: &NetworkName) -> Result<()> {
        let operation = Operation::repeatable("overlay.remove").about(network);
        self.layer
            .call(operation, || self.inner.remove(network))
            .await
    }

    async fn status(&self, network: &NetworkName) -> Result<NetworkStatus> {
        let operation = Operation::repeatable("overlay.status").about(network);
        self.layer
            .call(operation, || self.inner.status(network))
            .await
    }

    async fn list(&self) -> Result<Vec<NetworkName>> {
        let operation = Operation::repeatable("overlay.list");
        self.layer.call(operation, || self.inner.list()).await
    }
}
