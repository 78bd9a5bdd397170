#![deny(clippy::missing_trait_methods)]

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Expect, KvCapabilities, KvEntry, KvRange, KvStore, KvWatch, Lease, LeaseId, PutOptions, Result,
    Revision, TransactionOp,
    decorate::{Decorated, Layer, Operation},
};

/// Writes are never repeated: between two tries somebody else may have written, and a condition
/// that held for the first fails for the second.
#[async_trait]
impl<T: KvStore + ?Sized, L: Layer> KvStore for Decorated<T, L> {
    fn capabilities(&self) -> KvCapabilities {
        self.inner.capabilities()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        let operation = Operation::repeatable("kv.get").about(&key);
        self.layer.call(operation, || self.inner.get(key)).await
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        let operation = Operation::once("kv.put").about(&key);
        self.layer
            .call(operation, || self.inner.put(key, value.clone(), options))
            .await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        let operation = Operation::once("kv.delete").about(&key);
        self.layer
            .call(operation, || self.inner.delete(key, expect))
            .await
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        let operation = Operation::repeatable("kv.range").about(&prefix);
        self.layer
            .call(operation, || self.inner.range(prefix, after, limit))
            .await
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        let operation = Operation::once("kv.transact");
        self.layer
            .call(operation, || self.inner.transact(steps.clone()))
            .await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        let operation = Operation::once("kv.grant");
        self.layer.call(operation, || self.inner.grant(ttl)).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        let operation = Operation::repeatable("kv.keep_alive").about(&lease.0);
        self.layer
            .call(operation, || self.inner.keep_alive(lease))
            .await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        let operation = Operation::repeatable("kv.revoke").about(&lease.0);
        self.layer
            .call(operation, || self.inner.revoke(lease))
            .await
    }

    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        self.inner.watch(prefix, from)
    }
}
