mod recording;

use std::{collections::VecDeque, future::pending, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use longshore_core::{
    BoxFuture, CleanupReport, ClockExt, Error, ErrorKind, ExecBackend, ExecInput, ExecOutput,
    ExecOutputStream, ExecSession, ExitStatus, Result, Shutdown, Timestamp,
};
use tokio::io::AsyncWriteExt;

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
    pending: Option<ExecOutput>,
    /// What came behind output that is recorded in one, and was not of it.
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
            pending: None,
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
            let (over, room, deadline, ended) = self.shared.look(|core, now| {
                let ended = core.end().is_some();
                (
                    core.is_over(now),
                    core.output_room(),
                    core.next_deadline(now),
                    ended,
                )
            });
            if ended {
                self.let_go();
            }
            if over && self.works.closing.is_none() && self.works.recording.is_none() {
                return;
            }
            let reads = self.pending.is_none() && self.works.recording.is_none() && room > 0;
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
        if self.shared.look(|core, _| core.output_room()) > 0
            && let Some(piece) = self.pending.take()
        {
            self.take_in(piece);
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
        if !self.unrecorded.is_empty() && self.works.recording.is_none() {
            self.record(None);
        }
    }

    /// The core's next wish whose like is not under way.
    fn next_action(&self) -> Option<Action> {
        let works = &self.works;
        let busy = works.resizing.is_some()
            || works.signalling.is_some()
            || works.recording.is_some() && self.recorder.is_some();
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

    fn read(&mut self, piece: Option<Result<ExecOutput>>) {
        let piece = match piece {
            Some(Ok(piece)) => piece,
            other => {
                if let Some(Err(error)) = other {
                    tracing::debug!(session = %self.shared.id, error = error.chain(), "the output broke off");
                }
                self.output = None;
                return self.shared.by_driver(SessionCore::output_ended);
            }
        };
        if self.recorder.is_none() {
            return self.take_in(piece);
        }
        let piece = self.gather(piece);
        let offset = self.shared.look(|core, _| core.output_range().1);
        let event = RecordEvent::Output {
            offset,
            kind: piece.kind,
            bytes: piece.bytes.clone(),
        };
        self.note(event);
        if let Some(witness) = &mut self.witness {
            let decided = witness.shown(&piece.bytes);
            decided.into_iter().for_each(|event| self.note(event));
        }
        self.record(Some(piece));
    }

    /// Takes what is there already, without looking around between its pieces: an engine sends a
    /// flood in frames of a few thousand bytes.
    fn read_on(&mut self) {
        for _ in 0..MOST_AT_ONCE {
            let reads = self.pending.is_none()
                && self.recorder.is_none()
                && self.shared.look(|core, _| core.output_room()) > 0;
            let Some(output) = self.output.as_mut().filter(|_| reads) else {
                return;
            };
            let Some(piece) = output.next().now_or_never() else {
                return;
            };
            self.read(piece);
        }
    }

    /// Gives output to the core as far as there is room.
    fn take_in(&mut self, mut piece: ExecOutput) {
        self.shared.by_driver(|core, now| {
            while !piece.bytes.is_empty() {
                let room = core.output_room().min(piece.bytes.len());
                if room == 0 {
                    break;
                }
                core.output(piece.kind, &piece.bytes.split_to(room), now);
            }
        });
        if !piece.bytes.is_empty() {
            self.pending = Some(piece);
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
        (self.input, self.output, self.pending) = (None, None, None);
        self.behind = None;
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
                self.record(None);
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

const MOST_AT_ONCE: usize = 64;
const CLOSE_LIMIT: Duration = Duration::from_secs(30);
