use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    BoxFuture, ClockExt, Error, ExecInput, ExecOutputStream, ExecRequest, ExecSession, ExitStatus,
    Result, SessionId, Signal, TerminalSize, WorkloadId,
};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use super::{
    api::Api,
    behind::Behind,
    context::Context,
    exit_facts::{self, ExitFacts},
    input::DockerInput,
    keeper::{Keeper, Watched, clean_later},
    lifeline::{Hold, Watch, not_running},
    link::Link,
    output::{DockerOutput, Opening},
};
use crate::cleanup::{Cleanup, CleanupReport, LATE_START, Marker};

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
    lifeline: Option<Arc<Hold>>,
    keeper: Option<Arc<Keeper>>,
}

impl DockerSession {
    /// Starts a command directly, under the watch of the container's lifeline, where there is a
    /// shell for it.
    pub(super) async fn start(context: &Context, request: &ExecRequest) -> Result<Self> {
        let api = &context.api;
        let policy = context.settings.cleanup;
        let mut starting = context.starts.turn(api, &request.workload).await?;
        let watch = Watch::over(context, request).await?;
        let (lifeline, shellless) = (watch.hold, watch.shellless);
        if policy == Cleanup::Foreground {
            can_end_the_foreground(api, &request.workload, lifeline.is_some()).await?;
        }
        let marker = match &lifeline {
            Some(hold) => Some(hold.marker().clone()),
            None => context.mark(),
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
                working: None,
                shellless,
            };
            let keeper = Keeper::new(context.clone(), watched);
            Arc::new(keeper.with_lifeline(lifeline.clone()))
        });
        // Dropped from here on, the call closes the stream; the guard ends what it started.
        let mut guard = StartGuard {
            api,
            keeper: keeper.as_ref(),
            lifeline: lifeline.as_ref(),
            late: true,
        };
        starting.asks(session_id.clone());
        let stream = api.start_exec(&id, request.tty, request.size).await;
        // Refused, it does not begin; without an answer it may, and with one it is about to.
        if stream.as_ref().is_err_and(|error| !error.is_retryable()) {
            guard.late = false;
            starting.is_decided();
        }
        let link = Link::new(stream?);
        starting.ends_with(link.ended().clone());
        let opening = Opening::default();
        let clock = Arc::clone(&api.clock);
        let output = DockerOutput::new(link.clone(), request.tty, opening.clone(), clock);
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
        (guard.keeper, guard.lifeline) = (None, None);
        drop((guard, starting));
        if let Some(keeper) = &keeper {
            keeper.check_sight();
        }
        let over = CancellationToken::new();
        let behind = Behind {
            context: context.clone(),
            workload: request.workload.clone(),
            session: session_id.clone(),
            link: link.clone(),
            over: over.clone(),
            lifeline: lifeline.clone(),
            keeper: keeper.clone(),
        };
        tokio::spawn(behind.run());
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

    /// Nobody holds it any more. Where its processes are ended, that comes first: a flood that nobody
    /// takes stands still, and let go before its end it would run as fast as it can, into nowhere.
    fn let_go(&self) {
        match self.keeper.is_some() || self.lifeline.is_some() {
            true => self.link.leave(),
            false => self.link.close(),
        }
    }

    /// An engine knows that a command could not be started before its words about that, which are the
    /// session's only output, were read. They are waited for, and read where nobody else reads.
    async fn explained(&self, status: ExitStatus) -> ExitStatus {
        if !exit_facts::is_unexplained(&status) {
            return status;
        }
        let words = async {
            tokio::select! {
                () = self.opening.noted().cancelled() => {}
                () = self.link.ended().cancelled() => {}
                () = self.link.closed().cancelled() => {}
                () = self.look_at_the_output() => {}
            }
        };
        let waited = self.api.clock.timeout(WORDS_LIMIT, "the reason", words);
        if let Err(error) = waited.await {
            tracing::debug!(error = error.chain(), "the engine does not say why");
        }
        exit_facts::explain(status, self.opening.words())
    }

    /// Reads the first of the output, for whoever comes for it, too. Pends where somebody has it.
    async fn look_at_the_output(&self) {
        let looking = std::future::poll_fn(|context| {
            let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(mut rest) = output.take() else {
                return Poll::Pending;
            };
            match rest.as_mut().poll_next(context) {
                Poll::Pending => {
                    *output = Some(rest);
                    Poll::Pending
                }
                Poll::Ready(first) => {
                    *output = Some(Box::pin(futures::stream::iter(first).chain(rest)));
                    Poll::Ready(())
                }
            }
        });
        looking.await;
    }

    /// Asks the engine until the command has ended: soon after the end of the stream, now and then
    /// before, because nobody may be reading it.
    async fn find_exit(&self) -> Result<ExitStatus> {
        let mut pause = SHORTEST_PAUSE;
        let mut stream_ended = None;
        let mut failures = 0;
        loop {
            match self.facts.ask(self.opening.complaint()).await {
                Ok(Some(status)) => return Ok(self.explained(status).await),
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

/// What is in the foreground is known from inside only, and where it is told from its parent.
async fn can_end_the_foreground(
    api: &Api,
    workload: &WorkloadId,
    has_lifeline: bool,
) -> Result<()> {
    let container = api.inspect_container(workload).await?;
    let why = if !container.state.running {
        return Err(not_running(workload));
    } else if !has_lifeline {
        "there is no stub, and no lifeline just now for lack of a shell in the container and of an \
         image for one beside it"
    } else if container.is_among_the_hosts() {
        "there is no stub, and the container is in the host's process namespace"
    } else {
        return Ok(());
    };
    Err(Error::unsupported(format!(
        "cleanup foreground can't be had here: {why}; ask for tree, or none"
    )))
}

/// Ends a command whose start was given up half-way.
struct StartGuard<'a> {
    api: &'a Arc<Api>,
    keeper: Option<&'a Arc<Keeper>>,
    lifeline: Option<&'a Arc<Hold>>,
    /// Whether the engine may yet start it.
    late: bool,
}

impl Drop for StartGuard<'_> {
    fn drop(&mut self) {
        match (self.keeper, self.lifeline) {
            (Some(keeper), _) => {
                if self.late {
                    keeper.expect_late_start();
                }
                keeper.end();
                clean_later(keeper);
            }
            (None, Some(lifeline)) => {
                drop(lifeline.end());
                // And once more, should the engine still start it.
                if let Ok(runtime) = tokio::runtime::Handle::try_current()
                    && self.late
                {
                    let (clock, lifeline) = (Arc::clone(&self.api.clock), Arc::clone(lifeline));
                    runtime.spawn(async move {
                        clock.sleep(LATE_START).await;
                        drop(lifeline.end());
                    });
                }
            }
            (None, None) => {}
        }
    }
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
            Some(lifeline) => {
                let container = self.api.inspect_container(&self.workload).await;
                if container.is_ok_and(|container| container.is_among_the_hosts()) {
                    return Err(Error::unsupported(format!(
                        "{signal} can't be sent: the container is in the host's process namespace, \
                         where the session's foreground can't be told from the outside"
                    )));
                }
                lifeline.signal(signal).await
            }
            None => Err(Error::unsupported(format!(
                "{signal} can't be sent: Docker's API has no way to, there is no stub, and no \
                 lifeline for lack of a shell in the container and of an image for one beside it, \
                 or of a cleanup policy"
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
        self.let_go();
        match &self.keeper {
            Some(keeper) => {
                keeper.end();
                keeper.cleaned().await
            }
            None => Ok(()),
        }
    }

    fn cleaned(&self) -> BoxFuture<'static, Option<CleanupReport>> {
        match &self.keeper {
            Some(keeper) => Box::pin(Arc::clone(keeper).reported()),
            None => Box::pin(std::future::ready(None)),
        }
    }
}

impl Drop for DockerSession {
    fn drop(&mut self) {
        self.let_go();
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

/// An engine writes why a command could not be started right before it says so.
const WORDS_LIMIT: Duration = Duration::from_secs(1);
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long after the end of its stream a command may still be running.
const LONGEST_DELAY: Duration = Duration::from_secs(10);
/// With the pauses between them, an engine that restarts has a quarter of a minute.
const MOST_FAILURES: u32 = 30;
