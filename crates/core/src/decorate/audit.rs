#![deny(clippy::missing_trait_methods)]

use async_trait::async_trait;

use crate::{
    AuditEvent, AuditReceipt, AuditSink, Result,
    decorate::{Decorated, Layer, Operation},
};

#[async_trait]
impl<T: AuditSink + ?Sized, L: Layer> AuditSink for Decorated<T, L> {
    /// Never repeated: a record written twice is a false record.
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let operation = Operation::once("audit.record").about(&event.operation);
        self.layer
            .call(operation, || self.inner.record(event.clone()))
            .await
    }
}
