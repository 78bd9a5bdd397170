//! Carries out what the ladder decides behind one session.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use longshore_core::{ClockExt, Error, ErrorKind, Result, SessionId, Timestamp, WorkloadId};
use tokio::sync::{OnceCell, oneshot};
use tokio_util::sync::CancellationToken;

use super::{api::Api, context::Context, lifeline::Hold, looks::Unseen, sweep};
use crate::cleanup::{CleanupOutcome, CleanupReport, CleanupRung, Ladder, Look, Marker, Step};

/// What is cleaned up behind.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) workload: WorkloadId,
    pub(super) session: SessionId,
    pub(super) user: String,
    pub(super) marker: Marker,
    /// What acts by itself once the session is over.
    pub(super) working: Option<CleanupRung>,
    /// Whether the container is known to have no shell to sweep with.
    pub(super) shellless: bool,
}

/// Sees to it that nothing of a session runs after its end, and says so.
#[derive(Debug)]
pub(super) struct Keeper {
    context: Context,
    watched: Watched,
    started: Timestamp,
    ended: OnceLock<Timestamp>,
    /// Terminal sessions that belong to it, between looks.
    sessions: Mutex<HashSet<u32>>,
    report: OnceCell<CleanupReport>,
    /// Set behind the report.
    reported: CancellationToken,
    lifeline: Option<Arc<Hold>>,
    /// Whether the session is to end: its command did not end by itself.
    told: AtomicBool,
    /// Ends when the lifeline says that it has.
    acting: Mutex<Option<oneshot::Receiver<()>>>,
    /// Set when somebody has ended what there was, whether that was seen or not.
    acted: CancellationToken,
    /// Whether the engine may yet start what it was asked to.
    late_start: AtomicBool,
}

impl Keeper {
    pub(super) fn new(context: Context, watched: Watched) -> Self {
        Self {
            started: context.api.clock.now(),
            context,
            watched,
            ended: OnceLock::new(),
            sessions: Mutex::default(),
            report: OnceCell::new(),
            reported: CancellationToken::new(),
            lifeline: None,
            told: AtomicBool::new(false),
            acting: Mutex::default(),
            acted: CancellationToken::new(),
            late_start: AtomicBool::new(false),
        }
    }

    /// With a lifeline that ends the session's processes when it is told to.
    pub(super) fn with_lifeline(mut self, lifeline: Option<Arc<Hold>>) -> Self {
        self.lifeline = lifeline;
        self
    }

    /// Has the session's processes ended now, without a look whether there are any.
    pub(super) fn end(&self) {
        if !self.report.initialized()
            && !self.told.swap(true, Ordering::Relaxed)
            && let Some(lifeline) = &self.lifeline
        {
            let done = lifeline.end();
            *self.acting.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        }
    }

    /// The session's start was given up, and the engine does not know.
    pub(super) fn expect_late_start(&self) {
        self.late_start.store(true, Ordering::Relaxed);
    }

    /// Waits until somebody has ended what there was, seen or not.
    pub(super) async fn acted(&self) {
        self.acted.cancelled().await;
    }

    /// Looks whether the engine shows what it will be asked for, unless that is known: a command that
    /// runs must be seen with its marker, or a look that finds nobody means nothing.
    pub(super) fn check_sight(self: &Arc<Self>) {
        if self.context.shared.sight.get().is_some() {
            return;
        }
        let keeper = Arc::clone(self);
        tokio::spawn(async move {
            let clock = Arc::clone(&keeper.context.api.clock);
            let mut seen = None;
            let mut pause = FIRST_SIGHT;
            // What has just been started has no environment yet, so one look is not enough for a no.
            for _ in 0..SIGHTS {
                seen = keeper.sees_command().await;
                if seen != Some(Sight::Unmarked) {
                    break;
                }
                clock.sleep(pause).await;
                pause *= 2;
            }
            if let Some(seen) = seen {
                let _ = keeper.context.shared.sight.set(seen == Sight::Marked);
            }
        });
    }

    /// Whether the command is seen with its marker; `None` where that can't be told.
    async fn sees_command(&self) -> Option<Sight> {
        let Watched {
            workload,
            session,
            marker,
            ..
        } = &self.watched;
        let api = &self.context.api;
        let runs = async || {
            let state = api.inspect_exec(session.as_str()).await.ok()?;
            let pid = u32::try_from(state.pid).ok().filter(|pid| *pid > 0)?;
            state.running.then_some(pid)
        };
        let pid = runs().await?;
        let table = match self.context.shared.looks.at(api, workload).await {
            Ok(table) => table,
            Err(Unseen::Unreadable(_)) => return Some(Sight::Missing),
            Err(Unseen::Failed(_)) => return None,
        };
        match table.shows(pid, marker) {
            Some(true) => Some(Sight::Marked),
            // Unless it has ended meanwhile.
            Some(false) => runs().await.map(|_| Sight::Unmarked),
            None => runs().await.map(|_| Sight::Missing),
        }
    }

    /// Cleans up, once for all who ask. Cancel safe: who asks next goes on.
    pub(super) async fn clean(&self) -> &CleanupReport {
        let ended = *self.ended.get_or_init(|| self.context.api.clock.now());
        let report = self
            .report
            .get_or_init(|| async {
                let (report, may_come) = self.run(ended).await;
                self.acted.cancel();
                // Where marks are not shown, no later look would find them either.
                let is_blind = self.context.shared.sight.get() == Some(&false);
                let is_settled = is_blind || report.is_clean() && !may_come;
                let life = &self.context.settings.life;
                life.over(&self.watched.marker, is_settled);
                if let Some(lifeline) = &self.lifeline {
                    lifeline.leave();
                }
                self.context.report(&report);
                report
            })
            .await;
        self.reported.cancel();
        report
    }

    /// Waits until somebody has cleaned up, and nobody has to hold the session for it. Cancel safe.
    pub(super) async fn reported(self: Arc<Self>) -> Option<CleanupReport> {
        self.reported.cancelled().await;
        self.report.get().cloned()
    }

    /// Cleans up, and fails if anything is left or nobody knows.
    pub(super) async fn cleaned(&self) -> Result<()> {
        let report = self.clean().await;
        match &report.outcome {
            CleanupOutcome::Incomplete => Err(Error::internal(report.to_string())),
            CleanupOutcome::Unverified(_) => {
                tracing::debug!("{report}");
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The report, and whether the engine may still start what it was asked to.
    async fn run(&self, ended: Timestamp) -> (CleanupReport, bool) {
        let clock = &self.context.api.clock;
        let told = self.told.load(Ordering::Relaxed);
        let lifeline = self.lifeline.as_ref().map(|_| CleanupRung::Lifeline);
        let working = self.watched.working.or(lifeline.filter(|_| told));
        // A session that ended by itself mostly left nothing.
        let others = lifeline.filter(|_| !told).into_iter();
        let others = others.chain(sweep::rungs(&self.context, &self.watched));
        let mut ladder = Ladder::new(ended, working, others);
        // A stub that begins behind its session sees the end of its input, and ends by itself.
        let by_stub = self.watched.working == Some(CleanupRung::Stub);
        let may_begin = self.late_start.load(Ordering::Relaxed);
        let mut begun = by_stub || !may_begin && self.has_begun().await;
        if !begun {
            ladder = ladder.with_late_start(ended);
        }
        // Nobody is at work, and there is somebody to be ended: no look is needed to know that.
        if told && working.is_none() && self.runs().await {
            ladder.begin(clock.now());
        }
        let outcome = loop {
            match ladder.step(clock.now()) {
                Step::Look => {
                    if !begun {
                        begun = self.has_begun().await;
                        if begun {
                            ladder.has_begun(clock.now());
                        }
                    }
                    let look = self.look().await;
                    ladder.looked(clock.now(), look);
                }
                Step::Wait(then) => {
                    if self.has_acted_by(then).await {
                        self.acted.cancel();
                        ladder.acted(clock.now());
                    }
                }
                Step::Sweep(CleanupRung::Lifeline) => {
                    self.end();
                    ladder.swept(clock.now());
                }
                Step::Sweep(rung) => {
                    let watched = &self.watched;
                    let swept = sweep::run(&self.context, rung, watched).await;
                    if let Err(error) = swept {
                        tracing::debug!(?rung, error = error.chain(), "a sweep failed");
                    }
                    ladder.swept(clock.now());
                }
                Step::Done(outcome) => break outcome,
            }
        };
        let findings = ladder.findings().clone();
        let left = match outcome {
            CleanupOutcome::Incomplete => findings.left,
            _ => Vec::new(),
        };
        let Watched {
            workload, session, ..
        } = &self.watched;
        let mut report = CleanupReport::new(workload.clone(), session.clone(), outcome);
        report.rungs = ladder.tried().to_vec();
        report.left = left;
        report.unattributed = findings.unattributed;
        report.zombies = findings.zombies;
        report.took = clock.now().since(ended);
        (report, !begun)
    }

    /// Waits until then, or until the lifeline says that it has acted; whether it did. Once.
    async fn has_acted_by(&self, then: Timestamp) -> bool {
        let acting = self
            .acting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let waiting = self.context.api.clock.sleep_until(then);
        let Some(mut done) = acting else {
            waiting.await;
            return false;
        };
        tokio::select! {
            _ = &mut done => true,
            () = waiting => {
                *self.acting.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
                false
            }
        }
    }

    /// Whether the command itself still runs.
    async fn runs(&self) -> bool {
        let state = self.context.api.inspect_exec(self.watched.session.as_str());
        state
            .await
            .is_ok_and(|state| state.running && state.pid > 0)
    }

    /// Whether the engine has carried out the start, well or not. It says that it did before it does.
    async fn has_begun(&self) -> bool {
        begun(&self.context.api, &self.watched.session).await
    }

    async fn look(&self) -> Look {
        if self.context.shared.sight.get() == Some(&false) {
            return Look::Blind(
                "the engine's process table does not show sessions with their marks".to_owned(),
            );
        }
        let api = &self.context.api;
        let seen = self.context.shared.looks.at(api, &self.watched.workload);
        let table = match seen.await {
            Ok(table) => table,
            Err(Unseen::Failed(error)) => return self.not_seen(&error).await,
            Err(Unseen::Unreadable(why)) => return Look::Blind(why.to_owned()),
        };
        // A stub's tree loses nobody, so nobody outside it is suspected.
        let by_stub = self.watched.working == Some(CleanupRung::Stub);
        // Ages are told in whole seconds, as of now.
        let since = self.context.api.clock.now().since(self.started);
        let lasted = (!by_stub).then(|| since + Duration::from_secs(1));
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Look::Found(table.look(&self.watched.marker, &mut sessions, lasted))
    }

    async fn not_seen(&self, error: &Error) -> Look {
        match error.kind() {
            ErrorKind::Conflict => Look::Gone,
            ErrorKind::NotFound => {
                match self
                    .context
                    .api
                    .inspect_container(&self.watched.workload)
                    .await
                {
                    Err(error) if error.kind() == ErrorKind::NotFound => Look::Gone,
                    _ => Look::Blind(error.chain()),
                }
            }
            // The engine answered, and can't.
            ErrorKind::Internal
            | ErrorKind::Unsupported
            | ErrorKind::InvalidInput
            | ErrorKind::PermissionDenied => Look::Blind(error.chain()),
            _ => Look::Failed(error.chain()),
        }
    }
}

/// Whether a command's start has been carried out. An engine takes its connection over first, and on
/// a busy machine starts the command many seconds later; until then it has no process and no code.
pub(super) async fn begun(api: &Api, session: &SessionId) -> bool {
    match api.inspect_exec(session.as_str()).await {
        Ok(state) => state.pid > 0 || state.exit_code.is_some(),
        // What the engine does not know does not begin.
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// How a command that runs is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Marked,
    /// Without its marker: environments are not shown, or it has none yet.
    Unmarked,
    /// Not at all: this engine's table is not of such processes.
    Missing,
}

/// Cleans up in the background, where there is a runtime to do it.
pub(super) fn clean_later(keeper: &Arc<Keeper>) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        let keeper = Arc::clone(keeper);
        runtime.spawn(async move {
            keeper.clean().await;
        });
    }
}

const SIGHTS: usize = 6;
const FIRST_SIGHT: Duration = Duration::from_millis(50);
