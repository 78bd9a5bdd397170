//! What the tests record.

use bytes::Bytes;
use longshore_core::{
    ExecRequest, Identity, OutputKind, SessionId, TerminalSize, Timestamp, WorkloadId,
};
use longshore_exec::session::{
    EndReason, Launch, RecordEvent, Recorder, SessionAbout, SessionEnd, SessionOrigin,
};

pub(crate) fn id(text: &str) -> SessionId {
    SessionId::new(text).unwrap()
}

pub(crate) fn about(user: &str, app: &str) -> SessionAbout {
    let request = ExecRequest::new(WorkloadId::new("c0ffee").unwrap(), ["bash", "-l"]);
    let launch = Launch::Exec(
        request
            .with_tty(TerminalSize::new(100, 30))
            .with_env("TERM=xterm"),
    );
    let origin = SessionOrigin::new()
        .with_instance(app, "web", "1")
        .with_node(Some("node-1".to_owned()))
        .with_source("192.0.2.7".parse().ok());
    SessionAbout::new(Identity::new(user, "token"), &launch, origin).with_input_recorded(true)
}

pub(crate) fn opened(user: &str, app: &str) -> RecordEvent {
    RecordEvent::Opened(Box::new(about(user, app)))
}

pub(crate) fn output(offset: u64, bytes: &[u8]) -> RecordEvent {
    RecordEvent::Output {
        offset,
        kind: OutputKind::Stdout,
        bytes: Bytes::copy_from_slice(bytes),
    }
}

pub(crate) fn ended() -> RecordEvent {
    RecordEvent::Ended(SessionEnd::new(EndReason::Exited))
}

pub(crate) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_secs(seconds)
}

/// Records a session that begins at `start` and has a second for each event.
pub(crate) async fn record(
    recorder: &dyn Recorder,
    session: &str,
    start: u64,
    events: &[RecordEvent],
) {
    for (number, event) in events.iter().enumerate() {
        let at = at(start + number as u64);
        recorder.record(&id(session), at, event).await.unwrap();
    }
}
