use std::{
    fmt, io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{
    Error, ExecInput, ExecOutputStream, ExecSession, ExitStatus, Result, SessionId, Signal,
    TerminalSize,
};
use tokio::{io::AsyncWrite, sync::mpsc};
use tokio_util::sync::{CancellationToken, PollSender};

use super::process::Running;

/// A session with a scripted process: its own, or a workload's.
pub(super) struct ScriptedSession {
    id: SessionId,
    process: Arc<Running>,
    /// Whether the process ends with the session.
    own: bool,
    input: Mutex<Option<ExecInput>>,
    output: Mutex<Option<ExecOutputStream>>,
    closed: CancellationToken,
}

impl ScriptedSession {
    pub(super) fn exec(id: SessionId, process: Arc<Running>, stdin: bool) -> Self {
        let sender = lock(&process.input).take();
        let closed = CancellationToken::new();
        let input = sender
            .filter(|_| stdin)
            .map(|sender| QueueInput::own(sender, closed.clone()));
        let reader = Reader(Arc::clone(&process));
        let output = futures::stream::unfold(reader, |reader| async move {
            let output = reader.0.pipe.next().await?;
            Some((Ok(output), reader))
        });
        Self::new(id, process, true, input, Box::pin(output), closed)
    }

    pub(super) fn attach(
        id: SessionId,
        process: Arc<Running>,
        stdin: bool,
        output: ExecOutputStream,
    ) -> Self {
        let sender = lock(&process.input).clone();
        let closed = CancellationToken::new();
        let input = sender
            .filter(|_| stdin)
            .map(|sender| QueueInput::shared(sender, Arc::clone(&process), closed.clone()));
        Self::new(id, process, false, input, output, closed)
    }

    fn new(
        id: SessionId,
        process: Arc<Running>,
        own: bool,
        input: Option<QueueInput>,
        output: ExecOutputStream,
        closed: CancellationToken,
    ) -> Self {
        let output = output.take_until(closed.clone().cancelled_owned());
        Self {
            id,
            process,
            own,
            input: Mutex::new(input.map(|input| Box::pin(input) as ExecInput)),
            output: Mutex::new(Some(Box::pin(output))),
            closed,
        }
    }

    fn give_up(&self) {
        self.closed.cancel();
        if self.own {
            self.process.signal(Signal::KILL);
        }
    }
}

#[async_trait]
impl ExecSession for ScriptedSession {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn take_input(&self) -> Option<ExecInput> {
        lock(&self.input).take()
    }

    fn take_output(&self) -> Option<ExecOutputStream> {
        lock(&self.output).take()
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.process.size.send_replace(size);
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.process.signal(signal);
        Ok(())
    }

    async fn wait(&self) -> Result<ExitStatus> {
        let mut end = self.process.end.clone();
        let ended = async {
            let status = end.wait_for(Option::is_some).await;
            let status = status.ok().and_then(|status| status.clone());
            status.ok_or_else(|| Error::closed("the scripted process has gone"))
        };
        if self.own {
            return ended.await;
        }
        tokio::select! {
            biased;
            status = ended => status,
            () = self.closed.cancelled() => Err(Error::closed("the attachment was closed")),
        }
    }

    async fn close(&self) -> Result<()> {
        self.give_up();
        drop((self.take_input(), self.take_output()));
        Ok(())
    }
}

impl Drop for ScriptedSession {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl fmt::Debug for ScriptedSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScriptedSession")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A reader who leaves does not hold the process up.
struct Reader(Arc<Running>);

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.pipe.stop_reading();
    }
}

/// Dropping an own input is its end; a shared one only ends when it is shut down.
struct QueueInput {
    queue: PollSender<Bytes>,
    shared: Option<Arc<Running>>,
    closed: CancellationToken,
}

impl QueueInput {
    fn own(sender: mpsc::Sender<Bytes>, closed: CancellationToken) -> Self {
        Self {
            queue: PollSender::new(sender),
            shared: None,
            closed,
        }
    }

    fn shared(
        sender: mpsc::Sender<Bytes>,
        process: Arc<Running>,
        closed: CancellationToken,
    ) -> Self {
        Self {
            queue: PollSender::new(sender),
            shared: Some(process),
            closed,
        }
    }
}

impl AsyncWrite for QueueInput {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.closed.is_cancelled() || self.queue.is_closed() {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        ready!(self.queue.poll_reserve(context)).map_err(gone)?;
        let piece = Bytes::copy_from_slice(&bytes[..bytes.len().min(PIECE)]);
        let count = piece.len();
        if count > 0 {
            self.queue.send_item(piece).map_err(gone)?;
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.queue.close();
        if let Some(process) = &self.shared {
            lock(&process.input).take();
        }
        Poll::Ready(Ok(()))
    }
}

fn lock<T>(slot: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

const PIECE: usize = 16 * 1024;
