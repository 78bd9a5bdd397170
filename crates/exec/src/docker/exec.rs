use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    ClockExt, Error, ErrorKind, ExecInput, ExecOutputStream, ExecRequest, ExecSession, ExitStatus,
    Result, SessionId, Signal, TerminalSize, WorkloadId,
};
use tokio::sync::OnceCell;

use super::{
    Cleanup,
    api::{Api, ExecState},
    cleanup::Mark,
    input::DockerInput,
    link::Link,
    output::{DockerOutput, Opening},
};

/// A command in a container.
pub(super) struct DockerSession {
    api: Arc<Api>,
    id: SessionId,
    workload: WorkloadId,
    user: String,
    tty: bool,
    link: Link,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
    opening: Opening,
    exit: OnceCell<ExitStatus>,
    mark: Option<Mark>,
}

impl DockerSession {
    pub(super) async fn start(
        api: &Arc<Api>,
        request: &ExecRequest,
        cleanup: Cleanup,
    ) -> Result<Self> {
        if request.command.is_empty() {
            return Err(Error::invalid("the command to execute is empty"));
        }
        let mark = (cleanup == Cleanup::Tree).then(|| Mark::new(api));
        let mut env = request.env.clone();
        env.extend(mark.as_ref().map(|mark| mark.pair().to_owned()));
        let id = api.create_exec(request, &env).await?;
        let session_id = SessionId::new(id.clone())?;
        // Dropped from here on, the call closes the stream; the guard ends what it started.
        let mut guard = StartGuard {
            api,
            request,
            mark: mark.as_ref(),
        };
        let stream = api.start_exec(&id, request.tty, request.size).await?;
        let link = Link::new(stream);
        let opening = Opening::default();
        let output = DockerOutput::new(link.clone(), request.tty, opening.clone());
        let input = request
            .stdin
            .then(|| Box::pin(DockerInput::new(link.clone())) as ExecInput);
        if request.tty
            && let Some(size) = request.size
        {
            // Only now: before the start it would block. Its failure leaves the wrong size, no more.
            if let Err(error) = api.resize(&format!("/exec/{id}"), size).await {
                tracing::debug!(error = error.chain(), "the first size was not set");
            }
        }
        guard.mark = None;
        drop(guard);
        Ok(Self {
            api: Arc::clone(api),
            id: session_id,
            workload: request.workload.clone(),
            user: request.user.clone(),
            tty: request.tty,
            link,
            input: Mutex::new(input),
            output: Mutex::new(Some(Box::pin(output))),
            opening,
            exit: OnceCell::new(),
            mark,
        })
    }

    /// Asks the engine until the command has ended: soon after the end of the stream, now and then
    /// before, because nobody may be reading it.
    async fn find_exit(&self) -> Result<ExitStatus> {
        let mut pause = SHORTEST_PAUSE;
        let mut stream_ended = None;
        let mut failures = 0;
        loop {
            match self.api.inspect_exec(self.id.as_str()).await {
                Ok(state) if !state.running && state.exit_code.is_some() => {
                    return Ok(self.status(&state));
                }
                Ok(_) => failures = 0,
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    return Ok(ExitStatus::unknown("the container was removed"));
                }
                Err(error) => {
                    failures += 1;
                    if failures > MOST_FAILURES {
                        return Err(error);
                    }
                }
            }
            if self.link.closed().is_cancelled() {
                stream_ended.get_or_insert_with(|| self.api.clock.now());
            } else if self.link.ended().is_cancelled() && stream_ended.is_none() {
                stream_ended = Some(self.api.clock.now());
                pause = SHORTEST_PAUSE;
            }
            if let Some(at) = stream_ended
                && self.api.clock.now().since(at) > LONGEST_DELAY
            {
                if self.link.closed().is_cancelled() {
                    return Err(Error::closed(
                        "the session was closed and its command has not ended",
                    ));
                }
                return Ok(ExitStatus::unknown(
                    "the connection ended and the command still runs",
                ));
            }
            let waiting = self.api.clock.sleep(pause);
            // Whoever took the output sees its end; without a reader only the engine can tell.
            let unread = self
                .output
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_some();
            let longest = if unread {
                LONGEST_PAUSE
            } else {
                LONGEST_PAUSE * 10
            };
            pause = (pause * 2).min(longest);
            if stream_ended.is_some() {
                waiting.await;
            } else {
                tokio::select! {
                    () = waiting => {}
                    () = self.link.ended().cancelled() => {}
                    () = self.link.closed().cancelled() => {}
                }
            }
        }
    }

    fn status(&self, state: &ExecState) -> ExitStatus {
        let status = state.exit_code.map_or_else(ExitStatus::default, |code| {
            let signal = u8::try_from(code - 128).ok().map(Signal::new);
            match signal {
                Some(Ok(signal)) if code == 137 || code == 143 => ExitStatus::signaled(signal),
                _ => ExitStatus::exited(code),
            }
        });
        if !matches!(state.exit_code, Some(126 | 127)) {
            return status;
        }
        // A shell gives these codes too; only the engine's own words, or a command that never
        // had a process, tell the difference.
        match self.opening.complaint() {
            Some(complaint) => status.with_reason(complaint),
            None if state.pid == 0 => status.with_reason("the command could not be started"),
            None => status,
        }
    }
}

/// Ends a command whose start was given up half-way.
struct StartGuard<'a> {
    api: &'a Arc<Api>,
    request: &'a ExecRequest,
    mark: Option<&'a Mark>,
}

impl Drop for StartGuard<'_> {
    fn drop(&mut self) {
        if let Some(mark) = self.mark {
            sweep_later(self.api, &self.request.workload, &self.request.user, mark);
        }
    }
}

fn sweep_later(api: &Arc<Api>, workload: &WorkloadId, user: &str, mark: &Mark) {
    let Ok(runtime) = tokio::runtime::Handle::try_current() else {
        return;
    };
    let (api, workload) = (Arc::clone(api), workload.clone());
    let (user, mark) = (user.to_owned(), mark.clone());
    runtime.spawn(async move {
        let sweep = mark.sweep(&api, &workload, &user);
        let swept = api.clock.timeout(SWEEP_LIMIT, "the cleanup", sweep).await;
        if let Err(error) = swept.and_then(|swept| swept) {
            tracing::debug!(error = error.chain(), "a given-up command may run on");
        }
    });
}

#[async_trait]
impl ExecSession for DockerSession {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn take_input(&self) -> Option<ExecInput> {
        take(&self.input)
    }

    fn take_output(&self) -> Option<ExecOutputStream> {
        take(&self.output)
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        if !self.tty || self.exit.initialized() {
            return Ok(());
        }
        self.api.resize(&format!("/exec/{}", self.id), size).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        Err(Error::unsupported(format!(
            "Docker's API cannot send {signal} to a command in a container"
        )))
    }

    async fn wait(&self) -> Result<ExitStatus> {
        // One asks for all; if that one leaves, the next goes on.
        let status = self.exit.get_or_try_init(|| self.find_exit()).await?;
        Ok(status.clone())
    }

    async fn close(&self) -> Result<()> {
        drop(take(&self.input));
        let ended = self.exit.initialized() || self.link.ended().is_cancelled();
        let was_open = !self.link.closed().is_cancelled();
        self.link.close();
        if ended || !was_open {
            return Ok(());
        }
        if let Some(mark) = &self.mark {
            let sweep = mark.sweep(&self.api, &self.workload, &self.user);
            let swept = self
                .api
                .clock
                .timeout(SWEEP_LIMIT, "the cleanup", sweep)
                .await
                .and_then(|swept| swept);
            if let Err(error) = swept {
                tracing::debug!(error = error.chain(), "a closed command may run on");
            }
        }
        Ok(())
    }
}

impl Drop for DockerSession {
    fn drop(&mut self) {
        let ended = self.exit.initialized() || self.link.ended().is_cancelled();
        let was_open = !self.link.closed().is_cancelled();
        self.link.close();
        if !ended
            && was_open
            && let Some(mark) = &self.mark
        {
            sweep_later(&self.api, &self.workload, &self.user, mark);
        }
    }
}

impl fmt::Debug for DockerSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerSession")
            .field("id", &self.id)
            .field("workload", &self.workload)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

pub(super) fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long after the end of its stream a command may still be running.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
const SWEEP_LIMIT: Duration = Duration::from_secs(10);
const MOST_FAILURES: u32 = 5;
