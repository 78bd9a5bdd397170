//! The twin in memory passes the conformance suite of core, alone and behind decorators.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Backoff, Clock, OverlayNetwork, SeededRandom, SystemClock,
    decorate::{Fault, Faulty, LayerExt, Retry, Timeout, Traced},
    testkit::overlay::Harness,
};
use longshore_net::MemoryOverlay;

struct Memory;

#[async_trait]
impl Harness for Memory {
    async fn overlay(&self) -> Arc<dyn OverlayNetwork> {
        Arc::new(MemoryOverlay::new())
    }
}

/// Calls fail often, or are done and lose their answer; retries hide it, because all is idempotent.
struct Unsteady;

#[async_trait]
impl Harness for Unsteady {
    async fn overlay(&self) -> Arc<dyn OverlayNetwork> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let fault = Fault::refusing(0.2).with_lost(0.2);
        let faulty = Faulty::new(clock.clone(), 11, fault).wrap(Arc::new(MemoryOverlay::new()));
        let pause = Duration::from_millis(1);
        let patient = Retry::new(clock.clone(), Arc::new(SeededRandom::new(3)))
            .with_attempts(NonZeroU32::new(40).unwrap())
            .with_backoff(Backoff::new(pause, pause))
            .wrap(faulty);
        let limited = Timeout::new(clock.clone(), Duration::from_secs(5)).wrap(patient);
        Traced::new(clock).wrap(limited)
    }
}

mod memory_on_paused_time {
    use super::*;
    longshore_core::overlay_suite!(paused, Memory);
}

mod memory_live {
    use super::*;
    longshore_core::overlay_suite!(live, Memory);
}

mod memory_behind_faults_and_retries {
    use super::*;
    longshore_core::overlay_suite!(paused, Unsteady);
}
