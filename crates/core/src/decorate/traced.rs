use std::sync::Arc;

use tracing::{Instrument, Span, field};

use crate::{
    BoxFuture, Clock, Result, Timestamp,
    decorate::{Layer, Operation},
};

/// Puts every call into a span of the `tracing` crate.
///
/// The span is called `call`, at level debug, with the fields `operation`, `subject` (where the
/// call is about one thing), `micros` and `outcome`: `ok`, the word of the
/// [`ErrorKind`](crate::ErrorKind), or `dropped` when the caller gave the call up. A failure is also
/// an event with the whole chain of causes. Values and secrets are never recorded.
#[derive(Clone, Debug)]
pub struct Traced {
    clock: Arc<dyn Clock>,
}

impl Traced {
    /// The clock measures how long calls take.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }
}

impl Layer for Traced {
    async fn call<'a, R, F>(&'a self, operation: Operation<'a>, call: F) -> Result<R>
    where
        R: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<R>> + Send + Sync + 'a,
    {
        let span = tracing::debug_span!(
            "call",
            operation = operation.name(),
            subject = operation
                .subject()
                .map(|subject| field::display(subject.to_string())),
            outcome = field::Empty,
            micros = field::Empty,
        );
        let mut record = Record {
            span: span.clone(),
            clock: &*self.clock,
            start: self.clock.now(),
            outcome: "dropped",
        };
        let result = call().instrument(span.clone()).await;
        match &result {
            Ok(_) => record.outcome = "ok",
            Err(error) => {
                record.outcome = error.kind().as_str();
                let _entered = span.enter();
                tracing::debug!(error = %error.chain(), "a call failed");
            }
        }
        result
    }
}

/// Fills the span in when the call is over, also when it is dropped.
struct Record<'a> {
    span: Span,
    clock: &'a dyn Clock,
    start: Timestamp,
    outcome: &'static str,
}

impl Drop for Record<'_> {
    fn drop(&mut self) {
        let took = self.clock.now().since(self.start);
        self.span.record("outcome", self.outcome);
        self.span.record(
            "micros",
            u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        );
    }
}
