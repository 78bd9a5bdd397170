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
    AttachRequest, Error, ExecInput, ExecOutput, ExecOutputStream, ExecSession, ExitStatus, Result,
    SessionId, Signal, TerminalSize,
};
use tokio::{io::AsyncWrite, sync::watch};
use tokio_util::sync::{CancellationToken, PollSender};

use super::cell::{Cell, StdinPiece};
use crate::{
    journal::{Holder, Journal, Read},
    lifecycle::Phase,
    output_log::Output,
};

/// Reads the workload's output as it comes and writes to its input. Of several attachments each
/// gets all output; their inputs are merged.
pub(super) struct Attachment {
    id: SessionId,
    cell: Arc<Cell>,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
    /// The session ends with this run. One that does not run yet is waited for.
    run: u64,
    closed: CancellationToken,
}

impl Attachment {
    pub(super) fn new(id: SessionId, cell: Arc<Cell>, request: &AttachRequest) -> Self {
        let closed = CancellationToken::new();
        let phase = cell.phase.subscribe();
        let run = {
            let phase = phase.borrow();
            phase.runs + u64::from(!phase.active)
        };
        let place = if request.backlog {
            cell.output.kept().0
        } else {
            cell.output.end()
        };
        let output = AttachedOutput {
            holder: cell.output.hold(place),
            journal: Arc::clone(&cell.output),
            phase,
            run,
            place,
            closed: closed.clone(),
        };
        let output = futures::stream::unfold(output, |mut output| async move {
            let piece = output.next().await?;
            Some((Ok(piece), output))
        });
        let input = cell.stdin.as_ref().filter(|_| request.stdin).map(|stdin| {
            Box::pin(QueueInput {
                queue: PollSender::new(stdin.sender.clone()),
                ended: false,
                closed: closed.clone(),
            }) as ExecInput
        });
        Self {
            id,
            cell,
            input: Mutex::new(input),
            output: Mutex::new(Some(Box::pin(output))),
            run,
            closed,
        }
    }
}

fn is_over(phase: &Phase, run: u64) -> bool {
    phase.gone || (!phase.active && phase.runs >= run)
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
            over = phase.wait_for(|phase| is_over(phase, self.run)) => {
                let exit = over.ok().and_then(|phase| phase.exit.clone());
                Ok(exit.unwrap_or_else(|| ExitStatus::unknown("the container was removed")))
            }
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

struct AttachedOutput {
    journal: Arc<Journal<Output>>,
    /// Slows the workload down to this reader.
    holder: Holder<Output>,
    phase: watch::Receiver<Phase>,
    run: u64,
    place: u64,
    closed: CancellationToken,
}

impl AttachedOutput {
    async fn next(&mut self) -> Option<ExecOutput> {
        loop {
            if self.closed.is_cancelled() {
                return None;
            }
            // Read before the journal: all output of a run is there before its end is told.
            let over = is_over(&self.phase.borrow_and_update(), self.run);
            match self.journal.read(self.place) {
                Read::Item(output, next) => {
                    self.place = next;
                    self.holder.advance(next);
                    return Some(ExecOutput {
                        kind: output.kind,
                        bytes: output.bytes,
                    });
                }
                Read::Missed(first) => self.place = first,
                Read::End if over => return None,
                Read::End => {
                    tokio::select! {
                        () = self.journal.reach(self.place) => {}
                        changed = self.phase.changed() => changed.ok()?,
                        () = self.closed.cancelled() => return None,
                    }
                }
            }
        }
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
