//! Exec in memory, for tests of whatever is built on top of it.

mod broadcast;
mod process;
mod session;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use longshore_core::{
    AttachRequest, BoxFuture, Cleanup, Error, ErrorKind, ExecBackend, ExecRequest, ExecSession,
    Result, SessionId, WorkloadId,
};

pub use self::process::ScriptedProcess;
use self::{
    broadcast::Broadcast,
    process::{Running, run},
    session::ScriptedSession,
};

/// An [`ExecBackend`] whose programs are async functions and whose workloads are names.
///
/// It keeps the same rules as the real ones: bounded pipes that slow the program down, one answer
/// for all who wait, signals, sizes, and an end for what is closed or dropped. Clones share
/// everything.
#[derive(Clone, Default)]
pub struct ScriptedExec {
    programs: BTreeMap<String, Program>,
    state: Arc<State>,
}

type Program = Arc<dyn Fn(ScriptedProcess) -> BoxFuture<'static, u8> + Send + Sync>;

#[derive(Default)]
struct State {
    workloads: Mutex<BTreeMap<WorkloadId, Workload>>,
    sessions: AtomicU64,
}

enum Workload {
    Stopped,
    /// With the process of its own, if it has one to attach to.
    Running(Option<(Arc<Running>, Arc<Broadcast>)>),
}

impl ScriptedExec {
    /// Without workloads and programs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a running workload that can't be attached to.
    #[must_use]
    pub fn with_workload(self, id: WorkloadId) -> Self {
        self.workloads().insert(id, Workload::Running(None));
        self
    }

    /// Adds a workload that does not run.
    #[must_use]
    pub fn with_stopped_workload(self, id: WorkloadId) -> Self {
        self.workloads().insert(id, Workload::Stopped);
        self
    }

    /// Adds a program: given its process, it runs to its exit code.
    #[must_use]
    pub fn with_program<P, F>(mut self, name: impl Into<String>, program: P) -> Self
    where
        P: Fn(ScriptedProcess) -> F + Send + Sync + 'static,
        F: Future<Output = u8> + Send + 'static,
    {
        let program: Program = Arc::new(move |process| Box::pin(program(process)));
        self.programs.insert(name.into(), program);
        self
    }

    /// Starts a workload with a process of its own, for attachments: the request says which
    /// program, and whether it has a terminal. Must be called within a runtime.
    ///
    /// # Errors
    /// The program is not known.
    pub fn start_workload(&self, request: &ExecRequest) -> Result<()> {
        let mut request = request.clone();
        request.stdin = true;
        let running = run(self.program(&request)?, &request);
        let output = Broadcast::of(Arc::clone(&running.pipe));
        let workload = Workload::Running(Some((running, output)));
        self.workloads().insert(request.workload, workload);
        Ok(())
    }

    fn program(&self, request: &ExecRequest) -> Result<Program> {
        let Some(name) = request.command.first() else {
            return Err(Error::invalid("the command to execute is empty"));
        };
        self.programs.get(name).cloned().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidInput,
                format!("cannot run {name:?}: no such program"),
            )
            .with_context("exit_code", "127")
        })
    }

    fn workloads(&self) -> MutexGuard<'_, BTreeMap<WorkloadId, Workload>> {
        let workloads = &self.state.workloads;
        workloads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session_id(&self) -> Result<SessionId> {
        let number = self.state.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(SessionId::new(format!("scripted-{number}"))?)
    }
}

#[async_trait]
impl ExecBackend for ScriptedExec {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        match self.workloads().get(&request.workload) {
            None => return Err(no_such(&request.workload)),
            Some(Workload::Stopped) => return Err(not_running(&request.workload)),
            Some(Workload::Running(_)) => {}
        }
        request.only_cleans_up_all("scripted")?;
        let running = run(self.program(request)?, request);
        let session = ScriptedSession::exec(self.session_id()?, running, request.stdin);
        Ok(Arc::new(session))
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        let (running, output) = match self.workloads().get(&request.workload) {
            None => return Err(no_such(&request.workload)),
            Some(Workload::Running(Some((running, output)))) => {
                (Arc::clone(running), output.stream(request.backlog))
            }
            Some(Workload::Stopped) => return Err(not_running(&request.workload)),
            Some(Workload::Running(None)) => {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("container {} has no process to attach to", request.workload),
                )
                .with_retryable(false));
            }
        };
        let session = ScriptedSession::attach(self.session_id()?, running, request.stdin, output);
        Ok(Arc::new(session))
    }

    fn default_cleanup(&self) -> Option<Cleanup> {
        Some(Cleanup::Tree)
    }
}

impl fmt::Debug for ScriptedExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs: Vec<_> = self.programs.keys().collect();
        f.debug_struct("ScriptedExec")
            .field("programs", &programs)
            .finish_non_exhaustive()
    }
}

fn not_running(id: &WorkloadId) -> Error {
    let text = format!("container {id} is not running");
    Error::new(ErrorKind::Conflict, text).with_retryable(false)
}

fn no_such(id: &WorkloadId) -> Error {
    Error::not_found(format!("No such container: {id}")).with_backend("scripted")
}
