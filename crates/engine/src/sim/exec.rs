use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use longshore_core::{
    AttachRequest, Cleanup, Error, ErrorKind, ExecBackend, ExecInput, ExecRequest, ExecSession,
    Result, SessionId,
};
use tokio_util::sync::CancellationToken;

use super::{
    SimEngine,
    attach::{SimAttachment, WorkloadInput},
    process::SimProcess,
    script::Script,
    session::{SessionCell, SimSession},
};
use crate::{
    attached_output::{AttachedRun, attached_output},
    lifecycle::not_running,
};

/// Commands are scripts, as for workloads; one that the simulation does not know is a program that
/// does not exist.
#[async_trait]
impl ExecBackend for SimEngine {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        request.only_cleans_up_all("sim")?;
        let shared = &self.shared;
        let cell = shared
            .call(|node, now| {
                let workload = node.workload(&request.workload)?;
                let Some(program) = request.command.first() else {
                    return Err(Error::invalid("the command to execute is empty"));
                };
                if workload.process.is_none() {
                    return Err(not_running("execute a command in"));
                }
                let script = Script::parse(&request.command)?.ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidInput,
                        format!("cannot run {program:?}: no such program"),
                    )
                    .with_context("exit_code", "127")
                })?;
                let env = [&workload.record.spec.env[..], &request.env].concat();
                let terminal = request.tty.then(|| request.size.unwrap_or_default());
                let process = SimProcess::begin(script, &env, terminal, request.stdin, now);
                let cell = SessionCell::new(process, Arc::clone(&shared.clock));
                workload.sessions.retain(|other| other.strong_count() > 0);
                workload.sessions.push(Arc::downgrade(&cell));
                Ok(cell)
            })
            .await?;
        let id = SessionId::new(shared.random.hex(16))?;
        Ok(Arc::new(SimSession::new(id, cell, request.stdin)))
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        let shared = &self.shared;
        let (output, phase, open_stdin) = shared
            .call(|node, _| {
                let workload = node.workload(&request.workload)?;
                let phase = workload.phase.subscribe();
                let open_stdin = workload.record.spec.open_stdin;
                Ok((Arc::clone(&workload.output), phase, open_stdin))
            })
            .await?;
        let closed = CancellationToken::new();
        let run = AttachedRun::of(&phase.borrow(), request)?;
        let output = attached_output(&output, phase.clone(), run, request.backlog, closed.clone());
        let input = (request.stdin && open_stdin).then(|| {
            Box::pin(WorkloadInput {
                workload: request.workload.clone(),
                shared: Arc::clone(shared),
                closed: closed.clone(),
            }) as ExecInput
        });
        Ok(Arc::new(SimAttachment {
            id: SessionId::new(shared.random.hex(16))?,
            workload: request.workload.clone(),
            shared: Arc::clone(shared),
            phase,
            run,
            input: Mutex::new(input),
            output: Mutex::new(Some(output)),
            closed,
        }))
    }

    fn default_cleanup(&self) -> Option<Cleanup> {
        Some(Cleanup::Tree)
    }
}
