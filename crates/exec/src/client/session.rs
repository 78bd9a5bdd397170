use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{
    BoxStream, Error, ErrorKind, ExecInput, ExecOutput, ExecOutputStream, ExecSession, ExitStatus,
    Result, SessionId, Signal, TerminalSize,
};
use tokio::sync::{
    broadcast::{self, error::RecvError},
    mpsc, watch,
};

use super::{driver::Wish, input::QueueInput, notice::Notice};
use crate::session::{EndReason, SessionEnd};

/// A session at the other side of a gateway. Dropping it ends it.
///
/// A signal is on its way when [`signal`](ExecSession::signal) returns; whether it arrived is not
/// answered. One that could not be delivered is told as the [`Notice`] `signal-failed`.
pub struct RemoteSession {
    id: SessionId,
    wishes: mpsc::Sender<Wish>,
    input: Mutex<Option<mpsc::Sender<Bytes>>>,
    output: Mutex<Option<mpsc::Receiver<Result<ExecOutput>>>>,
    fate: watch::Receiver<Fate>,
    link: watch::Receiver<Link>,
    notices: Mutex<Option<broadcast::Receiver<Notice>>>,
}

/// How a session's connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Link {
    /// It is there.
    Up {
        /// How many bytes of output the connections that were lost have cost so far. `None`: it is not
        /// known yet what the last one has cost; another [`Up`](Self::Up) says so. What is missing is
        /// an error in the output, too, at its place.
        missed: Option<u64>,
    },
    /// It was lost, for this reason; the client dials again.
    Down(String),
}

/// What is known of a session's process.
#[derive(Clone, Debug)]
pub(super) enum Fate {
    Starting,
    Running,
    Ended(SessionEnd),
    Lost(Arc<Error>),
}

/// What a session hears of its driver, beside output.
type Heard = (
    watch::Receiver<Fate>,
    watch::Receiver<Link>,
    broadcast::Receiver<Notice>,
);

impl RemoteSession {
    pub(super) fn new(
        id: SessionId,
        wishes: mpsc::Sender<Wish>,
        input: Option<mpsc::Sender<Bytes>>,
        output: mpsc::Receiver<Result<ExecOutput>>,
        (fate, link, notices): Heard,
    ) -> Self {
        Self {
            id,
            wishes,
            input: Mutex::new(input),
            output: Mutex::new(Some(output)),
            fate,
            link,
            notices: Mutex::new(Some(notices)),
        }
    }

    /// What the gateway has to say to the person at this connection, from the beginning of the session
    /// to its end; once, then `None`. Of what was not taken the newest 32 are kept.
    pub fn take_notices(&self) -> Option<BoxStream<Notice>> {
        let notices = take(&self.notices)?;
        Some(Box::pin(futures::stream::unfold(
            notices,
            |mut notices| async {
                loop {
                    match notices.recv().await {
                        Ok(notice) => return Some((notice, notices)),
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return None,
                    }
                }
            },
        )))
    }

    /// How the connection is, at every change from now on; ends with the session. A reader that is
    /// late sees the newest only.
    pub fn links(&self) -> BoxStream<Link> {
        let mut link = self.link.clone();
        link.mark_unchanged();
        Box::pin(futures::stream::unfold(link, |mut link| async {
            link.changed().await.ok()?;
            let now = link.borrow_and_update().clone();
            Some((now, link))
        }))
    }

    /// Waits until the process runs.
    ///
    /// # Errors
    /// It could not be started, as its engine says; or the session was lost. Cancel safe.
    pub async fn started(&self) -> Result<()> {
        let fate = self.fate(|fate| !matches!(fate, Fate::Starting)).await;
        match fate {
            Fate::Ended(end) if end.reason == EndReason::StartFailed => Err(not_started(&end)),
            Fate::Lost(error) => Err(again(&error)),
            _ => Ok(()),
        }
    }

    /// How the session ended.
    ///
    /// # Errors
    /// It was lost: what its process did is not known. Cancel safe.
    pub async fn ended(&self) -> Result<SessionEnd> {
        let over = |fate: &Fate| matches!(fate, Fate::Ended(_) | Fate::Lost(_));
        match self.fate(over).await {
            Fate::Ended(end) => Ok(end),
            Fate::Lost(error) => Err(again(&error)),
            _ => Err(Error::internal("a session without a fate")),
        }
    }

    async fn fate(&self, until: impl FnMut(&Fate) -> bool) -> Fate {
        let mut fate = self.fate.clone();
        match fate.wait_for(until).await {
            Ok(fate) => fate.clone(),
            Err(_) => Fate::Lost(Arc::new(Error::closed("the session has gone"))),
        }
    }

    async fn wish(&self, wish: Wish) {
        // A session that has ended has no use for it.
        let _ = self.wishes.send(wish).await;
    }
}

#[async_trait]
impl ExecSession for RemoteSession {
    fn id(&self) -> &SessionId {
        &self.id
    }

    fn take_input(&self) -> Option<ExecInput> {
        let queue = take(&self.input)?;
        Some(Box::pin(QueueInput::new(queue)))
    }

    fn take_output(&self) -> Option<ExecOutputStream> {
        let output = take(&self.output)?;
        Some(Box::pin(futures::stream::unfold(
            output,
            |mut output| async {
                let piece = output.recv().await?;
                Some((piece, output))
            },
        )))
    }

    async fn resize(&self, size: TerminalSize) -> Result<()> {
        self.wish(Wish::Resize(size)).await;
        Ok(())
    }

    async fn signal(&self, signal: Signal) -> Result<()> {
        self.wish(Wish::Signal(signal)).await;
        Ok(())
    }

    async fn wait(&self) -> Result<ExitStatus> {
        Ok(self.ended().await?.to_status())
    }

    async fn close(&self) -> Result<()> {
        drop((take(&self.input), take(&self.output)));
        self.wish(Wish::Close).await;
        Ok(())
    }
}

impl fmt::Debug for RemoteSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSession")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// What the engine said at the start, as far as it crossed the wire.
fn not_started(end: &SessionEnd) -> Error {
    let text = end.text.clone().unwrap_or_else(|| end.to_string());
    let kind = end.error.unwrap_or(ErrorKind::InvalidInput);
    let error = Error::new(kind, text).with_retryable(false);
    match end.code {
        Some(code) => error.with_context("exit_code", code),
        None => error,
    }
}

/// The same error for everybody who asks.
fn again(error: &Arc<Error>) -> Error {
    Error::new(error.kind(), error.message().to_owned())
        .with_retryable(error.is_retryable())
        .with_source(Arc::clone(error))
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
