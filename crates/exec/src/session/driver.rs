mod gathered;
mod output;
mod recording;

use std::{collections::VecDeque, future::pending, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{
    BoxFuture, CleanupReport, ClockExt, Error, ErrorKind, ExecBackend, ExecInput, ExecOutput,
    ExecOutputStream, ExecSession, ExitStatus, Result, Shutdown, Timestamp,
};
use tokio::io::AsyncWriteExt;

use self::gathered::Gathered;
use super::{
    Action, Aftermath, EndReason, InputJudge, Launch, RecordEvent, Recorder, SessionCore,
    SessionEnd,
    core::PIECE,
    echo::EchoWitness,
    shared::Shared,
    start::{Started, start},
};

/// Carries bytes and news between a [`SessionCore`](super::SessionCore) and its process. It decides
/// nothing: what to do next is the core's word.
pub(super) struct Driver {
    shared: Arc<Shared>,
    recorder: Option<Arc<dyn Recorder>>,
    without_record: bool,
    /// What is to be recorded next. The first event holds the start up.
    unrecorded: VecDeque<RecordEvent>,
    /// The session's beginning was recorded, or need not be.
    begun: bool,
    witness: Option<EchoWitness>,
    judge: Option<Box<dyn InputJudge>>,
    session: Option<Arc<dyn ExecSession>>,
    input: Option<ExecInput>,
    output: Option<ExecOutputStream>,
    /// Output for which there is no room yet.
    pending: VecDeque<ExecOutput>,
    /// Output that is not recorded yet.
    gathered: Gathered,
    /// Bytes of output that are being recorded.
    under_way: usize,
    /// What came behind what was gathered, and is not of it.
    behind: Option<Option<Result<ExecOutput>>>,
    /// A record of the end is still to be made.
    unrecorded_end: bool,
    /// Is told the end once.
    told: Option<Tell>,
    /// Is told what was left behind, in whose task.
    aftermath: Option<(Aftermath, Shutdown)>,
    cleaned: Option<BoxFuture<'static, Option<CleanupReport>>>,
    works: Works,
}

type Tell = Box<dyn FnOnce(SessionEnd) + Send>;

type Work<T> = Option<BoxFuture<'static, T>>;

/// What goes on at the same time, at most one of each. So a slow resize holds no key up.
#[derive(Default)]
struct Works {
    starting: Work<Result<Started>>,
    writing: Work<(ExecInput, usize, io::Result<()>)>,
    recording: Work<(Option<ExecOutput>, Result<()>)>,
    exit: Work<Result<ExitStatus>>,
    resizing: Work<Result<()>>,
    signalling: Work<Result<()>>,
    asking: Work<Result<Option<Duration>>>,
    closing: Work<Result<()>>,
}

impl Driver {
    pub(super) fn new(shared: Arc<Shared>, backend: Arc<dyn ExecBackend>, launch: Launch) -> Self {
        let clock = Arc::clone(&shared.clock);
        let starting: BoxFuture<'static, _> =
            Box::pin(async move { start(&*backend, &launch, &*clock).await });
        Self {
            shared,
            recorder: None,
            without_record: false,
            unrecorded: VecDeque::new(),
            begun: true,
            witness: None,
            judge: None,
            session: None,
            input: None,
            output: None,
            pending: VecDeque::new(),
            gathered: Gathered::default(),
            under_way: 0,
            behind: None,
            unrecorded_end: true,
            told: None,
            aftermath: None,
            cleaned: None,
            works: Works {
                starting: Some(starting),
                ..Works::default()
            },
        }
    }

    /// Tells this when the session has ended.
    pub(super) fn telling(mut self, told: Tell) -> Self {
        self.told = Some(told);
        self
    }

    /// Tells this, in a task of its own, what was left of the session.
    pub(super) fn cleaned(mut self, aftermath: Option<(Aftermath, Shutdown)>) -> Self {
        self.aftermath = aftermath;
        self
    }

    /// Runs until the session is over.
    ///
    /// # Cancel safety
    /// Dropping the future drops the process's handle, which ends it.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let mut stopping = false;
        loop {
            self.act();
            let (over, reads, deadline, ended) = self.shared.look(|core, now| {
                let is_free = self.works.recording.is_none();
                let held = is_free.then(|| self.record_due(core.peek_action()));
                let deadlines = [core.next_deadline(now), held.flatten()];
                (
                    core.is_over(now),
                    self.reads(core),
                    deadlines.into_iter().flatten().min(),
                    core.end().is_some(),
                )
            });
            if ended {
                self.let_go();
            }
            if over && self.works.closing.is_none() && self.works.recording.is_none() {
                return;
            }
            let clock = Arc::clone(&self.shared.clock);
            let works = &mut self.works;
            tokio::select! {
                // In this order: a size is on its way before the keys behind it, and no flood of
                // output keeps a deadline from being seen.
                biased;
                () = until(deadline, &*clock) => {
                    self.shared.by_driver(SessionCore::handle_deadline);
                }
                result = done(&mut works.resizing) => {
                    // Harmless around start and exit; the wrong size is all that can come of it.
                    if let Err(error) = result {
                        tracing::debug!(error = error.chain(), "a resize failed");
                    }
                }
                () = self.shared.driver.notified() => {}
                started = done(&mut works.starting), if self.begun => self.started(started),
                (input, bytes, result) = done(&mut works.writing) => self.written(input, bytes, result),
                (piece, result) = done(&mut works.recording) => self.recorded(piece, result),
                status = done(&mut works.exit) => self.exited(status),
                result = done(&mut works.signalling) => {
                    if let Err(error) = result {
                        tracing::debug!(error = error.chain(), "a signal was not sent");
                        self.shared.by_driver(|core, _| core.signal_failed());
                    }
                }
                answer = done(&mut works.asking) => self.shared.by_driver(|core, now| match answer {
                    Ok(valid_for) => core.authorized(valid_for, now),
                    Err(error) => core.not_authorized(&error, now),
                }),
                result = done(&mut works.closing) => {
                    if let Err(error) = result {
                        tracing::warn!(session = %self.shared.id, error = error.chain(), "the process of a session may run on");
                    }
                }
                () = shutdown.requested(), if !stopping => {
                    stopping = true;
                    let end = SessionEnd::new(EndReason::ServerShutdown);
                    self.shared.by_driver(|core, now| {
                        core.set_grace(Duration::ZERO);
                        core.terminate(end, now);
                    });
                }
                piece = next(&mut self.output, &mut self.behind), if reads => {
                    self.read(piece);
                    self.read_on();
                }
            }
        }
    }

    /// Does what the core asks for.
    fn act(&mut self) {
        // Without room nothing changes, and nobody is woken for nothing.
        if !self.pending.is_empty() && self.shared.look(|core, _| core.output_room()) > 0 {
            self.hand_over();
        }
        while let Some(action) = self.next_action() {
            match action {
                Action::Resize(size) => {
                    // Whoever only sees is shown the screen at this size.
                    self.shared.by_driver(|_, _| ());
                    if let Some(session) = self.session.clone() {
                        self.note(RecordEvent::Resize(size));
                        self.works.resizing =
                            Some(Box::pin(async move { session.resize(size).await }));
                    }
                }
                Action::Signal(signal) => {
                    if let Some(session) = self.session.clone() {
                        self.works.signalling =
                            Some(Box::pin(async move { session.signal(signal).await }));
                    }
                }
                Action::CloseInput => {
                    if let Some(mut input) = self.input.take() {
                        self.works.writing = Some(Box::pin(async move {
                            let result = input.shutdown().await;
                            (input, 0, result)
                        }));
                    }
                }
                Action::Recheck => match self.shared.leave.clone() {
                    Some(leave) => {
                        self.works.asking = Some(Box::pin(async move {
                            leave.ask().await.map(|access| access.valid_for)
                        }));
                    }
                    None => self.shared.look(|core, now| core.authorized(None, now)),
                },
                Action::Close => self.close(),
            }
        }
        while let Some(input) = self.input.take() {
            let Some(bytes) = self.shared.look(|core, _| core.take_input(PIECE)) else {
                self.input = Some(input);
                break;
            };
            let taken = bytes.len();
            let bytes = self.judged(bytes);
            if bytes.is_empty() {
                self.input = Some(input);
                self.shared.by_driver(|core, _| core.input_written(taken));
                continue;
            }
            if let Some(witness) = &mut self.witness {
                witness.typed(&bytes);
            }
            self.works.writing = Some(Box::pin(write(input, bytes, taken)));
        }
        self.record();
    }

    /// The core's next wish whose like is not under way.
    fn next_action(&self) -> Option<Action> {
        let works = &self.works;
        let busy = works.resizing.is_some()
            || works.signalling.is_some()
            || works.recording.is_some()
            || !self.gathered.is_empty();
        self.shared.look(|core, _| match core.peek_action() {
            Some(Action::Resize(_) | Action::Signal(_)) if busy => None,
            // The pipe is in use; its end comes behind what is being written.
            Some(Action::CloseInput) if works.writing.is_some() => None,
            _ => core.poll_action(),
        })
    }

    fn close(&mut self) {
        (self.input, self.works.writing) = (None, None);
        if self.works.starting.take().is_some() {
            let cancelled = Error::new(ErrorKind::Cancelled, "the session ended before it started");
            return self
                .shared
                .by_driver(|core, now| core.start_failed(&cancelled, now));
        }
        if let Some(session) = self.session.clone() {
            let clock = Arc::clone(&self.shared.clock);
            self.works.closing = Some(Box::pin(async move {
                let closing = session.close();
                clock
                    .timeout(CLOSE_LIMIT, "closing a session", closing)
                    .await?
            }));
        }
    }

    fn started(&mut self, started: Result<Started>) {
        match started {
            Ok(started) => {
                let session = started.session;
                if self.aftermath.is_some() {
                    self.cleaned = Some(session.cleaned());
                }
                self.input = session.take_input();
                self.output = started.output;
                self.session = Some(Arc::clone(&session));
                self.works.exit = Some(Box::pin(async move { session.wait().await }));
                let has_input = self.input.is_some();
                self.shared.by_driver(|core, now| {
                    core.started();
                    if !has_input {
                        core.input_closed();
                    }
                    if started.first.is_none() && self.output.is_none() {
                        core.output_ended(now);
                    }
                });
                if let Some(first) = started.first {
                    self.read(Some(Ok(first)));
                }
            }
            Err(error) => self
                .shared
                .by_driver(|core, now| core.start_failed(&error, now)),
        }
    }

    fn written(&mut self, input: ExecInput, bytes: usize, result: io::Result<()>) {
        let is_open = result.is_ok() && bytes > 0;
        self.shared.by_driver(|core, _| match is_open {
            true => core.input_written(bytes),
            // The end of the input, or a process that reads no more.
            false => core.input_closed(),
        });
        if is_open {
            self.input = Some(input);
        }
    }

    fn exited(&mut self, status: Result<ExitStatus>) {
        self.shared.by_driver(|core, now| match status {
            Ok(status) => core.exited(status, now),
            Err(error) => core.exit_unknown(&error, now),
        });
    }

    /// Nothing of the process is needed any more.
    fn let_go(&mut self) {
        (self.input, self.output, self.behind) = (None, None, None);
        (self.pending, self.gathered) = (VecDeque::new(), Gathered::default());
        self.works.writing = None;
        self.works.exit = None;
        if self.works.closing.is_none() {
            self.session = None;
        }
        if self.told.is_some()
            && let Some(end) = self.shared.look(|core, _| core.end().cloned())
            && let Some(tell) = self.told.take()
        {
            tell(end);
        }
        if let Some((tell, tasks)) = self.aftermath.take()
            && let Some(cleaned) = self.cleaned.take()
        {
            tasks.spawn(async move {
                if let Some(report) = cleaned.await {
                    tell(report).await;
                }
            });
        }
        if self.unrecorded_end && self.works.recording.is_none() {
            self.unrecorded_end = false;
            if let Some(end) = self.shared.look(|core, _| core.end().cloned()) {
                if let Some(mut witness) = self.witness.take() {
                    witness
                        .finish()
                        .into_iter()
                        .for_each(|event| self.note(event));
                }
                self.note(RecordEvent::Ended(end));
                self.record();
            }
        }
    }
}

/// Writes `bytes`, which count as `taken`.
async fn write(
    mut input: ExecInput,
    bytes: Bytes,
    taken: usize,
) -> (ExecInput, usize, io::Result<()>) {
    let result = match input.write_all(&bytes).await {
        Ok(()) => input.flush().await,
        broken => broken,
    };
    (input, taken, result)
}

/// The result of a work that is under way, which is over then. Cancel safe.
async fn done<T>(work: &mut Work<T>) -> T {
    match work {
        Some(future) => {
            let result = future.await;
            *work = None;
            result
        }
        None => pending().await,
    }
}

/// What was read already comes first. Cancel safe.
async fn next(
    output: &mut Option<ExecOutputStream>,
    behind: &mut Option<Option<Result<ExecOutput>>>,
) -> Option<Result<ExecOutput>> {
    if let Some(piece) = behind.take() {
        return piece;
    }
    match output {
        Some(output) => output.next().await,
        None => pending().await,
    }
}

async fn until(deadline: Option<Timestamp>, clock: &dyn longshore_core::Clock) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => pending().await,
    }
}

const CLOSE_LIMIT: Duration = Duration::from_secs(30);
