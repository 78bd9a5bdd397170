//! The rules of [`Clock`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{FutureExt, future};

use crate::{Clock, ClockExt, ErrorKind, Timestamp};

/// What a clock's tests need: the clock, and a way to let time pass.
#[async_trait]
pub trait Harness: Send + Sync {
    /// The clock under test; every call gives the same.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Lets time pass on that clock. For a clock that moves by itself: wait.
    async fn pass(&self, by: Duration);
}

/// Makes one test of each rule for the harness: `clock_suite!(paused, MyHarness::new())`.
#[macro_export]
macro_rules! clock_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            clock,
            $harness,
            [
                now_never_runs_backwards,
                time_passes,
                a_sleep_ends_at_its_deadline_and_not_before,
                a_deadline_in_the_past_returns_at_once,
                a_dropped_sleep_has_no_effect,
                many_sleepers_wake,
                a_timeout_names_what_was_late,
                a_timeout_lets_what_is_in_time_pass,
            ]
        );
    };
}

const STEP: Duration = Duration::from_millis(20);

/// Readings never decrease.
pub async fn now_never_runs_backwards<H: Harness>(harness: &H) {
    let clock = harness.clock();
    let mut last = clock.now();
    for _ in 0..10 {
        for _ in 0..100 {
            let now = clock.now();
            assert!(now >= last, "the clock went from {last} back to {now}");
            last = now;
        }
        harness.pass(Duration::from_millis(1)).await;
    }
}

/// What passes outside is seen by [`Clock::now`].
pub async fn time_passes<H: Harness>(harness: &H) {
    let clock = harness.clock();
    let before = clock.now();
    harness.pass(STEP).await;
    let passed = clock.now().since(before);
    assert!(
        passed >= STEP,
        "{STEP:?} passed and the clock saw {passed:?}"
    );
}

/// A sleeper wakes when its deadline has come, and never before.
pub async fn a_sleep_ends_at_its_deadline_and_not_before<H: Harness>(harness: &H) {
    let clock = harness.clock();
    let deadline = clock.now().after(STEP * 2);
    let sleeper = async {
        clock.sleep_until(deadline).await;
        clock.now()
    };
    let passing = async {
        for _ in 0..6 {
            harness.pass(STEP / 2).await;
        }
    };
    let (woke, ()) = future::join(sleeper, passing).await;
    assert!(
        woke >= deadline,
        "woken at {woke}, before the deadline {deadline}"
    );
}

/// No wait for what is over, the epoch included.
pub async fn a_deadline_in_the_past_returns_at_once<H: Harness>(harness: &H) {
    let clock = harness.clock();
    for deadline in [Timestamp::ZERO, clock.now()] {
        let ready = clock.sleep_until(deadline).now_or_never();
        assert!(
            ready.is_some(),
            "a sleep until the past ({deadline}) had to wait"
        );
    }
}

/// Giving up a sleep leaves the clock and other sleepers alone.
pub async fn a_dropped_sleep_has_no_effect<H: Harness>(harness: &H) {
    let clock = harness.clock();
    let deadline = clock.now().after(STEP);
    let mut dropped = Box::pin(clock.sleep_until(deadline));
    assert!(
        (&mut dropped).now_or_never().is_none(),
        "a sleep of {STEP:?} was over at once"
    );
    drop(dropped);
    let (woke, ()) = future::join(
        async {
            clock.sleep_until(deadline).await;
            clock.now()
        },
        harness.pass(STEP * 2),
    )
    .await;
    assert!(woke >= deadline);
}

/// A thousand sleepers all wake, each not before its own deadline.
pub async fn many_sleepers_wake<H: Harness>(harness: &H) {
    let clock = harness.clock();
    let start = clock.now();
    let sleepers = future::join_all((0..1000u64).map(|index| {
        let clock = clock.clone();
        async move {
            let deadline = start.after(Duration::from_micros(index * 40));
            clock.sleep_until(deadline).await;
            assert!(clock.now() >= deadline, "sleeper {index} woke early");
        }
    }));
    let passing = async {
        for _ in 0..6 {
            harness.pass(Duration::from_millis(10)).await;
        }
    };
    future::join(sleepers, passing).await;
}

/// What takes too long is dropped, with an error that names it.
pub async fn a_timeout_names_what_was_late<H: Harness>(harness: &H) {
    let clock = harness.clock();
    let late = clock.timeout(STEP, "the slow thing", future::pending::<()>());
    let (result, ()) = future::join(late, harness.pass(STEP * 2)).await;
    let error = result.expect_err("what never ends was in time");
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.message().contains("the slow thing"), "{error}");
}

/// What is in time gives its value, even with a limit of nothing.
pub async fn a_timeout_lets_what_is_in_time_pass<H: Harness>(harness: &H) {
    let clock = harness.clock();
    let value = clock
        .timeout(Duration::ZERO, "nothing", future::ready(7))
        .await;
    assert_eq!(value.expect("what is ready was too late"), 7);
}
