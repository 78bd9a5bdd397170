use crate::testkit::suite::does_not_apply;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;

use super::{Attachable, Harness, trial::Trial};
use crate::{AttachRequest, ErrorKind, ExecSession, WorkloadId};

/// Input reaches the workload's own process, and its output comes back.
pub async fn an_attachment_carries_input_and_output(harness: &dyn Harness) {
    let Some(place) = harness.attachable(Attachable::Pipes).await else {
        return does_not_apply("it has no such workload to attach to");
    };
    let trial = Trial::at(harness, place);
    let session = attach(&trial).await;
    let mut input = session.take_input().expect("the input");
    let mut output = session.take_output().expect("the output");
    for text in [&b"\0hello"[..], b"\x01\0\0\0\0\0\0\x01 again"] {
        trial.write(&mut input, text).await;
        assert_eq!(trial.read_until(&mut output, text).await, text);
    }
    trial.within(session.close()).await.expect("close");
    trial.finish().await;
}

/// The workload's end is the session's, with the workload's exit code.
pub async fn an_attachment_ends_with_its_workload(harness: &dyn Harness) {
    let Some(place) = harness.attachable(Attachable::PipesOnce).await else {
        return does_not_apply("it has no such workload to attach to");
    };
    let trial = Trial::at(harness, place);
    let session = attach(&trial).await;
    let mut input = session.take_input().expect("the input");
    trial.write(&mut input, b"last words").await;
    trial.within(input.shutdown()).await.expect("half-close");
    let outcome = trial.outcome(&*session).await;
    assert_eq!(outcome.stdout, &b"last words"[..]);
    assert_eq!(outcome.status.code, Some(0));
    trial.finish().await;
}

/// On a terminal nothing is framed, so nothing may be taken for a frame.
pub async fn an_attachment_to_a_terminal_is_byte_exact(harness: &dyn Harness) {
    let Some(place) = harness.attachable(Attachable::Terminal).await else {
        return does_not_apply("it has no such workload to attach to");
    };
    let trial = Trial::at(harness, place);
    let session = attach(&trial).await;
    let mut input = session.take_input().expect("the input");
    let mut output = session.take_output().expect("the output");
    let bytes: Vec<u8> = b"\0\x01\x02\x03".iter().copied().chain(0..=255).collect();
    trial.write(&mut input, &bytes).await;
    let seen = trial
        .read_until(&mut output, &bytes[bytes.len() - 200..])
        .await;
    // The program's `R` may have come before or after the attachment.
    let seen = seen.strip_prefix(b"R").unwrap_or(&seen);
    assert_eq!(seen, bytes);
    trial.finish().await;
}

/// Who attached may leave; the workload goes on for others.
pub async fn closing_an_attachment_leaves_the_workload_alone(harness: &dyn Harness) {
    let Some(place) = harness.attachable(Attachable::Pipes).await else {
        return does_not_apply("it has no such workload to attach to");
    };
    let trial = Trial::at(harness, place);
    let session = attach(&trial).await;
    trial.within(session.close()).await.expect("close");
    drop(session);
    let session = attach(&trial).await;
    let mut input = session.take_input().expect("the input");
    let mut output = session.take_output().expect("the output");
    trial.write(&mut input, b"still there").await;
    trial.read_until(&mut output, b"still there").await;
    trial.within(session.close()).await.expect("close");
    trial.finish().await;
}

/// Without input and with what was said before, an attachment is a log that is followed: what is said
/// while it is opened is neither missing nor there twice.
pub async fn a_log_is_followed_without_a_gap(harness: &dyn Harness) {
    let Some(place) = harness.attachable(Attachable::Pipes).await else {
        return does_not_apply("it has no such workload to attach to");
    };
    let trial = Trial::at(harness, place);
    let session = attach(&trial).await;
    let mut input = session.take_input().expect("the input");
    let mut output = session.take_output().expect("the output");
    let mut said = b"before\n".to_vec();
    trial.write(&mut input, &said).await;
    trial.read_until(&mut output, &said).await;
    let request = AttachRequest::new(trial.place.workload.clone()).with_backlog();
    let opening = trial.within(trial.place.backend.attach(&request));
    let speaking = async {
        for number in 0..50 {
            let line = format!("line {number}\n");
            trial.write(&mut input, line.as_bytes()).await;
            said.extend_from_slice(line.as_bytes());
        }
    };
    let (opened, ()) = futures::future::join(opening, speaking).await;
    let follower = opened.expect("attach");
    let mut log = follower.take_output().expect("the output");
    let last = b"after\n";
    trial.write(&mut input, last).await;
    said.extend_from_slice(last);
    let seen = trial.read_until(&mut log, last).await;
    assert_eq!(
        String::from_utf8_lossy(&seen),
        String::from_utf8_lossy(&said)
    );
    trial.finish().await;
}

/// Nobody attaches to what does not exist.
pub async fn an_attachment_to_an_unknown_workload_is_not_found(harness: &dyn Harness) {
    let trial = Trial::new(harness).await;
    let nobody = WorkloadId::new("0123456789abcdef".repeat(4)).expect("a valid id");
    let request = AttachRequest::new(nobody);
    let error = trial.within(trial.place.backend.attach(&request)).await;
    assert_eq!(error.expect_err("a refusal").kind(), ErrorKind::NotFound);
    trial.finish().await;
}

async fn attach(trial: &Trial<'_>) -> Arc<dyn ExecSession> {
    let request = AttachRequest::new(trial.place.workload.clone()).with_stdin();
    trial
        .within(trial.place.backend.attach(&request))
        .await
        .expect("attach")
}
