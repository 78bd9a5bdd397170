use std::{collections::BTreeMap, sync::Arc, time::Duration};

use crate::{
    BoxFuture, Clock, ClockExt, Result,
    decorate::{Layer, Operation},
};

/// Gives every call a limit. A call that exceeds it is dropped and answered with
/// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout), naming the operation.
///
/// A dropped call that must not be repeated may have had its effect: its error says that the outcome
/// is unknown, and is not retryable. Calls that wait for something to happen (`engine.wait`,
/// `tunnel.accept`) have no limit; a stop gets the grace that its caller gives on top.
#[derive(Clone, Debug)]
pub struct Timeout {
    clock: Arc<dyn Clock>,
    limit: Duration,
    limits: BTreeMap<&'static str, Duration>,
}

impl Timeout {
    /// This limit for every call.
    pub fn new(clock: Arc<dyn Clock>, limit: Duration) -> Self {
        Self {
            clock,
            limit,
            limits: BTreeMap::new(),
        }
    }

    /// Another limit for one operation, for example `engine.create`.
    #[must_use]
    pub fn with_limit(mut self, operation: &'static str, limit: Duration) -> Self {
        self.limits.insert(operation, limit);
        self
    }
}

impl Layer for Timeout {
    async fn call<'a, R, F>(&'a self, operation: Operation<'a>, call: F) -> Result<R>
    where
        R: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<R>> + Send + Sync + 'a,
    {
        let Some(extra) = operation.allowance() else {
            return call().await;
        };
        let limit = *self.limits.get(operation.name()).unwrap_or(&self.limit);
        let limit = limit.saturating_add(extra);
        match self.clock.timeout(limit, operation.name(), call()).await {
            Ok(result) => result,
            Err(late) if operation.is_repeatable() => Err(late.with_operation(operation.name())),
            Err(late) => Err(late
                .with_operation(operation.name())
                .with_context("outcome", "unknown")
                .with_retryable(false)),
        }
    }
}
