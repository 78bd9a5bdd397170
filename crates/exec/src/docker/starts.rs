//! An engine starts a few commands a second. Asked for more at once it starts all of them so late
//! that callers give up, which costs it as much as if they had not; so the others wait here, in the
//! order in which they came, and whoever gives up here has cost it nothing.
//!
//! A start also waits for what is in the container, its shell or its stub, and a container may be
//! slow on purpose: so no container has more than a part of the turns.
//!
//! And an engine learns of the ends of a container's commands one by one, each with several calls to
//! what ran it: some ten a second, on a busy host three. Where more are started than that, the ends
//! are told the later the longer it goes on; so starts also wait while many of them are not known.
//! Counted are those that we end, or whose stub has told of it. Of others the engine ends the stream,
//! by which we know, only when it has learned of it.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use longshore_core::{Clock, ClockExt, Error, ErrorKind, Result, SessionId, Timestamp, WorkloadId};
use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};
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
    /// The lines before the containers that somebody waits for, or has a turn of, or that something
    /// has ended in.
    by_workload: Mutex<HashMap<WorkloadId, Weak<Line>>>,
    waiting: AtomicUsize,
}

/// What is before one container.
#[derive(Debug)]
struct Line {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Commands that have ended and of which the engine does not know it.
    untold: AtomicUsize,
    /// Notified when it knows of one more.
    told: Notify,
    /// Notified when somebody waits for that.
    wanted: Notify,
}

/// A command may be started.
#[derive(Debug)]
struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_workload: OwnedSemaphorePermit,
    _line: Arc<Line>,
}

/// A command that has ended, or is about to, and of which the engine does not know it.
#[derive(Debug)]
pub(super) struct Untold(Arc<Line>);

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

    /// Whether nobody waits for the engine to start something. Those don't that wait for it to learn
    /// of ends.
    pub(super) fn nobody_waits(&self) -> bool {
        let by_workload = self.0.by_workload();
        let mut lines = by_workload.values().filter_map(Weak::upgrade);
        lines.all(|line| line.waiting.load(Ordering::Relaxed) == 0 || line.has_many_untold())
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
        let line = lines.before(workload);
        let here = Waiting::new(&line.waiting, MOST_WAITING_IN_ONE, "container")?;
        let waiting = Waiting::new(&lines.waiting, MOST_WAITING, "engine")?;
        let closed = |_: AcquireError| Error::closed("no command is started any more");
        let patience = api.clock.now().after(PATIENCE);
        let of_workload = Arc::clone(&line.turns).acquire_owned().await;
        let of_workload = of_workload.map_err(closed)?;
        line.settles(&*api.clock, patience).await;
        let of_all = Arc::clone(&lines.all).acquire_owned().await;
        drop((waiting, here));
        Ok(Starting {
            api: Arc::clone(api),
            lines: Arc::clone(lines),
            turn: Some(Turn {
                _of_all: of_all.map_err(closed)?,
                _of_workload: of_workload,
                _line: line,
            }),
            session: None,
            ended: CancellationToken::new(),
        })
    }

    /// A command ends, and the engine will know it later.
    pub(super) fn untold(&self, workload: &WorkloadId) -> Untold {
        let line = self.0.before(workload);
        line.untold.fetch_add(1, Ordering::Relaxed);
        Untold(line)
    }
}

impl Default for Starts {
    fn default() -> Self {
        Self::new(AT_ONCE)
    }
}

impl Lines {
    fn by_workload(&self) -> MutexGuard<'_, HashMap<WorkloadId, Weak<Line>>> {
        self.by_workload
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn before(&self, workload: &WorkloadId) -> Arc<Line> {
        let mut by_workload = self.by_workload();
        if let Some(line) = by_workload.get(workload).and_then(Weak::upgrade) {
            return line;
        }
        // Nobody is there any more.
        by_workload.retain(|_, line| line.strong_count() > 0);
        let line = Arc::new(Line {
            turns: Arc::new(Semaphore::new(self.at_once_in_one)),
            waiting: AtomicUsize::new(0),
            untold: AtomicUsize::new(0),
            told: Notify::new(),
            wanted: Notify::new(),
        });
        by_workload.insert(workload.clone(), Arc::downgrade(&line));
        line
    }
}

impl Line {
    fn has_many_untold(&self) -> bool {
        self.untold.load(Ordering::Relaxed) >= MOST_UNTOLD
    }

    /// Waits while the engine has many ends to learn of, until then at most.
    async fn settles(&self, clock: &dyn Clock, until: Timestamp) {
        let mut told = pin!(self.told.notified());
        loop {
            told.as_mut().enable();
            if !self.has_many_untold() {
                return;
            }
            self.wanted.notify_waiters();
            tokio::select! {
                () = told.as_mut() => told.set(self.told.notified()),
                // Who had just asked has heard nobody, and asks again.
                () = clock.sleep(BETWEEN_QUESTIONS) => {}
                () = clock.sleep_until(until) => return,
            }
        }
    }
}

impl Untold {
    /// Asks the engine until it knows, or forgot, that this command has ended: seldom, unless somebody
    /// waits for that. Whoever asks costs it a little of what it needs to learn of ends.
    pub(super) async fn until_told(self, api: &Api, session: &SessionId) {
        let until = api.clock.now().after(LONGEST_UNTOLD);
        let mut pause = FIRST_PAUSE;
        while api.clock.now() < until {
            match api.inspect_exec(session.as_str()).await {
                Ok(state) if state.running => {}
                Err(error) if error.is_retryable() => {}
                Ok(_) | Err(_) => return,
            }
            let wanted = async {
                api.clock.sleep(BETWEEN_QUESTIONS).await;
                self.0.wanted.notified().await;
            };
            tokio::select! {
                () = api.clock.sleep(pause) => {}
                () = wanted => {}
            }
            pause = (pause * 2).min(LONGEST_BETWEEN_QUESTIONS);
        }
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.0.untold.fetch_sub(1, Ordering::Relaxed);
        self.0.told.notify_waiters();
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
    fn new(count: &'a AtomicUsize, most: usize, whose: &str) -> Result<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let this = Self(count);
        if before >= most {
            let text = format!("{before} commands of this {whose} wait to be started");
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
const MOST_WAITING_IN_ONE: usize = 1024;
/// Where so many ends in a container are not known, starts there wait. A client that vanishes ends
/// that many at once, and nobody should wait for those.
const MOST_UNTOLD: usize = 32;
/// How long somebody waits for them, and for those before them in line. An engine that tells no ends at all still starts.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long an end counts of which the engine learns nothing.
const LONGEST_UNTOLD: Duration = Duration::from_secs(120);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(1);
const LONGEST_BETWEEN_QUESTIONS: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use longshore_core::SystemClock;

    use super::*;

    fn container(name: &str) -> WorkloadId {
        WorkloadId::new(name).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn where_many_ends_are_not_known_starts_wait_for_one_that_is() {
        let (starts, clock) = (Starts::default(), SystemClock::new());
        let web = container("web");
        let mut untold: Vec<_> = (1..MOST_UNTOLD).map(|_| starts.untold(&web)).collect();
        let line = starts.0.before(&web);
        let until = clock.now().after(PATIENCE);
        assert!(line.settles(&clock, until).now_or_never().is_some());
        untold.push(starts.untold(&web));
        let mut waiting = Box::pin(line.settles(&clock, until));
        assert!((&mut waiting).now_or_never().is_none());
        let other = starts.0.before(&container("db"));
        assert!(other.settles(&clock, until).now_or_never().is_some());
        // Who waits for ends keeps nothing else from being started.
        line.waiting.fetch_add(1, Ordering::Relaxed);
        assert!(starts.nobody_waits());
        other.waiting.fetch_add(1, Ordering::Relaxed);
        assert!(!starts.nobody_waits());
        untold.pop();
        let start = tokio::time::Instant::now();
        waiting.await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn an_engine_that_tells_no_ends_still_starts() {
        let (starts, clock) = (Starts::default(), SystemClock::new());
        let web = container("web");
        let _untold: Vec<_> = (0..MOST_UNTOLD * 2).map(|_| starts.untold(&web)).collect();
        let start = tokio::time::Instant::now();
        let until = clock.now().after(PATIENCE);
        let line = starts.0.before(&web);
        line.settles(&clock, until).await;
        assert!(start.elapsed() >= PATIENCE);
        // Who stood behind has waited as long.
        assert!(line.settles(&clock, until).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn while_somebody_waits_the_engine_is_asked_again_and_again() {
        let (starts, clock) = (Starts::default(), SystemClock::new());
        let web = container("web");
        let _untold: Vec<_> = (0..MOST_UNTOLD).map(|_| starts.untold(&web)).collect();
        let line = starts.0.before(&web);
        let waiting = line.settles(&clock, clock.now().after(PATIENCE));
        let asking = async {
            // Nobody hears the first call, and all hear those behind it.
            clock.sleep(BETWEEN_QUESTIONS / 2).await;
            for _ in 0..5 {
                line.wanted.notified().await;
            }
        };
        tokio::select! {
            () = waiting => panic!("nobody was told"),
            () = asking => {}
        }
    }

    #[test]
    fn what_is_not_known_is_counted_though_nobody_waits() {
        let starts = Starts::default();
        let web = container("web");
        let untold = starts.untold(&web);
        drop(starts.0.before(&web));
        // Another container's line lets go of those that nobody needs.
        drop(starts.0.before(&container("db")));
        let count = |starts: &Starts| starts.0.before(&web).untold.load(Ordering::Relaxed);
        assert_eq!(count(&starts), 1);
        drop(untold);
        assert_eq!(count(&starts), 0);
    }
}
