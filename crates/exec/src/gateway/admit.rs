use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::{
    Access, Action, AuditEvent, AuditOutcome, ClockExt, Error, ErrorKind, Identity, Result, Target,
    WorkloadId,
};

use super::Shared;
use crate::{
    access::{AccessControl, AccessRequest, Admission},
    session::{Attachment, Launch, Leave, OpenRequest, SessionOptions},
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
}

#[async_trait]
impl Leave for Again {
    async fn ask(&self) -> Result<Access> {
        let admission = self.access.admit(&self.request).await?;
        if admission.who == self.who {
            return Ok(admission.access);
        }
        Err(Error::new(
            ErrorKind::PermissionDenied,
            "the token belongs to somebody else now",
        ))
    }
}

impl Shared {
    /// Leave first, then the container, then the session: who has no leave learns nothing about
    /// containers.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] for every failure to get leave.
    pub(super) async fn open(&self, wish: Wish) -> Result<Attachment> {
        let limit = self.options.admit_limit;
        let admission = self.admit(&wish.request, wish.operation).await?;
        let place = wish.request.place.clone();
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
                };
                let origin = place
                    .origin()
                    .with_source(wish.request.credentials.source)
                    .with_node(located.node);
                let launch = (wish.launch)(located.workload);
                let request = OpenRequest::new(located.backend, launch, admission.who.clone())
                    .with_options(wish.options)
                    .with_origin(origin)
                    .with_leave(admission.access, Arc::new(leave));
                self.hub.open(request)
            }
        };
        if let Err(error) = &opened {
            let outcome = AuditOutcome::Failed(error.to_string());
            let _ = self
                .record(&admission.who, &wish.request, wish.operation, outcome)
                .await;
        }
        opened
    }

    /// Gives leave and records it, before anything happens.
    pub(super) async fn admit(
        &self,
        request: &AccessRequest,
        operation: &'static str,
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
                self.record(&admission.who, request, operation, AuditOutcome::Started)
                    .await?;
                Ok(admission)
            }
            Err(error) => {
                tracing::info!(place = %request.place, error = error.chain(), "a session was refused");
                let known = request.credentials.identity.clone();
                let who = known.unwrap_or_else(|| Identity::new("unknown", "none"));
                let outcome = AuditOutcome::Denied(error.to_string());
                let _ = self.record(&who, request, operation, outcome).await;
                Err(denied(error))
            }
        }
    }

    async fn record(
        &self,
        who: &Identity,
        request: &AccessRequest,
        operation: &'static str,
        outcome: AuditOutcome,
    ) -> Result<()> {
        let Some(audit) = &self.audit else {
            return Ok(());
        };
        let place = &request.place;
        let target = Target::new(place.kind(), place.to_string());
        let now = self.clock.now();
        let event = AuditEvent::new(now, who.clone(), request.action, operation, target, outcome);
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

/// What somebody does who sends nothing.
pub(super) fn action(sends_input: bool) -> Action {
    if sends_input {
        Action::Enter
    } else {
        Action::Read
    }
}
