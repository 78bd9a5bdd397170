use super::{Harness, trial::Trial};
use crate::testkit::suite::does_not_apply;
use crate::{AttachRequest, Cleanup, ErrorKind, ExecRequest, WorkloadId};

/// Nobody gets into a workload that does not exist.
pub async fn an_unknown_workload_is_not_found(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let nobody = WorkloadId::new("0123456789abcdef".repeat(4)).expect("a valid id");
    let request = ExecRequest::new(nobody, trial.programs.exit(0));
    let error = trial.within(trial.place.backend.exec(&request)).await;
    assert_eq!(error.expect_err("a refusal").kind(), ErrorKind::NotFound);
    trial.finish().await;
}

/// Nobody gets into a workload that does not run.
pub async fn a_stopped_workload_is_a_conflict(harness: &dyn Harness) {
    let Some(place) = harness.stopped().await else {
        return does_not_apply("its workloads don't stop");
    };
    let trial = Trial::at(harness, place);
    let request = trial.request(trial.programs.exit(0));
    let error = trial.within(trial.place.backend.exec(&request)).await;
    assert_eq!(error.expect_err("a refusal").kind(), ErrorKind::Conflict);
    trial.finish().await;
}

/// Nobody waits at a workload that does not run for an end that does not come; whatever is wanted of
/// it.
pub async fn an_attachment_to_a_stopped_workload_is_a_conflict(harness: &dyn Harness) {
    let Some(place) = harness.stopped().await else {
        return does_not_apply("its workloads don't stop");
    };
    let trial = Trial::at(harness, place);
    let request = AttachRequest::new(trial.place.workload.clone());
    for request in [
        request.clone(),
        request.clone().with_stdin(),
        request.with_backlog(),
    ] {
        let error = trial.within(trial.place.backend.attach(&request)).await;
        let kind = error.expect_err("a refusal").kind();
        assert_eq!(kind, ErrorKind::Conflict, "{request:?}");
    }
    trial.finish().await;
}

/// Without a program there is nothing to run.
pub async fn an_empty_command_is_invalid(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial.request(Vec::new());
    let error = trial.within(trial.place.backend.exec(&request)).await;
    assert_eq!(
        error.expect_err("a refusal").kind(),
        ErrorKind::InvalidInput
    );
    trial.finish().await;
}

/// A program that does not exist is told by the start, or by the end with code 126 or 127.
pub async fn a_missing_program_is_told(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let request = trial.request(trial.programs.missing());
    match trial.within(trial.place.backend.exec(&request)).await {
        Err(error) => {
            let kinds = [ErrorKind::InvalidInput, ErrorKind::NotFound];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            assert!(!error.is_retryable());
        }
        Ok(session) => {
            let status = trial.wait(&*session).await;
            assert!(matches!(status.code, Some(126 | 127)), "{status}");
        }
    }
    trial.finish().await;
}

/// What is to happen to a session's processes is what was asked for, or the start is refused in words that
/// name it; that all of them end can always be had.
pub async fn a_cleanup_is_followed_or_refused_by_name(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    for cleanup in Cleanup::ALL {
        let request = trial.request(trial.programs.exit(3)).with_cleanup(cleanup);
        match trial.within(trial.place.backend.exec(&request)).await {
            Ok(session) => assert_eq!(trial.wait(&*session).await.code, Some(3), "{cleanup}"),
            Err(error) => {
                let kinds = [ErrorKind::Unsupported, ErrorKind::PermissionDenied];
                assert!(kinds.contains(&error.kind()), "{error:?}");
                assert!(error.to_string().contains(cleanup.as_str()), "{error}");
                assert_ne!(cleanup, Cleanup::Tree, "{error}");
            }
        }
    }
    trial.finish().await;
}
