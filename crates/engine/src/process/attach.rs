//! An attachment to a workload's own process.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{
    AttachRequest, Error, ExecInput, ExecOutputStream, ExecSession, ExitStatus, Result, SessionId,
    Signal, TerminalSize,
};
use tokio::io::AsyncWrite;
use tokio_util::sync::{CancellationToken, PollSender};

use super::cell::{Cell, StdinPiece};
use crate::attached_output::{AttachedRun, attached_output};

/// Reads the workload's output as it comes and writes to its input. Of several attachments each
/// gets all output; their inputs are merged.
pub(super) struct Attachment {
    id: SessionId,
    cell: Arc<Cell>,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
    /// The session ends with this run. One that does not run yet is waited for.
    run: AttachedRun,
    closed: CancellationToken,
}

impl Attachment {
    pub(super) fn new(id: SessionId, cell: Arc<Cell>, request: &AttachRequest) -> Result<Self> {
        let closed = CancellationToken::new();
        let phase = cell.phase.subscribe();
        let run = AttachedRun::of(&phase.borrow(), request)?;
        let output = attached_output(&cell.output, phase, run, request.backlog, closed.clone());
        let input = cell.stdin.as_ref().filter(|_| request.stdin).map(|stdin| {
            Box::pin(QueueInput {
                queue: PollSender::new(stdin.sender.clone()),
                ended: false,
                closed: closed.clone(),
            }) as ExecInput
        });
        Ok(Self {
            id,
            cell,
            input: Mutex::new(input),
            output: Mutex::new(Some(output)),
            run,
            closed,
        })
    }
}

#[async_trait]
impl ExecSession for Attachment {
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
        match &self.cell.lock().run {
            Some(run) => run.terminal.as_ref().map_or(Ok(()), |t| t.resize(size)),
            None => Ok(()),
        }
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        match &self.cell.lock().run {
            Some(run) => run.leader.signal(signal),
            None => Ok(()),
        }
    }

    async fn wait(&self) -> Result<ExitStatus> {
        let mut phase = self.cell.phase.subscribe();
        tokio::select! {
            biased;
            over = phase.wait_for(|phase| self.run.is_over(phase)) => match over {
                Ok(phase) => Ok(AttachedRun::exit(&phase)),
                Err(_) => Err(Error::closed("the process engine has gone")),
            },
            () = self.closed.cancelled() => Err(Error::closed("the attachment was closed")),
        }
    }

    async fn close(&self) -> Result<()> {
        self.closed.cancel();
        drop((take(&self.input), take(&self.output)));
        Ok(())
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("id", &self.id)
            .field("workload", &self.cell.id)
            .finish_non_exhaustive()
    }
}

/// Writes into the workload's input queue.
struct QueueInput {
    queue: PollSender<StdinPiece>,
    ended: bool,
    closed: CancellationToken,
}

impl QueueInput {
    fn poll_send(&mut self, context: &mut Context<'_>, piece: StdinPiece) -> Poll<io::Result<()>> {
        if self.closed.is_cancelled() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.queue.poll_reserve(context)).map_err(gone)?;
        Poll::Ready(self.queue.send_item(piece).map_err(gone))
    }
}

impl AsyncWrite for QueueInput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let bytes = &bytes[..bytes.len().min(PIECE)];
        let piece = StdinPiece::Bytes(Bytes::copy_from_slice(bytes));
        ready!(self.poll_send(context, piece))?;
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(self.poll_send(context, StdinPiece::End))?;
            self.ended = true;
        }
        Poll::Ready(Ok(()))
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

const PIECE: usize = 16 * 1024;
