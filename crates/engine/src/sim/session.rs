//! A command in a virtual workload.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;
use longshore_core::{
    Clock, ExecInput, ExecOutput, ExecOutputStream, ExecSession, ExitStatus, Result, SessionId,
    Signal, TerminalSize, Timestamp,
};
use tokio::{io::AsyncWrite, sync::Notify};

use super::process::SimProcess;

/// The process of a session, shared by its pipes, its handle and its workload.
#[derive(Debug)]
pub(super) struct SessionCell {
    process: Mutex<SimProcess>,
    changed: Notify,
    /// Who waits for room to write.
    writer: Mutex<Option<Waker>>,
    clock: Arc<dyn Clock>,
}

impl SessionCell {
    pub(super) fn new(process: SimProcess, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            process: Mutex::new(process),
            changed: Notify::new(),
            writer: Mutex::new(None),
            clock,
        })
    }

    pub(super) fn signal(&self, signal: Signal, now: Timestamp) {
        self.lock().signal(signal, now);
        self.wake();
    }

    fn lock(&self) -> MutexGuard<'_, SimProcess> {
        let mut process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process.tick(self.clock.now());
        process
    }

    fn wake(&self) {
        self.changed.notify_waiters();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            writer.wake();
        }
    }

    /// Waits until the process has something to tell: `look` says what, once there is something.
    async fn until<T>(&self, mut look: impl FnMut(&mut SimProcess) -> Option<T> + Send) -> T {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let deadline = {
                let mut process = self.lock();
                if let Some(found) = look(&mut process) {
                    return found;
                }
                process.next_deadline()
            };
            match deadline {
                None => changed.await,
                Some(deadline) => tokio::select! {
                    () = changed => {}
                    () = self.clock.sleep_until(deadline) => {}
                },
            }
        }
    }

    async fn next_output(&self) -> Option<ExecOutput> {
        let next = self.until(|process| match process.next_output() {
            Some((_, kind, bytes)) => Some(Some(ExecOutput { kind, bytes })),
            None => process.exit().map(|_| None),
        });
        let output = next.await;
        self.wake();
        output
    }
}

/// A session with a virtual process.
pub(super) struct SimSession {
    id: SessionId,
    cell: Arc<SessionCell>,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
}

impl SimSession {
    pub(super) fn new(id: SessionId, cell: Arc<SessionCell>, has_input: bool) -> Self {
        let output = futures::stream::unfold(Arc::clone(&cell), |cell| async move {
            let output = cell.next_output().await?;
            Some((Ok(output), cell))
        });
        let input = has_input.then(|| Box::pin(SessionInput::new(Arc::clone(&cell))) as ExecInput);
        Self {
            id,
            cell,
            input: Mutex::new(input),
            output: Mutex::new(Some(Box::pin(output))),
        }
    }
}

#[async_trait]
impl ExecSession for SimSession {
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
        self.cell.lock().resize(size);
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.cell.signal(signal, self.cell.clock.now());
        Ok(())
    }

    async fn wait(&self) -> Result<ExitStatus> {
        let exit = self
            .cell
            .until(|process| process.exit().map(|(_, status)| status.clone()));
        Ok(exit.await)
    }

    async fn close(&self) -> Result<()> {
        drop(self.take_input());
        self.cell.signal(Signal::KILL, self.cell.clock.now());
        Ok(())
    }
}

impl Drop for SimSession {
    fn drop(&mut self) {
        self.cell.signal(Signal::KILL, self.cell.clock.now());
    }
}

impl fmt::Debug for SimSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimSession")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Dropping it is the end of the input.
struct SessionInput {
    cell: Arc<SessionCell>,
    ended: bool,
}

impl SessionInput {
    fn new(cell: Arc<SessionCell>) -> Self {
        Self { cell, ended: false }
    }

    fn end(&mut self) {
        if !self.ended {
            self.ended = true;
            let now = self.cell.clock.now();
            self.cell.lock().end_input(now);
            self.cell.wake();
        }
    }
}

impl Drop for SessionInput {
    fn drop(&mut self) {
        self.end();
    }
}

impl AsyncWrite for SessionInput {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let cell = &self.cell;
        let mut process = cell.lock();
        if self.ended || process.exit().is_some() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if process.waiting() >= MOST_UNREAD {
            let mut writer = cell.writer.lock().unwrap_or_else(PoisonError::into_inner);
            *writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let bytes = &bytes[..bytes.len().min(PIECE)];
        process.input(bytes, cell.clock.now());
        drop(process);
        cell.changed.notify_waiters();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end();
        Poll::Ready(Ok(()))
    }
}

const MOST_UNREAD: usize = 256 * 1024;
const PIECE: usize = 16 * 1024;
