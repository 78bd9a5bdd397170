use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::{
    AttachRequest, Cleanup, Error, ErrorKind, EventAction, ExecBackend, ExecRequest, ExecSession,
    Result, SessionId,
};

use super::{
    ProcessEngine,
    attach::Attachment,
    family::{Family, SESSION_MARK},
    session::ChildSession,
    supervisor::drive,
};
use crate::lifecycle::not_running;

/// A command runs beside the workload, with its environment, working directory and user.
///
/// Attaching with [`next_run`](AttachRequest::next_run) to a workload that does not run waits for that
/// run, and nothing of it is missed.
#[async_trait]
impl ExecBackend for ProcessEngine {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        let host = &self.host;
        let cell = host.cell(&request.workload)?;
        if request.command.is_empty() {
            return Err(Error::invalid("the command to execute is empty"));
        }
        request.only_cleans_up_all("process")?;
        let permit = Arc::clone(&host.sessions)
            .try_acquire_owned()
            .map_err(|_| {
                Error::new(
                    ErrorKind::ResourceExhausted,
                    format!("{} sessions are open", host.options.max_sessions),
                )
                .with_retryable(true)
            })?;
        let id = SessionId::new(host.random.hex(32))?;
        let mut state = cell.lock();
        if state.run.is_none() {
            return Err(not_running("execute a command in"));
        }
        let launched = host.launch_session(&state.record, request, &id)?;
        let family = Family::new(SESSION_MARK, id.as_str());
        let session = ChildSession::new(id, launched, family, &host.tasks, permit);
        let started = format!("exec_start: {}", request.command.join(" "));
        let attributes = vec![("execID", session.id().to_string())];
        state
            .record
            .life
            .tell(EventAction::Other(started), attributes);
        drive(host, &cell, &mut state)?;
        Ok(Arc::new(session))
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        let cell = self.host.cell(&request.workload)?;
        let id = SessionId::new(self.host.random.hex(32))?;
        Ok(Arc::new(Attachment::new(id, cell, request)?))
    }

    fn default_cleanup(&self) -> Option<Cleanup> {
        Some(Cleanup::Tree)
    }
}
