mod cleanup;
mod report;

use std::{fmt::Debug, pin::Pin, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWrite;

pub use self::{
    cleanup::Cleanup,
    report::{CleanupOutcome, CleanupReport, CleanupRung, LeftBehind},
};
use crate::{
    BoxFuture, BoxStream, Error, ExitStatus, OutputKind, Result, SessionId, Signal, WorkloadId,
};

/// A terminal's size in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

impl TerminalSize {
    /// Columns and rows.
    pub const fn new(columns: u16, rows: u16) -> Self {
        Self { columns, rows }
    }
}

/// 80 by 24.
impl Default for TerminalSize {
    fn default() -> Self {
        Self::new(80, 24)
    }
}

/// What to run inside a workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ExecRequest {
    /// Where.
    pub workload: WorkloadId,
    /// Program and arguments.
    pub command: Vec<String>,
    /// `NAME=value` pairs added to the workload's environment.
    pub env: Vec<String>,
    /// Where it runs; empty: as the workload.
    pub working_dir: String,
    /// As whom; empty: as the workload.
    pub user: String,
    /// Whether it gets a terminal; output and error output are one stream then.
    pub tty: bool,
    /// Whether it gets a standard input; without, it reads the end at once.
    pub stdin: bool,
    /// The terminal's first size.
    pub size: Option<TerminalSize>,
    /// With extended privileges, where the engine knows such.
    pub privileged: bool,
    /// What happens to its processes when the session ends; `None`: what the backend does by default
    /// ([`ExecBackend::default_cleanup`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup: Option<Cleanup>,
}

impl ExecRequest {
    /// A command without terminal and input.
    pub fn new<I, S>(workload: WorkloadId, command: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self {
            workload,
            command: command.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            working_dir: String::new(),
            user: String::new(),
            tty: false,
            stdin: false,
            size: None,
            privileged: false,
            cleanup: None,
        }
    }

    /// With a terminal of this size, and with input.
    #[must_use]
    pub fn with_tty(mut self, size: TerminalSize) -> Self {
        self.tty = true;
        self.stdin = true;
        self.size = Some(size);
        self
    }

    /// With a standard input.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// Adds a `NAME=value` pair.
    #[must_use]
    pub fn with_env(mut self, pair: impl Into<String>) -> Self {
        self.env.push(pair.into());
        self
    }

    /// Says what happens to its processes when the session ends.
    #[must_use]
    pub fn with_cleanup(mut self, cleanup: Cleanup) -> Self {
        self.cleanup = Some(cleanup);
        self
    }

    /// For backends that end all processes of a session with it and can do no less.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported): another cleanup is asked for.
    pub fn only_cleans_up_all(&self, backend: &'static str) -> Result<()> {
        match self.cleanup {
            None | Some(Cleanup::Tree) => Ok(()),
            Some(other) => Err(Error::unsupported(format!(
                "cleanup {other}: all processes of a session end with it here, ask for tree or leave \
                 it out"
            ))
            .with_backend(backend)),
        }
    }
}

/// How to attach to a workload's own process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttachRequest {
    /// To which.
    pub workload: WorkloadId,
    /// Whether input is sent.
    pub stdin: bool,
    /// Whether output that was there before is sent first. Without input that is a log which is
    /// followed: nothing is missing between what was and what comes, as far back as the backend keeps
    /// it. On a terminal something may be.
    pub backlog: bool,
    /// Whether the next run of a workload that does not run is waited for, as `docker run` needs it,
    /// which attaches before the start. A backend that can't wait refuses as if it had not been asked.
    #[serde(default)]
    pub next_run: bool,
}

impl AttachRequest {
    /// Output only, from now on.
    pub fn new(workload: WorkloadId) -> Self {
        Self {
            workload,
            stdin: false,
            backlog: false,
            next_run: false,
        }
    }

    /// With input.
    #[must_use]
    pub fn with_stdin(mut self) -> Self {
        self.stdin = true;
        self
    }

    /// With earlier output first.
    #[must_use]
    pub fn with_backlog(mut self) -> Self {
        self.backlog = true;
        self
    }

    /// Also to a workload that does not run: to its next run then.
    #[must_use]
    pub fn with_next_run(mut self) -> Self {
        self.next_run = true;
        self
    }
}

/// A piece of output, byte-exact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// From which output.
    pub kind: OutputKind,
    /// The bytes.
    pub bytes: Bytes,
}

/// The input of a session. Shutting it down is the end of the input, not of the session.
pub type ExecInput = Pin<Box<dyn AsyncWrite + Send>>;

/// The output of a session in order; ends after all of it was read. Reading slowly slows the process.
pub type ExecOutputStream = BoxStream<Result<ExecOutput>>;

/// A running command or attachment.
///
/// Input and output are taken once and moved to whoever pumps them; size, signals and the end are
/// shared. Rules held by the conformance suite: all output comes before the end of the output
/// stream, byte-exact with and without a terminal; [`wait`](Self::wait) gives the same answer to
/// every caller and never a false 0; output is not lost when the process ends at once; taking a
/// pipe twice gives `None`; a resize after the end is no error.
#[async_trait]
pub trait ExecSession: Debug + Send + Sync + 'static {
    /// The session's id.
    fn id(&self) -> &SessionId;

    /// The input, once; `None` if taken or not asked for.
    fn take_input(&self) -> Option<ExecInput>;

    /// The output, once; `None` if taken.
    fn take_output(&self) -> Option<ExecOutputStream>;

    /// Sets the terminal's size. Without a terminal, or after the end, nothing happens. Cancel safe.
    async fn resize(&self, size: TerminalSize) -> Result<()>;

    /// Sends a signal to what is in the foreground: of the session's terminal, else the command's
    /// own process group. At any time; after the end nothing happens. Cancel safe.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where the backend has no way to.
    async fn signal(&self, signal: Signal) -> Result<()>;

    /// Waits for the end. The output need not be read for it, but a process that waits for its
    /// reader does not end. Cancel safe; may be called again.
    async fn wait(&self) -> Result<ExitStatus>;

    /// Gives the session up: its streams end, the process is ended as far as the backend can.
    /// Closing twice is no error. Dropping the last handle does the same without waiting.
    async fn close(&self) -> Result<()>;

    /// What became of the session's processes behind its end, once that is known; `None` where the
    /// backend does not look. It holds nothing open: a session whose last handle is dropped ends all
    /// the same, and what was ended behind it is told here.
    fn cleaned(&self) -> BoxFuture<'static, Option<CleanupReport>> {
        Box::pin(std::future::ready(None))
    }
}

/// Getting into workloads of one engine.
#[async_trait]
pub trait ExecBackend: Debug + Send + Sync + 'static {
    /// Starts a command in a workload.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown workload,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for one that does not run,
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for an empty command,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a cleanup that can't be had. A
    /// program that can't be found or run is reported here, or by `wait` with code 126 or 127.
    ///
    /// # Cancel safety
    /// Safe: a command started by a dropped call is closed.
    async fn exec(&self, request: &ExecRequest) -> Result<Arc<dyn ExecSession>>;

    /// Attaches to the workload's own process. Its end is the session's end; closing the session
    /// leaves the workload alone.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for an unknown workload,
    /// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for one that does not run, also where only
    /// what it said before is wanted: that is in its log. With
    /// [`next_run`](AttachRequest::next_run) its next run may be waited for instead.
    ///
    /// # Cancel safety
    /// Safe.
    async fn attach(&self, request: &AttachRequest) -> Result<Arc<dyn ExecSession>>;

    /// What happens to the processes of a session whose request does not say; `None`: the backend
    /// does not know, because it is decided elsewhere.
    fn default_cleanup(&self) -> Option<Cleanup> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn request() -> ExecRequest {
        ExecRequest::new(WorkloadId::new("web").unwrap(), ["sh"])
    }

    /// What a peer wrote that knows of no cleanup, and what it is sent.
    #[test]
    fn a_request_without_a_cleanup_is_written_and_read_as_before() {
        let written = serde_json::to_value(request()).unwrap();
        assert!(!written.as_object().unwrap().contains_key("cleanup"));
        let read: ExecRequest = serde_json::from_value(written).unwrap();
        assert_eq!(read, request());
        for cleanup in Cleanup::ALL {
            let asked = request().with_cleanup(cleanup);
            let written = serde_json::to_value(&asked).unwrap();
            assert_eq!(written["cleanup"], cleanup.as_str());
            assert_eq!(
                serde_json::from_value::<ExecRequest>(written).unwrap(),
                asked
            );
        }
    }

    #[test]
    fn who_can_only_end_all_refuses_what_is_less_and_names_it() {
        assert!(request().only_cleans_up_all("sim").is_ok());
        let asked = |cleanup| request().with_cleanup(cleanup).only_cleans_up_all("sim");
        assert!(asked(Cleanup::Tree).is_ok());
        for less in [Cleanup::Foreground, Cleanup::Nothing] {
            let error = asked(less).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.to_string().contains(less.as_str()), "{error}");
        }
    }
}
