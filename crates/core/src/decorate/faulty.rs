use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    sync::Arc,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    BoxFuture, Clock, ClockExt, Error, ErrorKind, Random, Result, SeededRandom,
    decorate::{Layer, Operation},
};

/// What goes wrong with calls, and how often.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Fault {
    /// How often a call fails before it has any effect, from 0 to 1.
    pub refused: f64,
    /// How often a call has its effect and its answer is lost, from 0 to 1.
    pub lost: f64,
    /// The kind of the error in both cases.
    pub kind: ErrorKind,
    /// How long a call is held up before it is made.
    pub latency: RangeInclusive<Duration>,
}

impl Fault {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Self {
            refused: 0.0,
            lost: 0.0,
            kind: ErrorKind::Unavailable,
            latency: Duration::ZERO..=Duration::ZERO,
        }
    }

    /// So many calls fail before they have any effect.
    pub fn refusing(probability: f64) -> Self {
        Self {
            refused: probability,
            ..Self::none()
        }
    }

    /// So many calls have their effect and lose their answer.
    #[must_use]
    pub fn with_lost(mut self, probability: f64) -> Self {
        self.lost = probability;
        self
    }

    /// Sets the kind of the errors.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Holds every call up, uniformly within the range.
    #[must_use]
    pub fn with_latency(mut self, latency: RangeInclusive<Duration>) -> Self {
        self.latency = latency;
        self
    }
}

/// Makes calls fail and wait, by a seed: the same seed and the same order of calls give the same
/// faults.
///
/// A `lost` answer is what makes distributed systems hard: the caller sees a failure of something
/// that was done.
#[derive(Debug)]
pub struct Faulty {
    clock: Arc<dyn Clock>,
    random: SeededRandom,
    everywhere: Fault,
    by_operation: BTreeMap<&'static str, Fault>,
    suspended: AtomicBool,
    injected: AtomicU64,
}

impl Faulty {
    /// This fault in every operation.
    pub fn new(clock: Arc<dyn Clock>, seed: u64, everywhere: Fault) -> Self {
        Self {
            clock,
            random: SeededRandom::new(seed),
            everywhere,
            by_operation: BTreeMap::new(),
            suspended: AtomicBool::new(false),
            injected: AtomicU64::new(0),
        }
    }

    /// Another fault in one operation, for example `kv.get`.
    #[must_use]
    pub fn with_fault(mut self, operation: &'static str, fault: Fault) -> Self {
        self.by_operation.insert(operation, fault);
        self
    }

    /// Stops making faults until [`resume`](Self::resume).
    pub fn suspend(&self) {
        self.suspended.store(true, Ordering::Relaxed);
    }

    /// Makes faults again.
    pub fn resume(&self) {
        self.suspended.store(false, Ordering::Relaxed);
    }

    /// How many calls failed by this layer so far.
    pub fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    /// All draws for one call, in one order, so that a run can be repeated.
    fn draw(&self, fault: &Fault) -> Draw {
        let (shortest, longest) = (*fault.latency.start(), *fault.latency.end());
        let spread = longest.saturating_sub(shortest);
        Draw {
            refused: self.random.unit() < fault.refused,
            lost: self.random.unit() < fault.lost,
            latency: shortest + spread.mul_f64(self.random.unit()),
        }
    }

    fn inject(&self, fault: &Fault, operation: Operation<'_>, effect: &'static str) -> Error {
        self.injected.fetch_add(1, Ordering::Relaxed);
        Error::new(
            fault.kind,
            format!("injected fault in {}", operation.name()),
        )
        .with_backend("faulty")
        .with_operation(operation.name())
        .with_context("effect", effect)
    }
}

struct Draw {
    refused: bool,
    lost: bool,
    latency: Duration,
}

impl Layer for Faulty {
    async fn call<'a, R, F>(&'a self, operation: Operation<'a>, call: F) -> Result<R>
    where
        R: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<R>> + Send + Sync + 'a,
    {
        if self.suspended.load(Ordering::Relaxed) {
            return call().await;
        }
        let fault = self
            .by_operation
            .get(operation.name())
            .unwrap_or(&self.everywhere);
        let draw = self.draw(fault);
        if !draw.latency.is_zero() {
            self.clock.sleep(draw.latency).await;
        }
        if draw.refused {
            return Err(self.inject(fault, operation, "none"));
        }
        let value = call().await?;
        if draw.lost {
            return Err(self.inject(fault, operation, "done"));
        }
        Ok(value)
    }
}
