//! Random operations with disconnects against a model, in virtual time: in the end the view is the
//! store's, every change was told in order, nobody is lost and nobody a ghost.
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "model/cut_off.rs"]
mod cut_off;
#[path = "model/oracle.rs"]
mod oracle;
#[path = "model/replay.rs"]
mod replay;
#[path = "model/scenario.rs"]
mod scenario;
#[path = "model/steps.rs"]
mod steps;
#[path = "model/watchers.rs"]
mod watchers;

use std::{sync::Arc, time::Duration};

use cut_off::CutOff;
use longshore_core::{Clock, SystemClock};
use longshore_discovery::{KvLimits, MemoryKv};
use proptest::test_runner::TestCaseResult;
use scenario::World;
use steps::Step;

/// A store that remembers so many changes for watches; `None` for one whose watches look at what is
/// there, as Consul's and ZooKeeper's do.
fn in_memory(history: Option<usize>, steps: Vec<Step>) -> TestCaseResult {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let limits = KvLimits::default().with_history(history.unwrap_or(10_000));
        let near = MemoryKv::with_limits(clock.clone(), limits);
        let mut far = CutOff::new(near.clone());
        if history.is_none() {
            far = far.without_history();
        }
        let link = far.clone();
        let world = World {
            near: Arc::new(near),
            far: Arc::new(far),
            clock,
            set_reachable: Box::new(move |reachable| link.set_reachable(reachable)),
            prefix: "model".to_owned(),
            grace: Duration::from_secs(2),
            short: Duration::from_secs(5),
            slack: Duration::ZERO,
            pace: Duration::from_millis(20),
        };
        scenario::run(world, steps).await
    })
}

const SHRINKS: u32 = 20_000;

#[test]
fn few_operations_over_a_store_with_a_history() {
    let test = ("model", "few_operations_over_a_store_with_a_history");
    let body = |steps| in_memory(Some(10_000), steps);
    replay::run(test, 400, SHRINKS, &steps::some(20, 1..120), body);
}

#[test]
fn few_operations_over_a_store_that_forgets() {
    let test = ("model", "few_operations_over_a_store_that_forgets");
    replay::run(test, 400, SHRINKS, &steps::some(20, 1..120), |steps| {
        in_memory(Some(3), steps)
    });
}

#[test]
fn a_thousand_operations_over_a_store_with_a_history() {
    let test = ("model", "a_thousand_operations_over_a_store_with_a_history");
    let body = |steps| in_memory(Some(10_000), steps);
    replay::run(test, 48, SHRINKS, &steps::thousand(5), body);
}

#[test]
fn a_thousand_operations_over_a_store_that_forgets() {
    let test = ("model", "a_thousand_operations_over_a_store_that_forgets");
    let body = |steps| in_memory(Some(3), steps);
    replay::run(test, 48, SHRINKS, &steps::thousand(5), body);
}

#[test]
fn few_operations_over_a_store_without_a_history() {
    let test = ("model", "few_operations_over_a_store_without_a_history");
    let body = |steps| in_memory(None, steps);
    replay::run(test, 400, SHRINKS, &steps::some(20, 1..120), body);
}

#[test]
fn a_thousand_operations_over_a_store_without_a_history() {
    let test = (
        "model",
        "a_thousand_operations_over_a_store_without_a_history",
    );
    let body = |steps| in_memory(None, steps);
    replay::run(test, 48, SHRINKS, &steps::thousand(5), body);
}
