use std::{num::NonZeroU32, sync::Arc};

use crate::{
    Backoff, BoxFuture, Clock, ClockExt, Random, Result,
    decorate::{Layer, Operation},
};

/// Makes a failed call again after a pause: only calls that may be repeated
/// ([`Operation::is_repeatable`]), and only after errors that say that it may help
/// ([`Error::is_retryable`](crate::Error::is_retryable)).
///
/// Everything else passes through once. The last error is returned with the number of attempts.
#[derive(Clone, Debug)]
pub struct Retry {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    backoff: Backoff,
    attempts: NonZeroU32,
}

impl Retry {
    /// Up to five attempts in all, with the default [`Backoff`] between them.
    pub fn new(clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        Self {
            clock,
            random,
            backoff: Backoff::default(),
            attempts: DEFAULT_ATTEMPTS,
        }
    }

    /// Sets the pauses.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how often a call is made at most, the first time included.
    #[must_use]
    pub fn with_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.attempts = attempts;
        self
    }
}

impl Layer for Retry {
    async fn call<'a, R, F>(&'a self, operation: Operation<'a>, call: F) -> Result<R>
    where
        R: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<R>> + Send + Sync + 'a,
    {
        let mut backoff = self.backoff.clone();
        backoff.reset();
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !operation.is_repeatable() || !error.is_retryable() {
                return Err(error);
            }
            if backoff.attempts() + 1 >= self.attempts.get() {
                return Err(error.with_context("attempts", self.attempts));
            }
            let pause = backoff.next_delay(&*self.random);
            tracing::debug!(
                operation = operation.name(),
                attempt = backoff.attempts(),
                pause_ms = pause.as_millis(),
                error = %error.chain(),
                "a call failed and will be made again"
            );
            self.clock.sleep(pause).await;
        }
    }
}

const DEFAULT_ATTEMPTS: NonZeroU32 = NonZeroU32::new(5).unwrap();
