#![deny(clippy::missing_trait_methods)]

use async_trait::async_trait;

use crate::{
    Access, Action, Authorizer, Identity, Result, Target,
    decorate::{Decorated, Layer, Operation},
};

#[async_trait]
impl<T: Authorizer + ?Sized, L: Layer> Authorizer for Decorated<T, L> {
    async fn authorize(&self, who: &Identity, action: Action, target: &Target) -> Result<Access> {
        let operation = Operation::repeatable("access.authorize").about(&who.subject);
        self.layer
            .call(operation, || self.inner.authorize(who, action, target))
            .await
    }
}
