//! An attachment to a virtual workload.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use longshore_core::{
    Error, ExecInput, ExecOutputStream, ExecSession, ExitStatus, Result, SessionId, Signal,
    TerminalSize, WorkloadId,
};
use tokio::{io::AsyncWrite, sync::watch};
use tokio_util::sync::CancellationToken;

use super::engine::Shared;
use crate::{attached_output::AttachedRun, lifecycle::Phase};

/// See [`SimEngine`](super::SimEngine).
pub(super) struct SimAttachment {
    pub(super) id: SessionId,
    pub(super) workload: WorkloadId,
    pub(super) shared: Arc<Shared>,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) run: AttachedRun,
    pub(super) input: Mutex<Option<ExecInput>>,
    pub(super) output: Mutex<Option<ExecOutputStream>>,
    pub(super) closed: CancellationToken,
}

#[async_trait]
impl ExecSession for SimAttachment {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn take_input(&self) -> Option<ExecInput> {
        let mut input = self.input.lock().unwrap_or_else(PoisonError::into_inner);
        input.take()
    }

    fn take_output(&self) -> Option<ExecOutputStream> {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        output.take()
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        let mut node = self.shared.node();
        if let Some(workload) = node.workloads.get_mut(&self.workload)
            && let Some(process) = &mut workload.process
        {
            process.resize(size);
        }
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.shared
            .at_once(|node, now| node.kill(&self.workload, signal, now))
    }

    async fn wait(&self) -> Result<ExitStatus> {
        let mut phase = self.phase.clone();
        tokio::select! {
            biased;
            over = phase.wait_for(|phase| self.run.is_over(phase)) => match over {
                Ok(phase) => Ok(AttachedRun::exit(&phase)),
                Err(_) => Err(Error::closed("the simulated engine has gone")),
            },
            () = self.closed.cancelled() => Err(Error::closed("the attachment was closed")),
        }
    }

    async fn close(&self) -> Result<()> {
        self.closed.cancel();
        drop((self.take_input(), self.take_output()));
        Ok(())
    }
}

impl Drop for SimAttachment {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl fmt::Debug for SimAttachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimAttachment")
            .field("id", &self.id)
            .field("workload", &self.workload)
            .finish_non_exhaustive()
    }
}

/// Writes to the workload's own process.
pub(super) struct WorkloadInput {
    pub(super) workload: WorkloadId,
    pub(super) shared: Arc<Shared>,
    pub(super) closed: CancellationToken,
}

impl WorkloadInput {
    fn send(&self, bytes: Option<&[u8]>) -> io::Result<()> {
        if self.closed.is_cancelled() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.shared
            .at_once(|node, now| node.input(&self.workload, bytes, now))
            .map_err(|error| io::Error::new(io::ErrorKind::BrokenPipe, error))
    }
}

impl AsyncWrite for WorkloadInput {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.send(Some(bytes)).map(|()| bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The end of what has ended already is no error.
        let _ = self.send(None);
        Poll::Ready(Ok(()))
    }
}
