use std::time::Duration;

use super::{Harness, trial::Trial};
use crate::{ClockExt, LogOptions, OutputKind, RestartPolicy, WorkloadState};

/// By default an end is an end.
pub async fn without_a_policy_nothing_is_restarted(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.exit(1)).await;
    trial.wait(&id).await;
    trial.clock.sleep(Duration::from_secs(2)).await;
    assert_eq!(trial.state(&id).await, WorkloadState::Exited);
    assert_eq!(trial.detail(&id).await.restarts, 0);
    trial.finish().await;
}

/// A failure is tried again so many times, then left.
pub async fn a_failure_is_restarted_as_often_as_allowed(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial
        .spec(trial.programs.exit(4))
        .with_restart(RestartPolicy::OnFailure(2));
    let id = trial.run_spec(&spec).await;
    trial
        .until("two restarts and an end", || async {
            let workload = trial.engine.inspect(&id).await.expect("inspect");
            let restarts = workload.detail.expect("detail").restarts;
            workload.state == WorkloadState::Exited && restarts == 2
        })
        .await;
    trial.clock.sleep(Duration::from_secs(2)).await;
    assert_eq!(trial.detail(&id).await.restarts, 2);
    assert_eq!(trial.wait(&id).await.code, Some(4));
    trial.finish().await;
}

/// Code 0 is no failure.
pub async fn a_success_is_not_restarted_on_failure(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial
        .spec(trial.programs.exit(0))
        .with_restart(RestartPolicy::OnFailure(0));
    let id = trial.run_spec(&spec).await;
    assert_eq!(trial.wait(&id).await.code, Some(0));
    trial.clock.sleep(Duration::from_secs(2)).await;
    assert_eq!(trial.detail(&id).await.restarts, 0);
    assert_eq!(trial.state(&id).await, WorkloadState::Exited);
    trial.finish().await;
}

/// `Always` starts it again also after code 0, and its output goes on.
pub async fn always_restarts_after_a_success(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial
        .spec(trial.programs.print(b"run\n", b""))
        .with_restart(RestartPolicy::Always);
    let id = trial.run_spec(&spec).await;
    trial
        .until("two restarts", || async {
            trial.detail(&id).await.restarts >= 2
        })
        .await;
    let log = trial
        .log(&id, OutputKind::Stdout, &LogOptions::default())
        .await;
    assert!(log.starts_with(b"run\nrun\n"), "{log:?}");
    trial.finish().await;
}

/// What was stopped on purpose stays stopped.
pub async fn a_stop_ends_the_restarts(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let spec = trial
        .spec(trial.programs.forever())
        .with_restart(RestartPolicy::Always);
    let running = trial.run_spec(&spec).await;
    trial.until_ready(&running).await;
    trial.stop(&running, Duration::from_secs(20)).await;

    let spec = trial
        .spec(trial.programs.exit(1))
        .with_restart(RestartPolicy::Always);
    let failing = trial.run_spec(&spec).await;
    trial
        .until("a restart", || async {
            trial.detail(&failing).await.restarts >= 1
        })
        .await;
    trial.stop(&failing, Duration::from_secs(5)).await;
    let restarts = trial.detail(&failing).await.restarts;

    trial.clock.sleep(Duration::from_secs(3)).await;
    assert_eq!(trial.state(&running).await, WorkloadState::Exited);
    assert_eq!(trial.detail(&running).await.restarts, 0);
    assert_eq!(trial.state(&failing).await, WorkloadState::Exited);
    assert_eq!(trial.detail(&failing).await.restarts, restarts);
    trial.finish().await;
}
