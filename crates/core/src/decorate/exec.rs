#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    AttachRequest, Cleanup, ExecBackend, ExecRequest, ExecSession, Result,
    decorate::{Decorated, Layer, Operation},
};

/// Sessions pass through as they are: their bytes and their end belong to the backend.
#[async_trait]
impl<T: ExecBackend + ?Sized, L: Layer> ExecBackend for Decorated<T, L> {
    /// Never repeated: a command may have begun to work.
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        let operation = Operation::once("exec.exec").about(&request.workload);
        self.layer
            .call(operation, || self.inner.exec(request))
            .await
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        let operation = Operation::repeatable("exec.attach").about(&request.workload);
        self.layer
            .call(operation, || self.inner.attach(request))
            .await
    }

    fn default_cleanup(&self) -> Option<Cleanup> {
        self.inner.default_cleanup()
    }
}
