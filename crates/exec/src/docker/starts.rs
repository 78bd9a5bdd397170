//! An engine starts a few commands a second. Asked for more at once it starts all of them so late
//! that callers give up, which costs it as much as if they had not; so the others wait here, in the
//! order in which they came, and whoever gives up here has cost it nothing.
//!
//! A start also waits for what is in the container, its shell or its stub, and a container may be
//! slow on purpose: so no container has more than a part of the turns.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use longshore_core::{ClockExt, Error, ErrorKind, Result, SessionId, WorkloadId};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{api::Api, keeper::begun};
use crate::cleanup::LATE_START;

/// Whose turn it is to be started.
#[derive(Clone, Debug)]
pub(super) struct Starts(Arc<Lines>);

#[derive(Debug)]
struct Lines {
    all: Arc<Semaphore>,
    /// Turns of one container at a time.
    at_once_in_one: usize,
    /// The lines before the containers that somebody waits for, or has a turn of.
    by_workload: Mutex<HashMap<WorkloadId, Weak<Semaphore>>>,
    waiting: AtomicUsize,
}

/// A command may be started.
#[derive(Debug)]
struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_workload: OwnedSemaphorePermit,
}

impl Starts {
    pub(super) fn new(at_once: NonZeroUsize) -> Self {
        let at_once = at_once.get().min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Lines {
            all: Arc::new(Semaphore::new(at_once)),
            at_once_in_one: at_once.div_ceil(PARTS),
            by_workload: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Whether nobody waits in line.
    pub(super) fn nobody_waits(&self) -> bool {
        self.0.waiting.load(Ordering::Relaxed) == 0
    }

    /// Waits in line: first before the container, so that its other callers hold up nobody else.
    ///
    /// # Errors
    /// `ResourceExhausted` when too many wait already.
    ///
    /// # Cancel safety
    /// Dropped, it has left the line.
    pub(super) async fn turn(&self, api: &Arc<Api>, workload: &WorkloadId) -> Result<Starting> {
        let lines = &self.0;
        let waiting = Waiting::new(&lines.waiting)?;
        let closed = |_: AcquireError| Error::closed("no command is started any more");
        let before = lines.before(workload);
        let of_workload = before.acquire_owned().await.map_err(closed)?;
        let of_all = Arc::clone(&lines.all).acquire_owned().await;
        drop(waiting);
        Ok(Starting {
            api: Arc::clone(api),
            lines: Arc::clone(lines),
            turn: Some(Turn {
                _of_all: of_all.map_err(closed)?,
                _of_workload: of_workload,
            }),
            session: None,
            ended: CancellationToken::new(),
        })
    }
}

impl Default for Starts {
    fn default() -> Self {
        Self::new(AT_ONCE)
    }
}

impl Lines {
    fn before(&self, workload: &WorkloadId) -> Arc<Semaphore> {
        let mut by_workload = self
            .by_workload
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = by_workload.get(workload).and_then(Weak::upgrade) {
            return line;
        }
        // Nobody is there any more.
        by_workload.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(Semaphore::new(self.at_once_in_one));
        by_workload.insert(workload.clone(), Arc::downgrade(&line));
        line
    }
}

/// A start that is under way. Its turn ends when the engine has carried it out, which it says before
/// it does; whoever gives it up half-way ends it no sooner.
#[derive(Debug)]
pub(super) struct Starting {
    api: Arc<Api>,
    lines: Arc<Lines>,
    turn: Option<Turn>,
    /// Set once the engine may start it.
    session: Option<SessionId>,
    ended: CancellationToken,
}

impl Starting {
    /// The engine is about to be asked to start this.
    pub(super) fn asks(&mut self, session: SessionId) {
        self.session = Some(session);
    }

    /// It is known to have begun, or not to begin.
    pub(super) fn is_decided(&mut self) {
        self.turn = None;
    }

    /// The end of its stream, behind which it has begun and ended.
    pub(super) fn ends_with(&mut self, ended: CancellationToken) {
        self.ended = ended;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let (Some(turn), Some(session), Ok(runtime)) = (
            self.turn.take(),
            self.session.take(),
            tokio::runtime::Handle::try_current(),
        ) else {
            return;
        };
        let (api, lines) = (Arc::clone(&self.api), Arc::clone(&self.lines));
        let ended = self.ended.clone();
        runtime.spawn(async move {
            let until = api.clock.now().after(LATE_START);
            let mut pause = FIRST_PAUSE;
            while api.clock.now() < until {
                tokio::select! {
                    () = api.clock.sleep(pause) => {}
                    () = ended.cancelled() => break,
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                // It is asked only while somebody waits.
                if lines.waiting.load(Ordering::Relaxed) > 0 && begun(&api, &session).await {
                    break;
                }
            }
            drop(turn);
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
/// One container has a quarter of the turns at most.
const PARTS: usize = 4;
const MOST_WAITING: usize = 4096;
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
