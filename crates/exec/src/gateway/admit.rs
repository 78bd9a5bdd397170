use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Access, Action, AuditEvent, AuditOutcome, Cleanup, CleanupReport, ClockExt, Error, ErrorKind,
    Identity, Labels, Result, SessionId, Target, WorkloadId, printable,
};

use super::Shared;
use crate::{
    access::{AccessControl, AccessRequest, Admission},
    protocol::Closing,
    session::{
        Attachment, EndReason, Launch, Leave, MOST_RECHECK_FAILURES, OpenRequest, SHORTEST_RECHECK,
        SessionEnd, SessionOptions,
    },
};

/// A session that a client wants.
pub(super) struct Wish {
    pub(super) request: AccessRequest,
    /// For the record: `exec.open`, `exec.attach`.
    pub(super) operation: &'static str,
    pub(super) options: SessionOptions,
    pub(super) launch: Box<dyn FnOnce(WorkloadId) -> Launch + Send>,
}

/// Asks access control again, for the same.
#[derive(Debug)]
struct Again {
    access: Arc<dyn AccessControl>,
    request: AccessRequest,
    who: Identity,
    least_cleanup: Cleanup,
}

#[async_trait]
impl Leave for Again {
    async fn ask(&self) -> Result<Access> {
        let admission = self.access.admit(&self.request).await?;
        admission.allows(self.request.cleanup, self.least_cleanup)?;
        if admission.who == self.who {
            return Ok(admission.access);
        }
        Err(Error::new(
            ErrorKind::PermissionDenied,
            "the token belongs to somebody else now",
        ))
    }
}

/// Leave to look on at somebody else's session, or at the record of one. It is asked for again while
/// it is used, as the session's own is.
#[derive(Debug)]
pub(super) struct Onlooker {
    leave: Again,
    valid_for: Option<Duration>,
}

impl Onlooker {
    /// Whose leave it is.
    pub(super) fn who(&self) -> &Identity {
        &self.leave.who
    }

    /// Waits until leave is refused, or nobody could be asked three times in a row. Cancel safe.
    pub(super) async fn lapsed(&self, shared: &Shared) -> Closing {
        let limit = shared.options.admit_limit;
        let pause = |valid_for: Option<Duration>| {
            let longest = shared.options.session.recheck;
            let wait = valid_for.map_or(longest, |valid| valid.min(longest));
            wait.max(SHORTEST_RECHECK)
        };
        let (mut wait, mut failures) = (pause(self.valid_for), 0);
        loop {
            shared.clock.sleep(wait).await;
            let asked = shared
                .clock
                .timeout(limit, "access control", self.leave.ask());
            match asked.await.and_then(|answer| answer) {
                Ok(access) => (wait, failures) = (pause(access.valid_for), 0),
                Err(error) => {
                    failures += 1;
                    let refused = matches!(
                        error.kind(),
                        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated
                    );
                    if refused || failures >= MOST_RECHECK_FAILURES {
                        let place = &self.leave.request.place;
                        tracing::info!(%place, error = error.chain(), "an onlooker's leave has ended");
                        return Closing::new(4003, "not allowed any more");
                    }
                    wait = SHORTEST_RECHECK;
                }
            }
        }
    }
}

impl Shared {
    /// Gives leave to look on, and what asks for it again.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub(super) async fn admit_onlooker(
        &self,
        request: AccessRequest,
        operation: &'static str,
    ) -> Result<Onlooker> {
        let admission = self.admit(&request, operation, None).await?;
        let leave = Again {
            access: Arc::clone(&self.access),
            request,
            who: admission.who,
            least_cleanup: self.options.least_cleanup,
        };
        let valid_for = admission.access.valid_for;
        Ok(Onlooker { leave, valid_for })
    }

    /// Somebody came back to a session, or was refused it.
    pub(super) async fn record_resume(&self, session: &SessionId, outcome: AuditOutcome) {
        // The session itself is on the record already; a failure is in the log.
        let _ = self
            .record_change(session, None, "exec.resume", Labels::new(), outcome)
            .await;
    }

    /// Something changes in a session, by its owner or by who is named; what more there is to say
    /// about it goes with the session's id.
    ///
    /// # Errors
    /// It could not be recorded, and must be.
    pub(super) async fn record_change(
        &self,
        session: &SessionId,
        who: Option<&Identity>,
        operation: &'static str,
        labels: Labels,
        outcome: AuditOutcome,
    ) -> Result<()> {
        let Some(who) = who.cloned().or_else(|| self.hub.owner(session).ok()) else {
            return Ok(());
        };
        let target = Target::new("session", session.to_string()).with_labels(labels);
        let now = self.clock.now();
        let event = AuditEvent::new(now, who, Action::Enter, operation, target, outcome);
        self.record(event).await
    }

    /// Leave first, then the container, then the session: who has no leave learns nothing about
    /// containers.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for every failure to get leave.
    pub(super) async fn open(&self, wish: Wish) -> Result<Attachment> {
        let limit = self.options.admit_limit;
        // Chosen first, so that all that is on record of a session has its id.
        let session = self.hub.new_id()?;
        let admission = self
            .admit(&wish.request, wish.operation, Some(&session))
            .await?;
        let place = wish.request.place.clone();
        let mut node = None;
        let found = self
            .clock
            .timeout(limit, "finding the container", self.directory.find(&place));
        let opened = match found.await.and_then(|found| found) {
            Err(error) => Err(error),
            Ok(located) => {
                let leave = Again {
                    access: Arc::clone(&self.access),
                    request: wish.request.clone(),
                    who: admission.who.clone(),
                    least_cleanup: self.options.least_cleanup,
                };
                let origin = place
                    .origin()
                    .with_source(wish.request.credentials.source)
                    .with_node(located.node.clone());
                let launch = (wish.launch)(located.workload);
                node = located.node;
                let ended = Ended {
                    shared: self.clone(),
                    who: admission.who.clone(),
                    request: AccessRequest {
                        cleanup: launch.cleanup(&*located.backend),
                        ..wish.request.clone()
                    },
                    operation: wish.operation,
                    node: node.clone(),
                    session: session.clone(),
                };
                let cleaned = ended.clone();
                let request = OpenRequest::new(located.backend, launch, admission.who.clone())
                    .with_id(session.clone())
                    .with_options(wish.options)
                    .with_origin(origin)
                    .with_leave(admission.access, Arc::new(leave))
                    .with_epilogue(Box::new(move |end| Box::pin(ended.record(end))))
                    .with_aftermath(Box::new(move |report| {
                        Box::pin(cleaned.record_left(report))
                    }));
                self.hub.open(request)
            }
        };
        if let Err(error) = &opened {
            let outcome = AuditOutcome::Failed(error.to_string());
            let mut event = self.event(&admission.who, &wish.request, wish.operation, outcome);
            event.node = node;
            let _ = self.record(of(event, &session)).await;
        }
        opened
    }

    /// Gives leave and records it, before anything happens; with the session that is to be opened.
    pub(super) async fn admit(
        &self,
        request: &AccessRequest,
        operation: &'static str,
        session: Option<&SessionId>,
    ) -> Result<Admission> {
        self.admit_with(request, operation, session, Labels::new())
            .await
    }

    /// The same, with what more there is to record of it.
    pub(super) async fn admit_with(
        &self,
        request: &AccessRequest,
        operation: &'static str,
        session: Option<&SessionId>,
        labels: Labels,
    ) -> Result<Admission> {
        let denied = |error: Error| {
            Error::new(ErrorKind::PermissionDenied, "not allowed").with_source(error)
        };
        if !request.place.is_sane() {
            return Err(denied(Error::invalid(
                "the name of the target is malformed",
            )));
        }
        let limit = self.options.admit_limit;
        let asked = self
            .clock
            .timeout(limit, "access control", self.access.admit(request));
        match asked.await.and_then(|admission| admission) {
            Ok(admission) => {
                // Who is let in may know what it was that is not allowed.
                if let Err(error) = admission.allows(request.cleanup, self.options.least_cleanup) {
                    let outcome = AuditOutcome::Denied(error.to_string());
                    let event = self.event(&admission.who, request, operation, outcome);
                    let _ = self.record(event).await;
                    return Err(error);
                }
                let mut event =
                    self.event(&admission.who, request, operation, AuditOutcome::Started);
                event.target.labels.extend(labels.iter());
                if let Some(session) = session {
                    event = of(event, session);
                }
                self.record(event).await?;
                Ok(admission)
            }
            Err(error) => {
                tracing::info!(place = %request.place, error = error.chain(), "a session was refused");
                let known = request.credentials.identity.clone();
                let who = known.unwrap_or_else(|| Identity::new("unknown", "none"));
                let outcome = AuditOutcome::Denied(error.to_string());
                let mut event = self.event(&who, request, operation, outcome);
                event.target.labels.extend(labels.iter());
                let _ = self.record(event).await;
                Err(denied(error))
            }
        }
    }

    /// Names the client's address and the command, as its session's record does; never the
    /// environment, where secrets are.
    fn event(
        &self,
        who: &Identity,
        request: &AccessRequest,
        operation: &'static str,
        outcome: AuditOutcome,
    ) -> AuditEvent {
        let place = &request.place;
        let mut labels = Labels::new();
        if let Some(source) = request.credentials.source {
            labels.insert("source", source.to_string());
        }
        if !request.command.is_empty() {
            labels.insert("command", words(&request.command));
        }
        if let Some(cleanup) = request.cleanup {
            labels.insert("cleanup", cleanup.as_str());
        }
        let target = Target::new(place.kind(), place.to_string()).with_labels(labels);
        let now = self.clock.now();
        AuditEvent::new(now, who.clone(), request.action, operation, target, outcome)
    }

    pub(super) async fn record(&self, event: AuditEvent) -> Result<()> {
        let Some(audit) = &self.audit else {
            return Ok(());
        };
        let limit = self.options.admit_limit;
        let recorded = self
            .clock
            .timeout(limit, "the audit record", audit.record(event));
        match recorded.await.and_then(|recorded| recorded) {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::warn!(error = error.chain(), "a session could not be audited");
                match self.options.without_audit {
                    true => Ok(()),
                    false => Err(Error::unavailable("the audit record could not be written")
                        .with_source(error)),
                }
            }
        }
    }
}

/// A session whose end is to be recorded, and what is left of it.
#[derive(Clone)]
struct Ended {
    shared: Shared,
    who: Identity,
    request: AccessRequest,
    operation: &'static str,
    node: Option<String>,
    session: SessionId,
}

impl Ended {
    /// A process that ended by itself or was ended by its user is done, whatever its exit code,
    /// which is on the record.
    async fn record(self, end: SessionEnd) {
        let outcome = match end.reason {
            EndReason::Exited | EndReason::Signaled | EndReason::EndedByOperator => {
                AuditOutcome::Done
            }
            _ => AuditOutcome::Failed(end.to_string()),
        };
        let mut event = self
            .shared
            .event(&self.who, &self.request, self.operation, outcome);
        let labels = &mut event.target.labels;
        labels.insert("reason", end.reason.as_str());
        labels.insert("end", printable(&end.to_string(), LONGEST_END));
        if let Some(code) = end.code {
            labels.insert("code", code.to_string());
        }
        if let Some(signal) = end.signal {
            labels.insert("signal", signal.to_string());
        }
        event.node = self.node;
        // A failure is in the log; the session is over in any case.
        let _ = self.shared.record(of(event, &self.session)).await;
    }

    /// What was left of it, or may have been. That nothing was is not worth a record.
    async fn record_left(self, report: CleanupReport) {
        if report.is_clean() && report.unattributed.is_empty() {
            return;
        }
        let text = printable(&report.to_string(), LONGEST_REPORT).into_owned();
        let outcome = match report.is_clean() {
            true => AuditOutcome::Done,
            false => AuditOutcome::Failed(text.clone()),
        };
        let mut event = self
            .shared
            .event(&self.who, &self.request, "exec.cleanup", outcome);
        let labels = &mut event.target.labels;
        labels.insert("left", text);
        labels.insert("workload", report.workload.to_string());
        event.node = self.node;
        let _ = self.shared.record(of(event, &self.session)).await;
    }
}

fn of(mut event: AuditEvent, session: &SessionId) -> AuditEvent {
    event.target.labels.insert("session", session.to_string());
    event
}

/// A command on one line: as JSON, so that its words can be told apart.
fn words(command: &[String]) -> String {
    let shown = command
        .iter()
        .take(MOST_WORDS)
        .map(|word| printable(word, LONGEST_WORD));
    let more = if command.len() > MOST_WORDS {
        "…"
    } else {
        ""
    };
    let shown: Vec<_> = shown.collect();
    format!("{}{more}", serde_json::Value::from(shown))
}

/// What somebody does who sends nothing.
pub(super) fn action(sends_input: bool) -> Action {
    if sends_input {
        Action::Enter
    } else {
        Action::Read
    }
}

const MOST_WORDS: usize = 32;
const LONGEST_WORD: usize = 128;
const LONGEST_END: usize = 512;
const LONGEST_REPORT: usize = 2048;
