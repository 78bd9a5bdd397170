//! The store in memory passes the conformance suite of core, alone and behind decorators.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Backoff, Clock, KvStore, SeededRandom, SystemClock,
    decorate::{Fault, Faulty, LayerExt, Retry, Timeout, Traced},
    testkit::kv::Harness,
};
use longshore_discovery::MemoryKv;

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

struct Memory(MemoryKv);

impl Memory {
    fn new() -> Self {
        Self(MemoryKv::new(clock()))
    }
}

#[async_trait]
impl Harness for Memory {
    async fn store(&self) -> Arc<dyn KvStore> {
        Arc::new(self.0.clone())
    }
}

/// Short leases, for real time.
struct Live(Memory);

#[async_trait]
impl Harness for Live {
    async fn store(&self) -> Arc<dyn KvStore> {
        self.0.store().await
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(1500)
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(100)
    }
}

/// Calls that may be repeated fail often, or lose their answer; retries hide it.
struct Unsteady(Memory);

#[async_trait]
impl Harness for Unsteady {
    async fn store(&self) -> Arc<dyn KvStore> {
        let mut faulty = Faulty::new(clock(), 11, Fault::none());
        for operation in ["kv.get", "kv.range", "kv.keep_alive", "kv.revoke"] {
            faulty = faulty.with_fault(operation, Fault::refusing(0.2).with_lost(0.2));
        }
        let pause = Duration::from_millis(1);
        let patient = Retry::new(clock(), Arc::new(SeededRandom::new(3)))
            .with_attempts(NonZeroU32::new(40).unwrap())
            .with_backoff(Backoff::new(pause, pause))
            .wrap(faulty.wrap(self.0.store().await));
        Traced::new(clock()).wrap(Timeout::new(clock(), Duration::from_secs(5)).wrap(patient))
    }
}

mod memory_on_paused_time {
    use super::*;
    longshore_core::kv_suite!(paused, Memory::new());
}

mod memory_live {
    use super::*;
    longshore_core::kv_suite!(live, Live(Memory::new()));
}

mod memory_behind_faults_and_retries {
    use super::*;
    longshore_core::kv_suite!(paused, Unsteady(Memory::new()));
}
