use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use longshore_core::{
    AttachRequest, BoxByteStream, Error, ErrorKind, ExecInput, ExecOutputStream, ExecSession,
    ExitStatus, Result, SessionId, Signal, TerminalSize, WorkloadId,
};
use tokio::sync::watch;

use super::{
    api::Api,
    exec::take,
    exit_facts::{self, Before},
    input::DockerInput,
    link::Link,
    output::{DockerOutput, Opening},
};

/// An attachment to a container's own process.
pub(super) struct DockerAttachment {
    api: Arc<Api>,
    id: SessionId,
    workload: WorkloadId,
    tty: bool,
    link: Link,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
    end: watch::Receiver<Option<End>>,
}

/// How the wait for the container's end ended.
#[derive(Clone, Debug)]
enum End {
    Exited(ExitStatus),
    Lost(String),
}

impl DockerAttachment {
    pub(super) async fn start(api: &Arc<Api>, request: &AttachRequest) -> Result<Self> {
        let container = api.inspect_container(&request.workload).await?;
        if !container.state.running && !request.next_run {
            // The engine itself would wait for the next run, whenever that is.
            return Err(Error::new(
                ErrorKind::Conflict,
                format!("container {} is not running", request.workload),
            )
            .with_backend("docker")
            .with_retryable(false));
        }
        // The container's terminal decides the framing, whatever anybody asks for.
        let tty = container.config.tty;
        let stdin = request.stdin && container.config.open_stdin;
        let is_log = request.backlog && !stdin && !tty && container.state.running;
        let link = Link::new(match is_log {
            true => follow(api, &request.workload).await?,
            false => {
                api.attach(&request.workload, stdin, request.backlog)
                    .await?
            }
        });
        let clock = Arc::clone(&api.clock);
        let output = DockerOutput::new(link.clone(), tty, Opening::default(), clock);
        let input = stdin.then(|| Box::pin(DockerInput::new(link.clone())) as ExecInput);
        let attached = api.clock.now();
        let end = watch_end(
            api,
            &link,
            request.workload.clone(),
            !container.state.running,
            Before {
                at: attached,
                out_of_memory: container.state.running && container.state.oom_killed,
            },
        );
        Ok(Self {
            api: Arc::clone(api),
            id: SessionId::new(api.random.hex(16))?,
            workload: request.workload.clone(),
            tty,
            link,
            input: Mutex::new(input),
            output: Mutex::new(Some(Box::pin(output))),
            end,
        })
    }
}

/// The log from its beginning. An attachment with what was before is not the same: the engine sends
/// that first and attaches then, and what is said in between is lost. On a terminal it is the better
/// one all the same, as the log keeps a line back until it ends.
async fn follow(api: &Api, workload: &WorkloadId) -> Result<BoxByteStream> {
    match api.follow_log(workload).await {
        // Where its driver keeps none, too.
        Err(error) if error.kind() != ErrorKind::NotFound && !error.is_retryable() => {
            tracing::debug!(%workload, error = error.chain(), "the engine has no log to follow");
            api.attach(workload, false, true).await
        }
        followed => followed,
    }
}

/// Waits for the end of the run that is attached to. The question is put right away: asked after
/// the end, a container that is removed with it can't tell any more.
fn watch_end(
    api: &Arc<Api>,
    link: &Link,
    workload: WorkloadId,
    next: bool,
    before: Before,
) -> watch::Receiver<Option<End>> {
    let (told, end) = watch::channel(None);
    let api = Arc::clone(api);
    let closed = link.closed().clone();
    tokio::spawn(closed.run_until_cancelled_owned(async move {
        let code = api.wait_container(&workload, next).await;
        told.send_replace(Some(match code {
            Ok(code) => End::Exited(exit_facts::of_container(&api, &workload, before, code).await),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                End::Exited(ExitStatus::unknown("the container was removed"))
            }
            Err(error) => End::Lost(error.chain()),
        }));
    }));
    end
}

#[async_trait]
impl ExecSession for DockerAttachment {
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
        if !self.tty {
            return Ok(());
        }
        let path = format!("/containers/{}", self.workload);
        self.api.resize(&path, size).await
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.api.kill_container(&self.workload, signal).await
    }

    async fn wait(&self) -> Result<ExitStatus> {
        let mut end = self.end.clone();
        match end.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(End::Exited(status))) => Ok(status.clone()),
            Ok(Some(End::Lost(why))) => Err(Error::unavailable(
                "the engine did not tell how the container ended",
            )
            .with_context("cause", why)),
            Ok(None) | Err(_) => Err(Error::closed("the attachment was closed")),
        }
    }

    async fn close(&self) -> Result<()> {
        self.link.close();
        drop((take(&self.input), take(&self.output)));
        Ok(())
    }
}

impl Drop for DockerAttachment {
    fn drop(&mut self) {
        self.link.close();
    }
}

impl fmt::Debug for DockerAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerAttachment")
            .field("id", &self.id)
            .field("workload", &self.workload)
            .field("tty", &self.tty)
            .finish_non_exhaustive()
    }
}
