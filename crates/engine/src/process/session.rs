//! A command started in a workload.

use std::{
    collections::VecDeque,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use async_trait::async_trait;
use futures::Stream;
use longshore_core::{
    BoxFuture, Error, ExecInput, ExecOutput, ExecOutputStream, ExecSession, ExitStatus, OutputKind,
    Result, SessionId, Shutdown, Signal, TerminalSize,
};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{
    family::Family,
    launch::Launched,
    leader::Leader,
    pipe::{Pipe, Terminal},
};

/// A child of this program that is reached through its pipes or its terminal.
///
/// Its output is read only as fast as somebody asks for it. When it ends by itself, what it left
/// in the background goes on until its workload ends, as in a container; closing the session, or
/// dropping it, ends them all.
pub(super) struct ChildSession {
    id: SessionId,
    leader: Arc<Leader>,
    family: Family,
    terminal: Option<Terminal>,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
    end: watch::Receiver<Option<ExitStatus>>,
}

impl ChildSession {
    /// Takes over what was started. The permit is given back at the end of the process.
    pub(super) fn new(
        id: SessionId,
        launched: Launched,
        family: Family,
        tasks: &Shutdown,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let leader = Arc::new(launched.leader);
        let (told, end) = watch::channel(None);
        tasks.spawn({
            let leader = Arc::clone(&leader);
            async move {
                leader.exited().await;
                told.send_replace(Some(leader.reap()));
                drop(permit);
            }
        });
        let output = ChildOutput::new(launched.outputs, end.clone());
        Self {
            id,
            leader,
            family,
            terminal: launched.terminal,
            input: Mutex::new(launched.input.map(|input| Box::pin(input) as ExecInput)),
            output: Mutex::new(Some(Box::pin(output))),
            end,
        }
    }

    fn has_ended(&self) -> bool {
        self.end.borrow().is_some()
    }
}

#[async_trait]
impl ExecSession for ChildSession {
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
        match &self.terminal {
            Some(terminal) if !self.has_ended() => terminal.resize(size),
            _ => Ok(()),
        }
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        let group = self.terminal.as_ref().and_then(Terminal::foreground);
        self.leader.signal_foreground(group, signal)
    }

    async fn wait(&self) -> Result<ExitStatus> {
        let mut end = self.end.clone();
        let status = end.wait_for(Option::is_some).await;
        status
            .ok()
            .and_then(|status| status.clone())
            .ok_or_else(|| {
                Error::closed("the process engine was shut down before the command ended")
            })
    }

    async fn close(&self) -> Result<()> {
        drop(take(&self.input));
        if self.has_ended() {
            return Ok(());
        }
        self.leader.signal_group(Signal::KILL)?;
        let (family, leader) = (self.family.clone(), Arc::clone(&self.leader));
        let left = tokio::task::spawn_blocking(move || family.kill(Some(&leader))).await;
        self.wait().await?;
        match left {
            Ok(0) => Ok(()),
            Ok(left) => Err(Error::internal(format!(
                "{left} processes of the session could not be ended"
            ))),
            Err(_) => Err(Error::closed("the runtime is shutting down")),
        }
    }
}

impl Drop for ChildSession {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        // The first process at once; looking for the others takes the kernel a moment.
        let _ = self.leader.signal_group(Signal::KILL);
        let (family, leader) = (self.family.clone(), Arc::clone(&self.leader));
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(move || family.kill(Some(&leader)))),
            Err(_) => drop(family.kill(Some(&leader))),
        }
    }
}

impl fmt::Debug for ChildSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSession")
            .field("id", &self.id)
            .field("pid", &self.leader.pid())
            .field("terminal", &self.terminal.is_some())
            .finish_non_exhaustive()
    }
}

/// Reads a child's outputs until they end, or until the child has ended and nothing more is in
/// them: a background process may hold them open for ever.
struct ChildOutput {
    pipes: VecDeque<(OutputKind, Pipe)>,
    /// `None` once the end was seen.
    exited: Option<BoxFuture<'static, ()>>,
    /// How many bytes may still be read after the end, so that a background process that keeps
    /// writing does not keep the session open.
    allowance: usize,
}

impl ChildOutput {
    fn new(outputs: Vec<(OutputKind, Pipe)>, mut end: watch::Receiver<Option<ExitStatus>>) -> Self {
        let exited = async move {
            // An error means that the watching task is gone, and the child with it.
            let _ = end.wait_for(Option::is_some).await;
        };
        Self {
            pipes: outputs.into(),
            exited: Some(Box::pin(exited)),
            allowance: LARGEST_PIPE,
        }
    }

    /// What is in the pipes after the end.
    fn rest(&mut self) -> Option<Result<ExecOutput>> {
        while let Some((kind, pipe)) = self.pipes.front() {
            match pipe.read_now() {
                Ok(Some(bytes)) if !bytes.is_empty() && self.allowance > 0 => {
                    self.allowance = self.allowance.saturating_sub(bytes.len());
                    return Some(Ok(ExecOutput { kind: *kind, bytes }));
                }
                _ => {
                    self.pipes.pop_front();
                }
            }
        }
        None
    }
}

impl Stream for ChildOutput {
    type Item = Result<ExecOutput>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.exited.is_none() {
            return Poll::Ready(this.rest());
        }
        for _ in 0..this.pipes.len() {
            // Whoever was read goes behind the other, so that both get their turn.
            let Some((kind, pipe)) = this.pipes.pop_front() else {
                break;
            };
            match pipe.poll_read(context) {
                Poll::Ready(Ok(bytes)) if bytes.is_empty() => {}
                Poll::Ready(Ok(bytes)) => {
                    this.pipes.push_back((kind, pipe));
                    return Poll::Ready(Some(Ok(ExecOutput { kind, bytes })));
                }
                Poll::Ready(Err(error)) => {
                    let error = Error::io("cannot read the command's output", error);
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Pending => this.pipes.push_back((kind, pipe)),
            }
        }
        if this.pipes.is_empty() {
            return Poll::Ready(None);
        }
        let exited = this
            .exited
            .as_mut()
            .map(|exited| exited.as_mut().poll(context));
        match exited {
            Some(Poll::Pending) => Poll::Pending,
            _ => {
                this.exited = None;
                Poll::Ready(this.rest())
            }
        }
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The most that an unprivileged process can have in a pipe.
const LARGEST_PIPE: usize = 1 << 20;
