//! An engine starts a few commands a second. Asked for more at once it starts all of them so late
//! that callers give up, which costs it as much as if they had not; so the others wait here, in the
//! order in which they came, and whoever gives up here has cost it nothing.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use longshore_core::{ClockExt, Error, ErrorKind, Result, SessionId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{api::Api, keeper::begun};
use crate::cleanup::LATE_START;

/// Whose turn it is to be started.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// A command may be started. Dropped when it has been.
#[derive(Debug)]
pub(super) struct Turn {
    permit: OwnedSemaphorePermit,
    waiting: Arc<AtomicUsize>,
}

impl Starts {
    pub(super) fn new(at_once: NonZeroUsize) -> Self {
        Self {
            permits: Arc::new(Semaphore::new(at_once.get().min(Semaphore::MAX_PERMITS))),
            waiting: Arc::default(),
        }
    }

    /// Waits in line.
    ///
    /// # Errors
    /// `ResourceExhausted` when too many wait already.
    ///
    /// # Cancel safety
    /// Dropped, it has left the line.
    pub(super) async fn turn(&self) -> Result<Turn> {
        let waiting = Waiting::new(&self.waiting)?;
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        drop(waiting);
        Ok(Turn {
            permit: permit.map_err(|_| Error::closed("no command is started any more"))?,
            waiting: Arc::clone(&self.waiting),
        })
    }
}

impl Default for Starts {
    fn default() -> Self {
        Self::new(AT_ONCE)
    }
}

impl Turn {
    /// Lets the next begin when the engine has carried out this start, which it says before it does.
    /// It is asked only while somebody waits.
    pub(super) fn end_when_begun(
        self,
        api: &Arc<Api>,
        session: SessionId,
        ended: CancellationToken,
    ) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let api = Arc::clone(api);
        runtime.spawn(async move {
            let until = api.clock.now().after(LATE_START);
            let mut pause = FIRST_PAUSE;
            while api.clock.now() < until {
                tokio::select! {
                    () = api.clock.sleep(pause) => {}
                    () = ended.cancelled() => break,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                if self.waiting.load(Ordering::Relaxed) > 0 && begun(&api, &session).await {
                    break;
                }
            }
            drop(self.permit);
        });
    }
}

/// One in line.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Result<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let this = Self(count);
        if before >= MOST_WAITING {
            let text = format!("{before} commands wait for this engine to start them");
            return Err(Error::new(ErrorKind::ResourceExhausted, text));
        }
        Ok(this)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// More than the processors of most engines, and few enough to be started within seconds.
const AT_ONCE: NonZeroUsize = NonZeroUsize::new(16).unwrap();
const MOST_WAITING: usize = 4096;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
