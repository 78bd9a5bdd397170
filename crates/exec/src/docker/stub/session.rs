use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::stream;
use longshore_core::{
    BoxFuture, ClockExt, Error, ErrorKind, ExecInput, ExecOutputStream, ExecRequest, ExecSession,
    ExitStatus, Result, SessionId, Signal, TerminalSize,
};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Stub,
    conversation::Event,
    pump::{Ends, Pump},
    wrapped::wrap,
};
use crate::{
    cleanup::{Cleanup, CleanupReport, CleanupRung, Marker},
    docker::{
        api::ContainerState,
        context::Context,
        exec::take,
        exit_facts::ExitFacts,
        keeper::{Keeper, Watched},
        link::Link,
        starts::Starting,
    },
};

/// A command in a container, owned by a stub there.
pub(in crate::docker) struct StubSession {
    id: SessionId,
    tty: bool,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
    signals: mpsc::Sender<Signal>,
    size: watch::Sender<Option<TerminalSize>>,
    ending: CancellationToken,
    end: watch::Receiver<Option<Result<ExitStatus, String>>>,
    keeper: Option<Arc<Keeper>>,
    context: Context,
}

/// Why there is no session through the stub.
pub(in crate::docker) enum NoStub {
    /// Another way may do.
    Unusable(Error),
    /// No way will.
    Refused(Error),
}

impl StubSession {
    pub(in crate::docker) async fn start(
        context: &Context,
        request: &ExecRequest,
        container: &ContainerState,
        stub: &Stub,
    ) -> Result<Self, NoStub> {
        let starts = &context.starts;
        let mut starting = starts
            .turn(&context.api, &request.workload)
            .await
            .map_err(NoStub::Refused)?;
        let marker = context.mark();
        // A stub that went with its container, or was removed there, is put there once more.
        let mut attempt = 0;
        let (id, pump) = loop {
            attempt += 1;
            let placing = context
                .shared
                .placements
                .place(&context.api, &container.id, stub);
            let path = placing.await.map_err(|error| {
                context.shared.stub_refused(&error);
                refuse(error)
            })?;
            let marker = marker.as_ref();
            match call(context, request, container, &path, marker, &mut starting).await {
                Ok(called) => break called,
                Err(NoStub::Unusable(error)) if attempt == 1 => {
                    tracing::debug!(error = error.chain(), "the stub is put there again");
                    context.shared.placements.forget(&container.id);
                }
                Err(other) => return Err(other),
            }
        };
        starting.is_decided();
        Ok(Self::run(context, request, id, pump, marker))
    }

    /// Of a command that runs, or whose end is the first that will be heard.
    pub(super) fn run(
        context: &Context,
        request: &ExecRequest,
        id: SessionId,
        pump: Pump,
        marker: Option<Marker>,
    ) -> Self {
        let (near, far) = tokio::io::duplex(PIPE);
        let (output, received) = mpsc::channel(PIECES);
        let (signals, signals_out) = mpsc::channel(SIGNALS);
        let (size, size_out) = watch::channel(None);
        let (exit, mut told) = watch::channel(None);
        let (end_told, end) = watch::channel(None);
        let ending = CancellationToken::new();
        let ends = Ends {
            input: request.stdin.then_some(far),
            output,
            signals: signals_out,
            size: size_out,
            exit,
            ending: ending.clone(),
        };
        let keeper = keep(context, request, &id, marker);
        if let Some(keeper) = &keeper {
            keeper.check_sight();
        }
        let link = pump.link.clone();
        let facts = ExitFacts::new(context, request.workload.clone(), id.clone());
        let behind = keeper.clone();
        let (starts, workload) = (context.starts.clone(), request.workload.clone());
        let (api, session) = (Arc::clone(&context.api), id.clone());
        let closing = ending.clone();
        let clock = Arc::clone(&context.api.clock);
        tokio::spawn(async move {
            // The end is told once it is known, not when the stub has cleaned up behind it.
            let telling = async {
                let told = told.wait_for(Option::is_some).await;
                let status = told.ok().and_then(|status| status.clone());
                // The engine learns of it at the end of the stream.
                let untold = starts.untold(&workload);
                match status {
                    Some(status) => {
                        let status = facts.complete(status).await;
                        end_told.send_replace(Some(Ok(status)));
                    }
                    // The stream ended without a word.
                    None => {
                        let status = facts.find().await;
                        end_told.send_replace(Some(status.map_err(|error| error.chain())));
                    }
                }
                untold
            };
            // A stub that was told to end and does not is left to the end of its stream.
            let pumping = async {
                let overdue = async {
                    closing.cancelled().await;
                    clock.sleep(END_LIMIT).await;
                };
                let is_over = tokio::select! {
                    result = pump.run(ends) => {
                        if let Err(error) = &result {
                            tracing::debug!(error = error.chain(), "a stub's stream ended badly");
                        }
                        result.is_ok()
                    }
                    () = overdue => false,
                };
                link.close();
                is_over
            };
            let (untold, is_over) = tokio::join!(telling, pumping);
            let learning = async {
                if !is_over {
                    untold.until_told(&api, &session).await;
                }
            };
            let cleaning = async {
                if let Some(keeper) = behind {
                    keeper.clean().await;
                }
            };
            tokio::join!(learning, cleaning);
        });
        let output = stream::unfold(received, |mut received| async move {
            Some((received.recv().await?, received))
        });
        Self {
            id,
            tty: request.tty,
            input: Mutex::new(request.stdin.then(|| Box::pin(near) as ExecInput)),
            output: Mutex::new(Some(Box::pin(output))),
            signals,
            size,
            ending,
            end,
            keeper,
            context: context.clone(),
        }
    }

    /// Of a command that could not be started: it is over, and nobody has anything to end.
    pub(super) fn not_started(
        context: &Context,
        request: &ExecRequest,
        id: SessionId,
        status: ExitStatus,
    ) -> Self {
        let (near, _) = tokio::io::duplex(1);
        Self {
            id,
            tty: request.tty,
            input: Mutex::new(request.stdin.then(|| Box::pin(near) as ExecInput)),
            output: Mutex::new(Some(Box::pin(stream::empty()))),
            signals: mpsc::channel(1).0,
            size: watch::channel(None).0,
            ending: CancellationToken::new(),
            end: watch::channel(Some(Ok(status))).1,
            keeper: None,
            context: context.clone(),
        }
    }
}

/// Who cleans up behind a session, if anybody is to.
fn keep(
    context: &Context,
    request: &ExecRequest,
    id: &SessionId,
    marker: Option<Marker>,
) -> Option<Arc<Keeper>> {
    let marker = marker.filter(|_| context.settings.cleanup == Cleanup::Tree)?;
    let watched = Watched {
        workload: request.workload.clone(),
        session: id.clone(),
        user: request.user.clone(),
        marker,
        working: Some(CleanupRung::Stub),
        shellless: false,
    };
    Some(Arc::new(Keeper::new(context.clone(), watched)))
}

/// Starts the stub and hears its first words.
async fn call(
    context: &Context,
    request: &ExecRequest,
    container: &ContainerState,
    path: &str,
    marker: Option<&Marker>,
    starting: &mut Starting,
) -> Result<(SessionId, Pump), NoStub> {
    let api = &context.api;
    let session = wrap(context, request, container);
    let mut wrapped = request.clone();
    wrapped.tty = false;
    wrapped.stdin = true;
    wrapped.user = session.user;
    wrapped.command = vec![path.to_owned()];
    wrapped.command.extend(session.words);
    let mut env = request.env.clone();
    env.extend(marker.map(Marker::pair));
    let id = api.create_exec(&wrapped, &env).await.map_err(refuse)?;
    let session = SessionId::new(id.clone()).map_err(|error| NoStub::Refused(error.into()))?;
    starting.asks(session.clone());
    let stream = api.start_exec(&id, false, None).await;
    if stream.as_ref().is_err_and(|error| !error.is_retryable()) {
        starting.is_decided();
    }
    let stream = stream.map_err(refuse)?;
    let mut pump = Pump::new(Link::new(stream), Arc::clone(&api.clock));
    let mut first = async || loop {
        match pump.next().await {
            // The end of a command that did not start is told like any other.
            Ok(Some(event @ (Event::Started | Event::Ended(_)))) => return Ok(event),
            Ok(Some(_)) => {}
            Ok(None) => return Err(Error::protocol("the stub ended before it said a word")),
            Err(error) => return Err(error),
        }
    };
    let heard = api
        .clock
        .timeout(CALL_LIMIT, "the stub's first word", first());
    match heard.await.and_then(|heard| heard) {
        Ok(ended @ Event::Ended(_)) => {
            pump.talk.put_back(ended);
            Ok((session, pump))
        }
        Ok(_) => Ok((session, pump)),
        // It may yet begin, and would run the command beside one that is started anew.
        Err(error) if error.kind() == ErrorKind::Timeout => Err(NoStub::Refused(error)),
        Err(error) => Err(NoStub::Unusable(error)),
    }
}

/// Refusals that hold for every way in.
fn refuse(error: Error) -> NoStub {
    match error.kind() {
        ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Unavailable
        | ErrorKind::Timeout
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied => NoStub::Refused(error),
        _ => NoStub::Unusable(error),
    }
}

#[async_trait]
impl ExecSession for StubSession {
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
        if self.tty {
            self.size.send_replace(Some(size));
        }
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        // After the end there is nobody to get it.
        let _ = self.signals.send(signal).await;
        Ok(())
    }

    async fn wait(&self) -> Result<ExitStatus> {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(Ok(status))) => Ok(status.clone()),
            Ok(Some(Err(why))) => Err(Error::unavailable(
                "the engine did not tell how the command ended",
            )
            .with_context("cause", why)),
            Ok(None) | Err(_) => Err(Error::closed("the session's task was stopped")),
        }
    }

    async fn close(&self) -> Result<()> {
        self.ending.cancel();
        drop((take(&self.input), take(&self.output)));
        match &self.keeper {
            Some(keeper) => keeper.cleaned().await,
            None => {
                let waiting = self.context.api.clock.timeout(
                    END_LIMIT * 2,
                    "the end of the command",
                    self.wait(),
                );
                waiting.await.and_then(|ended| ended).map(drop)
            }
        }
    }

    fn cleaned(&self) -> BoxFuture<'static, Option<CleanupReport>> {
        match &self.keeper {
            Some(keeper) => Box::pin(Arc::clone(keeper).reported()),
            None => Box::pin(std::future::ready(None)),
        }
    }
}

impl Drop for StubSession {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

impl fmt::Debug for StubSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StubSession")
            .field("id", &self.id)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}

const PIPE: usize = 16 * 1024;
const PIECES: usize = 2;
const SIGNALS: usize = 16;
/// How long a container may take to start the stub.
pub(super) const CALL_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
/// How long a stub may take to end what it started. It gives up after ten seconds itself.
const END_LIMIT: std::time::Duration = std::time::Duration::from_secs(12);
