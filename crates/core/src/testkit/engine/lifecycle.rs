use std::{sync::Arc, time::Duration};

use super::{Harness, trial::Trial};
use crate::{ErrorKind, ListFilter, RemoveOptions, Signal, WorkloadState};

/// A workload made is there, not running, until it is removed.
pub async fn a_new_workload_is_listed_as_created(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.create(trial.programs.forever()).await;
    let listed = trial.engine.list(&ListFilter::all()).await.expect("list");
    let found = listed.iter().find(|workload| workload.id == id);
    assert_eq!(found.expect("it is listed").state, WorkloadState::Created);
    assert_eq!(trial.state(&id).await, WorkloadState::Created);
    assert_eq!(trial.detail(&id).await.pid, 0);
    trial.finish().await;
}

/// After a removal neither the list nor an inspection knows it.
pub async fn a_removed_workload_is_gone(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.exit(0)).await;
    trial.wait(&id).await;
    trial.remove(&id).await;
    assert!(trial.is_gone(&id).await);
    let listed = trial.engine.list(&ListFilter::all()).await.expect("list");
    assert!(listed.iter().all(|workload| workload.id != id));
    trial.finish().await;
}

/// Removing what runs is a conflict and changes nothing.
pub async fn a_running_workload_is_removed_only_by_force(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.forever()).await;
    let refusal = trial.engine.remove(&id, RemoveOptions::default()).await;
    assert_eq!(refusal.expect_err("a refusal").kind(), ErrorKind::Conflict);
    assert_eq!(trial.state(&id).await, WorkloadState::Running);
    trial.finish().await;
}

/// A forced removal ends the workload, and who waits for it is told.
pub async fn force_ends_what_runs(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.stubborn()).await;
    let waiting = {
        let (engine, id) = (Arc::clone(&trial.engine), id.clone());
        tokio::spawn(async move { engine.wait(&id).await })
    };
    trial
        .until("the wait is under way", || {
            std::future::ready(!waiting.is_finished())
        })
        .await;
    tokio::task::yield_now().await;
    let removal = trial
        .engine
        .remove(&id, RemoveOptions::default().with_force());
    trial.within(removal).await.expect("remove");
    assert!(trial.is_gone(&id).await);
    // The wait may have come too late to find it; it must not hang or tell of a success.
    match trial.within(waiting).await.expect("no panic") {
        Ok(status) => assert!(!status.is_success(), "{status}"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}"),
    }
    trial.finish().await;
}

/// Starting what runs changes nothing.
pub async fn starting_what_runs_is_no_error(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.forever()).await;
    let before = trial.detail(&id).await;
    assert_eq!(trial.state(&id).await, WorkloadState::Running);
    trial.start(&id).await;
    let after = trial.detail(&id).await;
    assert_eq!((before.pid, before.started), (after.pid, after.started));
    trial.finish().await;
}

/// Stopping what never ran, and what has ended, changes nothing.
pub async fn stopping_what_is_stopped_is_no_error(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.create(trial.programs.exit(3)).await;
    trial.stop(&id, Duration::from_secs(1)).await;
    assert_eq!(trial.state(&id).await, WorkloadState::Created);
    trial.start(&id).await;
    trial.wait(&id).await;
    trial.stop(&id, Duration::from_secs(1)).await;
    assert_eq!(trial.wait(&id).await.code, Some(3));
    assert_eq!(trial.state(&id).await, WorkloadState::Exited);
    trial.finish().await;
}

/// What has ended can run again, with the same id.
pub async fn a_workload_can_be_started_again(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.forever()).await;
    trial.stop(&id, Duration::from_secs(20)).await;
    assert_eq!(trial.state(&id).await, WorkloadState::Exited);
    let first = trial.detail(&id).await;
    assert!(first.started <= first.finished && first.started.is_some());
    trial.start(&id).await;
    assert_eq!(trial.state(&id).await, WorkloadState::Running);
    assert!(trial.detail(&id).await.started >= first.finished);
    trial.finish().await;
}

/// An exit code other than 0 is told by wait and by an inspection.
pub async fn an_exit_code_is_reported(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run(trial.programs.exit(7)).await;
    assert_eq!(trial.wait(&id).await.code, Some(7));
    assert_eq!(trial.state(&id).await, WorkloadState::Exited);
    let exit = trial.detail(&id).await.exit.expect("it has ended");
    assert_eq!(exit.code, Some(7));
    trial.finish().await;
}

/// A kill is told as 128 and the signal's number, never as a success.
pub async fn a_killed_workload_says_so(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.stubborn()).await;
    let kill = trial.engine.kill(&id, Signal::KILL);
    trial.within(kill).await.expect("kill");
    assert_eq!(trial.wait(&id).await.code, Some(137));
    trial.finish().await;
}

/// All who wait get one answer, also those who ask after the end.
pub async fn wait_gives_everybody_the_same_answer(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.exit_on_usr1(9)).await;
    let early: Vec<_> = (0..3)
        .map(|_| {
            let (engine, id) = (Arc::clone(&trial.engine), id.clone());
            tokio::spawn(async move { engine.wait(&id).await })
        })
        .collect();
    // One that gives up must not take the answer with it.
    early[0].abort();
    trial
        .engine
        .kill(&id, Signal::USR1)
        .await
        .expect("a signal");
    let answer = trial.wait(&id).await;
    assert_eq!(answer.code, Some(9));
    for waiting in early.into_iter().skip(1) {
        let other = trial.within(waiting).await.expect("no panic");
        assert_eq!(other.expect("wait").code, answer.code);
    }
    assert_eq!(trial.wait(&id).await, answer);
    trial.finish().await;
}

/// A stop lets the workload end by itself, well before the grace is over.
pub async fn a_stop_is_a_polite_request_first(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.forever()).await;
    let before = trial.clock.now();
    trial.stop(&id, Duration::from_secs(50)).await;
    assert!(trial.clock.now().since(before) < Duration::from_secs(40));
    assert_eq!(trial.wait(&id).await.code, Some(143));
    trial.finish().await;
}

/// What ignores the request runs through its grace, and no longer.
pub async fn a_stop_that_is_ignored_becomes_a_kill_after_the_grace(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.stubborn()).await;
    let before = trial.clock.now();
    trial.stop(&id, Duration::from_secs(2)).await;
    let took = trial.clock.now().since(before);
    assert!(took >= Duration::from_millis(1900), "{took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
    assert_eq!(trial.state(&id).await, WorkloadState::Exited);
    assert_eq!(trial.wait(&id).await.code, Some(137));
    trial.finish().await;
}

/// A stop whose caller left still ends the workload.
pub async fn a_dropped_stop_goes_on(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.stubborn()).await;
    let stop = {
        let (engine, id) = (Arc::clone(&trial.engine), id.clone());
        tokio::spawn(async move { engine.stop(&id, Duration::from_secs(2)).await })
    };
    crate::ClockExt::sleep(&*trial.clock, Duration::from_millis(500)).await;
    stop.abort();
    assert_eq!(trial.wait(&id).await.code, Some(137));
    trial.finish().await;
}

/// A signal arrives as itself.
pub async fn signals_reach_the_first_process(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.run_ready(trial.programs.exit_on_usr1(42)).await;
    let kill = trial.engine.kill(&id, Signal::USR1);
    trial.within(kill).await.expect("a signal");
    assert_eq!(trial.wait(&id).await.code, Some(42));
    trial.finish().await;
}

/// There is nothing to signal in what does not run; trying again does not help.
pub async fn killing_what_does_not_run_is_a_conflict(harness: &dyn Harness) {
    let trial = Trial::new(harness);
    let id = trial.create(trial.programs.exit(0)).await;
    let error = trial
        .engine
        .kill(&id, Signal::TERM)
        .await
        .expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(!error.is_retryable());
    trial.start(&id).await;
    trial.wait(&id).await;
    let error = trial
        .engine
        .kill(&id, Signal::KILL)
        .await
        .expect_err("a refusal");
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(!error.is_retryable());
    trial.finish().await;
}
