//! Exec and attach through the Docker API.

mod api;
mod attach;
mod cleanup;
mod exec;
mod input;
mod link;
mod output;

use std::sync::Arc;

use async_trait::async_trait;
use longshore_core::{
    AttachRequest, Clock, Connector, ExecBackend, ExecRequest, ExecSession, Random, Result,
    http::HttpClient,
};

use self::{api::Api, attach::DockerAttachment, exec::DockerSession};

/// What happens to a command whose session is closed or dropped before its end. Docker itself
/// leaves it running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cleanup {
    /// All processes of the session are killed, found by a mark in their environment. It needs a
    /// `sh` and a `grep` in the container; without, it is as [`Nothing`](Self::Nothing).
    #[default]
    Tree,
    /// Nothing: the command reads the end of its input, if it reads.
    Nothing,
}

/// Gets into the containers of one Docker engine, through any [`Connector`]: a unix socket, TLS, a
/// tunnel.
///
/// Bytes are passed on exactly, with and without a terminal; the output of a terminal is never
/// taken for frames, and no key is kept back for Docker's detach sequence. Reading slowly slows
/// the command down; nothing is buffered beyond one read.
///
/// A signal to a command is [`ErrorKind::Unsupported`](longshore_core::ErrorKind::Unsupported):
/// the API has none.
///
/// ```no_run
/// # async fn example(
/// #     connector: std::sync::Arc<dyn longshore_core::Connector>,
/// # ) -> longshore_core::Result<()> {
/// use std::sync::Arc;
/// use longshore_core::{ExecBackend, ExecRequest, OsRandom, SystemClock, TerminalSize, WorkloadId};
/// use longshore_exec::DockerExec;
///
/// let exec = DockerExec::new(connector, Arc::new(SystemClock::new()), Arc::new(OsRandom));
/// let shell = ExecRequest::new(WorkloadId::new("web")?, ["sh"])
///     .with_tty(TerminalSize::new(120, 40));
/// let session = exec.exec(&shell).await?;
/// println!("{}", session.wait().await?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DockerExec {
    api: Arc<Api>,
    cleanup: Cleanup,
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
        Self {
            api: Arc::new(Api {
                client,
                clock,
                random,
            }),
            cleanup: Cleanup::default(),
        }
    }

    /// Sets what happens to commands whose session is given up.
    #[must_use]
    pub fn with_cleanup(mut self, cleanup: Cleanup) -> Self {
        self.cleanup = cleanup;
        self
    }
}

#[async_trait]
impl ExecBackend for DockerExec {
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>> {
        let session = DockerSession::start(&self.api, request, self.cleanup).await?;
        Ok(Arc::new(session))
    }

    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>> {
        let session = DockerAttachment::start(&self.api, request).await?;
        Ok(Arc::new(session))
    }
}
