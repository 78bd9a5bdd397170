#![deny(clippy::missing_trait_methods)]

use std::time::Duration;

use async_trait::async_trait;

use crate::{
    Announcement, Discovery, DiscoveryCapabilities, Membership, MembershipStream, Registration,
    Result,
    decorate::{Decorated, Layer, Operation},
};

#[async_trait]
impl<T: Discovery + ?Sized, L: Layer> Discovery for Decorated<T, L> {
    fn capabilities(&self) -> DiscoveryCapabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    /// Repeatable: registering the same endpoint again replaces the entry.
    async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration> {
        let operation = Operation::repeatable("discovery.register").about(&node.endpoint);
        self.layer
            .call(operation, || self.inner.register(node, ttl))
            .await
    }

    async fn renew(&self, registration: &Registration) -> Result<Registration> {
        let endpoint = &registration.announcement.endpoint;
        let operation = Operation::repeatable("discovery.renew").about(endpoint);
        self.layer
            .call(operation, || self.inner.renew(registration))
            .await
    }

    /// Repeatable: taking a registration back twice is no error.
    async fn deregister(&self, registration: &Registration) -> Result<()> {
        let endpoint = &registration.announcement.endpoint;
        let operation = Operation::repeatable("discovery.deregister").about(endpoint);
        self.layer
            .call(operation, || self.inner.deregister(registration))
            .await
    }

    async fn list(&self) -> Result<Membership> {
        let operation = Operation::repeatable("discovery.list");
        self.layer.call(operation, || self.inner.list()).await
    }

    fn watch(&self) -> MembershipStream {
        self.inner.watch()
    }
}
