use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use longshore_core::{
    ClockExt, Error, ExecInput, ExecOutputStream, ExecRequest, ExecSession, ExitStatus, Result,
    SessionId, Signal, TerminalSize, WorkloadId,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{
    api::Api,
    context::Context,
    exit_facts::ExitFacts,
    input::DockerInput,
    keeper::{Keeper, Watched, clean_later},
    lifeline::Lifeline,
    link::Link,
    output::{DockerOutput, Opening},
};
use crate::cleanup::{Cleanup, CleanupRung, Marker};

/// A command in a container.
pub(super) struct DockerSession {
    api: Arc<Api>,
    facts: ExitFacts,
    id: SessionId,
    workload: WorkloadId,
    tty: bool,
    link: Link,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
    opening: Opening,
    exit: OnceCell<ExitStatus>,
    /// Set when the end is known, also to those who read no output.
    over: CancellationToken,
    lifeline: Option<Arc<Lifeline>>,
    keeper: Option<Arc<Keeper>>,
}

impl DockerSession {
    /// Starts a command directly, with a shell beside it that cleans up, where there is one.
    pub(super) async fn start(context: &Context, request: &ExecRequest) -> Result<Self> {
        let api = &context.api;
        let (marker, live) = context.mark().unzip();
        let policy = context.settings.cleanup;
        let lifeline = match &marker {
            Some(marker) => {
                let start = Lifeline::start(api, &request.workload, &request.user, marker, policy);
                match start.await {
                    Ok(lifeline) => Some(Arc::new(lifeline)),
                    Err(error) if error.is_retryable() => return Err(error),
                    // No shell there, in the words of whichever engine. What is wrong with the
                    // container itself, the session's own start says.
                    Err(error) => {
                        tracing::debug!(error = error.chain(), "a session without a lifeline");
                        None
                    }
                }
            }
            None => None,
        };
        let mut env = request.env.clone();
        env.extend(marker.as_ref().map(Marker::pair));
        let id = api.create_exec(request, &env).await?;
        let session_id = SessionId::new(id.clone())?;
        let keeper = marker.filter(|_| policy == Cleanup::Tree).map(|marker| {
            let watched = Watched {
                workload: request.workload.clone(),
                session: session_id.clone(),
                user: request.user.clone(),
                marker,
                working: lifeline.as_ref().map(|_| CleanupRung::Lifeline),
            };
            Arc::new(Keeper::new(context.clone(), watched, live))
        });
        // Dropped from here on, the call closes the stream; the guard ends what it started.
        let mut guard = StartGuard(keeper.as_ref());
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
        guard.0 = None;
        drop(guard);
        if let Some(keeper) = &keeper {
            keeper.check_sight();
        }
        let over = CancellationToken::new();
        clean_up_behind(&link, &over, lifeline.clone(), keeper.clone());
        Ok(Self {
            facts: ExitFacts::new(context, request.workload.clone(), session_id.clone()),
            api: Arc::clone(api),
            id: session_id,
            workload: request.workload.clone(),
            tty: request.tty,
            link,
            input: Mutex::new(input),
            output: Mutex::new(Some(Box::pin(output))),
            opening,
            exit: OnceCell::new(),
            over,
            lifeline,
            keeper,
        })
    }

    /// Asks the engine until the command has ended: soon after the end of the stream, now and then
    /// before, because nobody may be reading it.
    async fn find_exit(&self) -> Result<ExitStatus> {
        let mut pause = SHORTEST_PAUSE;
        let mut stream_ended = None;
        let mut failures = 0;
        loop {
            match self.facts.ask(self.opening.complaint()).await {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => failures = 0,
                // An engine that restarts comes back.
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
                    "lost: the connection ended and the command still runs",
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
}

/// Ends a command whose start was given up half-way.
struct StartGuard<'a>(Option<&'a Arc<Keeper>>);

impl Drop for StartGuard<'_> {
    fn drop(&mut self) {
        if let Some(keeper) = self.0 {
            clean_later(keeper);
        }
    }
}

/// Lets the lifeline go when the session is over, however that came, and sees to it that it worked.
fn clean_up_behind(
    link: &Link,
    over: &CancellationToken,
    lifeline: Option<Arc<Lifeline>>,
    keeper: Option<Arc<Keeper>>,
) {
    if lifeline.is_none() && keeper.is_none() {
        return;
    }
    let (ended, closed, over) = (link.ended().clone(), link.closed().clone(), over.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = ended.cancelled() => {}
            () = closed.cancelled() => {}
            () = over.cancelled() => {}
        }
        if let Some(lifeline) = lifeline {
            lifeline.let_go();
        }
        if let Some(keeper) = keeper {
            keeper.clean().await;
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
        if self.exit.initialized() || self.link.ended().is_cancelled() {
            return Ok(());
        }
        match &self.lifeline {
            Some(lifeline) => lifeline.signal(signal).await,
            None => Err(Error::unsupported(format!(
                "{signal} can't be sent: Docker's API has no way to, there is no stub, and no \
                 lifeline for lack of a shell in the container or of a cleanup policy"
            ))),
        }
    }

    async fn wait(&self) -> Result<ExitStatus> {
        // One asks for all; if that one leaves, the next goes on.
        let status = self.exit.get_or_try_init(|| self.find_exit()).await?;
        self.over.cancel();
        Ok(status.clone())
    }

    async fn close(&self) -> Result<()> {
        drop(take(&self.input));
        self.link.close();
        if let Some(lifeline) = &self.lifeline {
            lifeline.let_go();
        }
        match &self.keeper {
            Some(keeper) => keeper.cleaned().await,
            None => Ok(()),
        }
    }
}

impl Drop for DockerSession {
    fn drop(&mut self) {
        self.link.close();
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
/// With the pauses between them, an engine that restarts has a quarter of a minute.
const MOST_FAILURES: u32 = 30;
