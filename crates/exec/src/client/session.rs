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
    mpsc, oneshot, watch,
};

use super::{Company, driver::Wish, input::QueueInput, notice::Notice};
use crate::session::{EndReason, SessionEnd, ViewerId};

/// A session at the other side of a gateway. Dropping it ends it; or leaves it, where it is somebody
/// else's ([`RemoteExec::watch`](super::RemoteExec::watch)).
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
    company: watch::Receiver<Company>,
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
pub(super) struct Heard {
    pub(super) fate: watch::Receiver<Fate>,
    pub(super) link: watch::Receiver<Link>,
    pub(super) notices: broadcast::Receiver<Notice>,
    pub(super) company: watch::Receiver<Company>,
}

impl RemoteSession {
    pub(super) fn new(
        id: SessionId,
        wishes: mpsc::Sender<Wish>,
        input: Option<mpsc::Sender<Bytes>>,
        output: mpsc::Receiver<Result<ExecOutput>>,
        heard: Heard,
    ) -> Self {
        Self {
            id,
            wishes,
            input: Mutex::new(input),
            output: Mutex::new(Some(output)),
            fate: heard.fate,
            link: heard.link,
            notices: Mutex::new(Some(heard.notices)),
            company: heard.company,
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

    /// Who is here, and whether this client may write, as far as that is known now.
    pub fn company(&self) -> Company {
        self.company.borrow().clone()
    }

    /// The same, at every change from now on; ends with the session. A reader that is late sees the
    /// newest only.
    pub fn companies(&self) -> BoxStream<Company> {
        let mut company = self.company.clone();
        company.mark_unchanged();
        Box::pin(futures::stream::unfold(company, |mut company| async {
            company.changed().await.ok()?;
            let now = company.borrow_and_update().clone();
            Some((now, company))
        }))
    }

    /// Passes the right to write to another connection, of those that [`company`](Self::company) names.
    /// Who opened the session may do so also while a third has it, and has it back when that one leaves
    /// or by [`take_back`](Self::take_back); whoever was granted it may pass it on. It returns when the
    /// other has it.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`]: nobody is there under this number who may have it, or it is not
    /// this client's to pass on; [`ErrorKind::Unavailable`]: there is no connection now, or it broke
    /// before there was an answer; [`ErrorKind::Unsupported`]: the gateway is too old;
    /// [`ErrorKind::Timeout`]: it gave no answer.
    ///
    /// # Cancel safety
    /// A dropped call may have passed the right on, or do so yet.
    pub async fn grant(&self, to: ViewerId) -> Result<()> {
        self.pass(Some(to)).await
    }

    /// Takes the right to write back, for who opened the session.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant).
    ///
    /// # Cancel safety
    /// As for [`grant`](Self::grant).
    pub async fn take_back(&self) -> Result<()> {
        self.pass(None).await
    }

    async fn pass(&self, to: Option<ViewerId>) -> Result<()> {
        // While the connection is lost nobody takes wishes.
        if let Link::Down(why) = &*self.link.borrow() {
            return Err(Error::unavailable(format!(
                "there is no connection to the gateway now: {why}"
            )));
        }
        let (answer, answered) = oneshot::channel();
        self.wish(Wish::Pass(to, answer)).await;
        answered
            .await
            .unwrap_or_else(|_| Err(Error::closed("the session has ended")))
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
