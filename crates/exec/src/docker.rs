//! Exec and attach through the Docker API.

mod api;
mod attach;
mod behind;
mod context;
mod exec;
mod exit_facts;
mod input;
mod keeper;
mod lifeline;
mod link;
mod looks;
mod output;
mod reaper;
mod sidecar;
mod starts;
mod stub;
mod sweep;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    AttachRequest, Clock, ClockExt, Connector, Error, ExecBackend, ExecRequest, ExecSession,
    Random, Result, http::HttpClient,
};

pub use self::stub::{Stub, WaitingStubs};
use self::{
    api::Api,
    attach::DockerAttachment,
    context::{Context, Listener, Settings, Shared},
    exec::DockerSession,
    starts::Starts,
    stub::{NoStub, StubSession, Waiting},
};
use crate::{
    cleanup::{Cleanup, CleanupReport, GatewayLife, Reaped},
    session::HELPER_SHELL,
};

/// Gets into the containers of one Docker engine, through any [`Connector`]: a unix socket, TLS, a
/// tunnel.
///
/// Bytes are passed on exactly, with and without a terminal; the output of a terminal is never
/// taken for frames, and no key is kept back for Docker's detach sequence. Reading slowly slows
/// the command down; nothing is buffered beyond one read.
///
/// # What is left behind
/// Docker leaves a command running when its caller goes away. Here all processes of a session end
/// with it ([`Cleanup::Tree`]) after it ended by itself, was closed or dropped, after this program
/// was killed, and ten seconds after the engine was cut off. Who may come back to a session keeps it;
/// as long as it is held, it lives. In this order, by what there is:
///
/// 1. a [`Stub`] in the container owns the session ([`with_stub`](Self::with_stub)): nothing leaves
///    its tree, signals arrive, the end is told exactly, and the image needs no shell: the stub is one
///    as well, by the name [`HELPER_SHELL`];
/// 2. a shell with `tr` and `grep` in the container watches over all sessions of a user there. It is
///    started before the first, and goes a minute after the last; it goes on looking for half a
///    minute when this program died, because the engine may still be starting what it was asked to.
///    It knows processes by a mark in their environment, by their parent and by their terminal's
///    session; one that shed all three is named in the report as perhaps the session's. Where the
///    container has no such shell and an image with one is given
///    ([`with_sidecar_image`](Self::with_sidecar_image)), it runs in a helper container beside it;
/// 3. a container of our own in the container's process namespace is made behind the session, where
///    the stub or an image for it is given.
///
/// Then the engine's own process table is looked at, and a [`CleanupReport`] says what came of it:
/// aloud (as a warning) if anything is left or can't be seen. It is hygiene, not a security boundary:
/// hostile code can shed or borrow a mark. Commands of an earlier life of this program are found by
/// [`reap`](Self::reap).
///
/// # Signals
/// They go to the foreground process group of the session's terminal, else to the command's own.
/// Without a stub, and without a shell in the container or an image for one beside it, or where the
/// container is in the host's process namespace, it is
/// [`ErrorKind::Unsupported`](longshore_core::ErrorKind::Unsupported): the API has none.
///
/// # How it ended
/// A reason begins with one of the words `start-failed:`, `oom:`, `container-gone:` and `lost:`. An
/// end that nobody saw has no code.
///
/// ```no_run
/// # async fn example(
/// #     connector: std::sync::Arc<dyn longshore_core::Connector>,
/// # ) -> longshore_core::Result<()> {
/// use std::sync::Arc;
/// use futures::StreamExt;
/// use longshore_core::{ExecBackend, ExecRequest, OsRandom, SystemClock, WorkloadId};
/// use longshore_exec::DockerExec;
///
/// let exec = DockerExec::new(connector, Arc::new(SystemClock::new()), Arc::new(OsRandom));
/// let request = ExecRequest::new(WorkloadId::new("web")?, ["sh", "-c", "echo hi; exit 7"]);
/// let session = exec.exec(&request).await?;
/// let mut output = session.take_output().expect("it is taken once");
/// while let Some(piece) = output.next().await {
///     let piece = piece?;
///     println!("{:?}: {:?}", piece.kind, piece.bytes);
/// }
/// assert_eq!(session.wait().await?.code, Some(7));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DockerExec {
    context: Context,
    /// Beside the context: sessions keep that, and not the stubs that wait for others.
    waiting: Option<Waiting>,
}

impl DockerExec {
    /// The engine behind this connector.
    pub fn new(
        connector: Arc<dyn Connector>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let client = HttpClient::new(connector, Arc::clone(&clock));
        Self::over(client, clock, random)
    }

    /// The engine behind this client, whose idle connections are shared.
    pub fn over(client: HttpClient, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Self {
        let settings = Settings::new(&*random);
        let api = Api {
            client,
            clock,
            random,
        };
        Self {
            context: Context {
                api: Arc::new(api),
                shared: Arc::new(Shared::default()),
                settings,
                starts: Starts::default(),
            },
            waiting: None,
        }
    }

    /// Sets what happens to what a session leaves behind whose request does not say
    /// ([`ExecRequest::with_cleanup`]).
    ///
    /// [`Cleanup::Foreground`] needs somebody inside: a stub, or a shell in the container or beside it.
    /// Where there is none, and in a container in the host's process namespace that has no stub, such a
    /// session is refused. With [`Cleanup::Nothing`] nobody is inside, also where there is a stub, so
    /// there are no signals, and no [`HELPER_SHELL`].
    #[must_use]
    pub fn with_cleanup(mut self, cleanup: Cleanup) -> Self {
        self.context.settings.cleanup = cleanup;
        self
    }

    /// Lets a stub own the sessions, and be a helper where a login finds no shell
    /// ([`HELPER_SHELL`]).
    #[must_use]
    pub fn with_stub(mut self, stub: Stub) -> Self {
        self.context.settings.stub = Some(stub);
        self
    }

    /// Has stubs wait in containers where somebody was let in lately, so that the next session there
    /// begins without the engine: in less than a tenth of the time (0.07 of it, where that was
    /// measured). Without
    /// [`with_stub`](Self::with_stub) it does nothing. Off by default: each that waits is a process
    /// of about a megabyte in the container, and a command of the engine's. Clones share them.
    ///
    /// The first session in a container is opened as ever. Then a stub is started behind it, when
    /// nobody waits for the engine to start a command, and another after each that was used. It
    /// carries this gateway's mark, so that this life's [`reap`](Self::reap) leaves it alone and the
    /// next life's ends it; and it ends by itself when this program dies, or was silent for ten
    /// seconds. When the last clone of this is dropped, all of them end; sessions go on. The engine
    /// lists it among the container's commands (`ExecIDs`), by the id that its session will have.
    ///
    /// A session is the same either way: the stub starts itself anew with the arguments, environment
    /// and folder that the engine would have started it with, and looks the user up then. What it
    /// can't do so is left to the engine: `privileged`; a folder that is not absolute, or that can't
    /// be gone to; a name in `env` without a value, or an empty `HOME`; a request of more than
    /// 32 KiB; [`Cleanup::Nothing`]; a container that is paused, or shares its process namespace with
    /// others; and any session when `/etc/passwd` or `/etc/group` have changed since the stub was
    /// started, or in the five seconds before that. So are sessions whose stub has ended, or does not answer within a second. One that
    /// was told to start the command, and then says nothing for twenty seconds or is cut off, is an
    /// error ([`ErrorKind::Unavailable`](longshore_core::ErrorKind::Unavailable)): the command is
    /// never started twice. A program that is not there uses no stub up: the session that ends so has
    /// the id of the stub's command, and a later one may have it again; nothing is looked for behind
    /// it, and it has no [`CleanupReport`].
    ///
    /// ```no_run
    /// # fn example(exec: longshore_exec::DockerExec, stub: longshore_exec::Stub) {
    /// use longshore_exec::WaitingStubs;
    ///
    /// let exec = exec.with_stub(stub).with_waiting_stubs(WaitingStubs::default());
    /// # }
    /// ```
    #[must_use]
    pub fn with_waiting_stubs(mut self, options: WaitingStubs) -> Self {
        self.waiting = Some(Waiting::new(options));
        self
    }

    /// How many stubs wait just now.
    pub fn waiting_stubs(&self) -> usize {
        self.waiting.as_ref().map_or(0, Waiting::count)
    }

    /// Names an image that the engine has, with `sh`, `tr`, `grep`, `sleep` and `kill` in it, for
    /// signals and cleanup where the container itself has no shell. Not needed with a stub, except
    /// where that can't be used.
    ///
    /// The first session in such a container has a helper container made of it, which watches over
    /// all sessions there until a minute after the last. It is in the container's process namespace
    /// and in no network, its root can't be written, and it may read and signal the processes of all
    /// users (`SYS_PTRACE`, `KILL`, `DAC_OVERRIDE`). A container that has `SYS_PTRACE` of its own can
    /// take it over, and gains no more than these. The engine lists it like any container, with the label `longshore.exec` of the value `lifeline`, and removes it when it has
    /// ended: at its work's end, with the container, or half a minute after this program died. What
    /// was only made by then, and not started, [`reap`](Self::reap) removes.
    ///
    /// Where the engine can't make it, because it has no such image or lets nobody into the namespace,
    /// sessions begin without a watch, and it is tried again after a minute. Its absence can be seen
    /// in the reports' rungs; a debug message says why.
    #[must_use]
    pub fn with_sidecar_image(mut self, image: impl Into<String>) -> Self {
        self.context.settings.sidecar_image = Some(image.into());
        self
    }

    /// Sets how many commands the engine is asked to start at a time; 16, a quarter of them in one
    /// container. It starts a few a second, and asked for more at once it starts all of them late. The
    /// others wait in the order in which they came, at most 4,096 of them.
    #[must_use]
    pub fn with_starts(mut self, at_once: NonZeroUsize) -> Self {
        self.context.starts = Starts::new(at_once);
        self
    }

    /// Has sessions belong to this life of a gateway, so that the next life knows them again. All
    /// backends of one program take clones of one life: see [`GatewayLife`]. Set it before the first
    /// session. Without it each backend has a life of its own, which nobody knows again.
    #[must_use]
    pub fn with_gateway(mut self, life: GatewayLife) -> Self {
        self.context.settings.life = life;
        self
    }

    /// Has each cleanup's report told, the good ones too. It is called on the runtime and must not
    /// block.
    #[must_use]
    pub fn with_cleanup_listener(
        mut self,
        listener: impl Fn(&CleanupReport) + Send + Sync + 'static,
    ) -> Self {
        self.context.settings.listener = Listener(Some(Arc::new(listener)));
        self
    }

    /// Ends, in all containers that run, what sessions of other lives of this gateway left behind
    /// ([`with_gateway`](Self::with_gateway)), and what this life could not end when it was to. No
    /// session of this life that goes on is touched, nor any of another gateway. Call it at the
    /// start, and when the engine is reached again. Helper containers that other lives made and never
    /// started are removed, and whoever's have not run for ten minutes.
    ///
    /// Four containers are looked into at a time. One that the engine does not answer for within
    /// half a minute is [named](Reaped::unanswered); those whose processes it can't show are passed
    /// over.
    ///
    /// # Errors
    /// The engine does not say which containers run.
    ///
    /// # Cancel safety
    /// Safe: what was begun is found by the next call.
    pub async fn reap(&self) -> Result<Reaped> {
        reaper::reap(&self.context).await
    }

    /// Reaps now and then for ever. Failures are logged, and tried again.
    pub async fn reap_every(&self, pause: Duration) {
        loop {
            if let Err(error) = self.reap().await {
                tracing::warn!(
                    error = error.chain(),
                    "lost sessions could not be looked for"
                );
            }
            self.context.api.clock.sleep(pause).await;
        }
    }
}

impl DockerExec {
    async fn through_stub(
        &self,
        context: &Context,
        request: &ExecRequest,
        stub: &Stub,
    ) -> Result<StubSession, NoStub> {
        let container = context.api.inspect_container(&request.workload).await;
        let container = &container.map_err(NoStub::Refused)?;
        let Some(waiting) = &self.waiting else {
            return StubSession::start(context, request, container, stub).await;
        };
        let opened = waiting.open(context, request, container, stub).await;
        let session = match opened.map_err(NoStub::Refused)? {
            Some(session) => session,
            None => StubSession::start(context, request, container, stub).await?,
        };
        // The next session may have another cleanup than this one.
        waiting.entered(&self.context, request, container, stub);
        Ok(session)
    }
}

/// As a program that is not there.
fn no_helper(why: &str, cause: Option<Error>) -> Error {
    let error = Error::unsupported(format!("no helper in place of a shell: {why}"));
    let error = error.with_context("exit_code", 127);
    match cause {
        Some(cause) => error.with_source(cause),
        None => error,
    }
}

#[async_trait]
impl ExecBackend for DockerExec {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        if request.command.is_empty() {
            return Err(Error::invalid("the command to execute is empty"));
        }
        let context = self.context.under(request.cleanup);
        let settings = &context.settings;
        let is_helper = request.command == [HELPER_SHELL];
        // What nobody is to end is nobody's to own.
        if is_helper && settings.cleanup == Cleanup::Nothing {
            return Err(no_helper(
                "it ends with its session, and cleanup none ends nothing",
                None,
            ));
        }
        if let Some(stub) = settings
            .stub
            .as_ref()
            .filter(|_| settings.cleanup != Cleanup::Nothing)
            .filter(|_| !context.shared.refuses_stubs())
        {
            match self.through_stub(&context, request, stub).await {
                Ok(session) => return Ok(Arc::new(session)),
                Err(NoStub::Refused(error)) => return Err(error),
                Err(NoStub::Unusable(error)) if context.shared.refuses_stubs() => {
                    let error = error.chain();
                    tracing::info!(error, "this engine takes no stub, and is not asked again");
                    if is_helper {
                        return Err(no_helper("the engine takes no stub", None));
                    }
                }
                Err(NoStub::Unusable(error)) if is_helper => {
                    let error = no_helper("the stub can't be used in this container", error.into());
                    return Err(error);
                }
                Err(NoStub::Unusable(error)) => {
                    let workload = &request.workload;
                    tracing::warn!(%workload, error = error.chain(), "a session without the stub");
                }
            }
        } else if is_helper {
            return Err(no_helper(
                "there is no stub here that could be one (build it: `cargo xtask stub`; `DockerExec::with_stub`, `platform manage --exec-stub`)",
                None,
            ));
        }
        Ok(Arc::new(DockerSession::start(&context, request).await?))
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        let session = DockerAttachment::start(&self.context.api, request).await?;
        Ok(Arc::new(session))
    }

    fn default_cleanup(&self) -> Option<Cleanup> {
        Some(self.context.settings.cleanup)
    }
}
