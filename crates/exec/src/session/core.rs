use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use longshore_core::{
    Error, ErrorKind, ExitStatus, OutputKind, Result, Signal, TerminalSize, Timestamp,
};

use super::{
    EndReason, GapCause, Notice, Role, SessionEnd, SessionOptions, ViewerEvent, ViewerId,
    WhileDetached, input::InputQueue, log::OutputLog, rate::Rate, viewer::Viewer, window::Window,
};

/// A session as a state machine: between one process and those who look at it.
///
/// It never waits and asks nobody for the time. The side of the process: [`started`](Self::started),
/// [`output_room`](Self::output_room), [`output`](Self::output),
/// [`output_ended`](Self::output_ended), [`exited`](Self::exited), [`take_input`](Self::take_input),
/// [`input_written`](Self::input_written), [`poll_action`](Self::poll_action). The side of the
/// connections: [`attach`](Self::attach), [`receive`](Self::receive) and the rest, and
/// [`poll_event`](Self::poll_event). Whoever drives it calls [`handle_deadline`](Self::handle_deadline)
/// at [`next_deadline`](Self::next_deadline).
///
/// What holds, whatever comes: all viewers see the same bytes under the same offsets, none twice
/// and none left out without [`ViewerEvent::Gap`]; the process gets the input in order, once; the end
/// is told after all output; nothing grows beyond [`SessionOptions`].
#[derive(Debug)]
pub struct SessionCore {
    options: SessionOptions,
    log: OutputLog,
    input: InputQueue,
    viewers: BTreeMap<ViewerId, Viewer>,
    next_viewer: u64,
    writer: Option<ViewerId>,
    /// What the last writer has acknowledged: what lies before need not be kept for it.
    floor: u64,
    rate: Option<Rate>,
    phase: Phase,
    output_done: bool,
    exit: Option<SessionEnd>,
    forced: Option<SessionEnd>,
    end: Option<SessionEnd>,
    released: bool,
    size: Option<TerminalSize>,
    signals: Vec<Signal>,
    input_closing: bool,
    close_asked: bool,
    recheck_asked: bool,
    rechecking: bool,
    recheck_at: Timestamp,
    recheck_failures: u32,
    began: Timestamp,
    active: Timestamp,
    /// Until when somebody has to hold the session.
    alone_until: Option<Timestamp>,
    /// Until when the end of the process, or of its output, is waited for.
    patience: Option<Timestamp>,
    ended_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Running,
    Ended,
}

/// What the process's side has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Set the terminal's size.
    Resize(TerminalSize),
    /// Send a signal.
    Signal(Signal),
    /// All input was written: close it.
    CloseInput,
    /// Ask again whether the session's user may still be here.
    Recheck,
    /// End the process.
    Close,
}

impl SessionCore {
    /// A session that is about to start, held by nobody yet.
    pub fn new(options: SessionOptions, now: Timestamp) -> Self {
        Self {
            log: OutputLog::default(),
            input: InputQueue::new(options.input),
            viewers: BTreeMap::new(),
            next_viewer: 0,
            writer: None,
            floor: 0,
            rate: options.bandwidth.map(|rate| Rate::new(rate, now)),
            phase: Phase::Starting,
            output_done: false,
            exit: None,
            forced: None,
            end: None,
            released: false,
            size: None,
            signals: Vec::new(),
            input_closing: false,
            close_asked: false,
            recheck_asked: false,
            rechecking: false,
            recheck_at: now.after(options.recheck),
            recheck_failures: 0,
            began: now,
            active: now,
            alone_until: Some(now.after(options.grace.max(FIRST_ATTACH))),
            patience: None,
            ended_at: now,
            options,
        }
    }

    // The side of the process.

    /// The process runs. Input and sizes from before go to it now, in order.
    pub fn started(&mut self) {
        if self.phase == Phase::Starting {
            self.phase = Phase::Running;
            self.tell_writer(Notice::Started);
        }
    }

    /// The process could not be started.
    pub fn start_failed(&mut self, error: &Error, now: Timestamp) {
        let end = SessionEnd::start_failed(error);
        let end = self.forced.take().unwrap_or(end);
        self.finish(end, now);
    }

    /// How much output may be given now. At 0 the process has to wait.
    pub fn output_room(&self) -> usize {
        if self.phase == Phase::Ended || self.forced.is_some() {
            // What a dying process still says is not held up by a client that has gone.
            return PIECE;
        }
        if self.drops_oldest() {
            return PIECE;
        }
        if self.log.runs() >= self.most_runs() {
            return 0;
        }
        let kept = self.log.head() - self.floor.max(self.log.base());
        self.options.log.saturating_sub(kept as usize).min(PIECE)
    }

    /// Output of the process, at most [`output_room`](Self::output_room) bytes of it.
    pub fn output(&mut self, kind: OutputKind, bytes: &[u8], now: Timestamp) {
        if self.phase == Phase::Ended {
            return;
        }
        self.active = now;
        self.log.push(kind, bytes);
        if self.patience.is_some() {
            // Its output still flows, so there is more to wait for.
            self.patience = Some(now.after(PATIENCE));
        }
        self.trim();
    }

    /// All output was given.
    pub fn output_ended(&mut self, now: Timestamp) {
        self.output_done = true;
        self.settle(now);
    }

    /// How the process ended.
    pub fn exited(&mut self, status: ExitStatus, now: Timestamp) {
        if self.exit.is_none() {
            self.exit = Some(status.into());
            self.settle(now);
        }
    }

    /// How the process ended could not be learnt.
    pub fn exit_unknown(&mut self, error: &Error, now: Timestamp) {
        if self.exit.is_none() {
            let reason = match error.kind() {
                ErrorKind::NotFound => EndReason::ContainerGone,
                _ => EndReason::Lost,
            };
            self.exit = Some(SessionEnd::new(reason).with_text(error.to_string()));
            self.settle(now);
        }
    }

    /// The next input to write, at most `most` bytes.
    pub fn take_input(&mut self, most: usize) -> Option<Bytes> {
        if self.phase != Phase::Running || self.is_held() {
            return None;
        }
        self.input.take(most)
    }

    /// So many bytes of what [`take_input`](Self::take_input) gave were written.
    pub fn input_written(&mut self, bytes: usize) {
        self.input.written(bytes);
    }

    /// Tells whoever writes something.
    pub fn notify(&mut self, notice: Notice) {
        self.tell_writer(notice);
    }

    /// The process takes no more input.
    pub fn input_closed(&mut self) {
        self.input.close();
        self.input_closing = true;
    }

    /// What [`poll_action`](Self::poll_action) would give.
    pub fn peek_action(&self) -> Option<Action> {
        if self.phase == Phase::Ended {
            return None;
        }
        if self.forced.is_some() {
            return (!self.close_asked).then_some(Action::Close);
        }
        if self.recheck_asked && !self.rechecking {
            return Some(Action::Recheck);
        }
        if self.phase != Phase::Running {
            return None;
        }
        if let Some(size) = self.size {
            return Some(Action::Resize(size));
        }
        if let Some(signal) = self.signals.first() {
            return Some(Action::Signal(*signal));
        }
        (self.input.is_done() && !self.input_closing).then_some(Action::CloseInput)
    }

    /// What there is to do for the process, once.
    pub fn poll_action(&mut self) -> Option<Action> {
        let action = self.peek_action()?;
        match action {
            Action::Close => self.close_asked = true,
            Action::Recheck => self.rechecking = true,
            Action::Resize(_) => self.size = None,
            Action::Signal(_) => drop(self.signals.remove(0)),
            Action::CloseInput => self.input_closing = true,
        }
        Some(action)
    }

    /// A signal could not be sent.
    pub fn signal_failed(&mut self) {
        if let Some(viewer) = self.writer.and_then(|id| self.viewers.get_mut(&id)) {
            viewer.notice(Notice::SignalFailed);
        }
    }

    /// Leave was given again, for so long.
    pub fn authorized(&mut self, valid_for: Option<Duration>, now: Timestamp) {
        self.recheck_failures = 0;
        (self.recheck_asked, self.rechecking) = (false, false);
        let wait = valid_for.map_or(self.options.recheck, |valid| valid.min(self.options.recheck));
        self.recheck_at = now.after(wait.max(SHORTEST_RECHECK));
    }

    /// Leave was refused, or nobody could be asked. A refusal ends the session at once; the other
    /// does when it happens three times in a row.
    pub fn not_authorized(&mut self, error: &Error, now: Timestamp) {
        self.recheck_failures += 1;
        (self.recheck_asked, self.rechecking) = (false, false);
        let refused = matches!(
            error.kind(),
            ErrorKind::PermissionDenied | ErrorKind::Unauthenticated
        );
        if refused || self.recheck_failures >= MOST_RECHECK_FAILURES {
            self.terminate(SessionEnd::new(EndReason::AuthExpired), now);
        } else {
            self.recheck_at = now.after(SHORTEST_RECHECK);
        }
    }

    // The side of the connections.

    /// Lets a connection in that wants output from `from` on; `None`: all that is kept. A writer
    /// takes over from the one before.
    ///
    /// # Errors
    /// Too many are here, the session is over, or `from` lies ahead of all output.
    pub fn attach(&mut self, role: Role, from: Option<u64>, now: Timestamp) -> Result<ViewerId> {
        if self.is_over(now) {
            return Err(Error::closed("the session is over"));
        }
        let here = self.viewers.len();
        // A place is kept for who writes; whoever it takes over from has not left yet.
        let most = match role {
            Role::Writer => 2 * self.options.viewers.max(1),
            _ => self.options.viewers.max(1) - usize::from(self.writer.is_none()),
        };
        if here >= most {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("the session has {here} connections already"),
            ));
        }
        let from = from.unwrap_or(self.log.base());
        if from > self.log.head() {
            return Err(Error::protocol(format!(
                "output from offset {from} was asked for, and there are {} bytes",
                self.log.head()
            )));
        }
        let window = Window::new(
            self.options.window as u64,
            SMALLEST_WINDOW,
            LARGEST_WINDOW,
            self.options.queued,
        );
        let mut viewer = Viewer::new(role, from, self.input.taken(), window);
        let id = ViewerId(self.next_viewer);
        self.next_viewer += 1;
        match role {
            Role::Writer => {
                if let Some(old) = self.writer.and_then(|id| self.viewers.get_mut(&id)) {
                    old.superseded = true;
                }
                self.writer = Some(id);
                self.alone_until = None;
                self.floor = self.floor.max(from);
                if self.phase == Phase::Running {
                    viewer.notice(Notice::Started);
                }
                if self.is_held() {
                    viewer.notice(Notice::InputHeld);
                }
                self.viewers.insert(id, viewer);
            }
            Role::Approver => {
                let held = self.is_held();
                self.viewers.insert(id, viewer);
                if held {
                    self.tell_writer(Notice::InputReleased);
                }
            }
            Role::Watcher => {
                self.viewers.insert(id, viewer);
            }
        }
        Ok(id)
    }

    /// A connection has gone. A writer may come back within the grace time.
    pub fn detach(&mut self, id: ViewerId, now: Timestamp) {
        let held = self.is_held();
        let Some(viewer) = self.viewers.remove(&id) else {
            return;
        };
        if self.writer == Some(id) {
            self.writer = None;
            self.alone_until = Some(now.after(self.options.grace));
            self.floor = self.floor.max(viewer.acknowledged);
            if self.options.grace.is_zero() && self.phase != Phase::Ended {
                self.terminate(SessionEnd::new(EndReason::Lost).with_text(LEFT), now);
            }
        }
        if !held && self.is_held() {
            self.tell_writer(Notice::InputHeld);
        }
        self.trim();
    }

    /// The writer gives the session up, or has heard its end.
    pub fn release(&mut self, id: ViewerId, now: Timestamp) {
        if self.writer != Some(id) {
            return self.refuse(id);
        }
        self.released = true;
        if self.phase != Phase::Ended {
            let end = SessionEnd::new(EndReason::EndedByOperator).with_text("the client ended it");
            self.terminate(end, now);
        }
    }

    /// Input of a connection, beginning at `offset`; `None`: where the last ended. Gives what is
    /// new of it, for a record.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a hole, for more than may wait, and for input after its end. The
    /// input of a watcher is no error: it is told that it only watches.
    pub fn receive(
        &mut self,
        id: ViewerId,
        offset: Option<u64>,
        bytes: Bytes,
        now: Timestamp,
    ) -> Result<Bytes> {
        if self.writer != Some(id) {
            self.refuse(id);
            return Ok(Bytes::new());
        }
        let new = self.input.receive(offset.unwrap_or(self.input.next()), bytes)?;
        if !new.is_empty() {
            self.active = now;
            if new.iter().any(|byte| INTERRUPTS.contains(byte)) {
                self.flush(id);
            }
        }
        Ok(new)
    }

    /// The input ends at `offset`; `None`: where the last ended.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a hole.
    pub fn end_input(&mut self, id: ViewerId, offset: Option<u64>) -> Result<()> {
        if self.writer != Some(id) {
            self.refuse(id);
            return Ok(());
        }
        Ok(self.input.end(offset.unwrap_or(self.input.next()))?)
    }

    /// The terminal has a new size. Of several that wait, only the newest is set. A size of
    /// nothing is ignored.
    pub fn resize(&mut self, id: ViewerId, size: TerminalSize) {
        if self.writer != Some(id) {
            // Every watcher has a size of its own: not worth a word.
            return;
        }
        if size.columns > 0 && size.rows > 0 {
            self.size = Some(size);
        }
    }

    /// A signal for the process. More than a few that wait are dropped.
    pub fn signal(&mut self, id: ViewerId, signal: Signal, now: Timestamp) {
        if self.writer != Some(id) {
            return self.refuse(id);
        }
        self.active = now;
        if self.signals.len() < MOST_SIGNALS && !self.signals.contains(&signal) {
            self.signals.push(signal);
        }
    }

    /// The connection has consumed the output before `offset`.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when that was never sent.
    pub fn acknowledge(&mut self, id: ViewerId, offset: u64, now: Timestamp) -> Result<()> {
        let Some(viewer) = self.viewers.get_mut(&id) else {
            return Ok(());
        };
        if offset > viewer.cursor {
            return Err(Error::protocol(format!(
                "output up to offset {offset} was acknowledged, and {} bytes were sent",
                viewer.cursor
            )));
        }
        if offset > viewer.acknowledged {
            let new = offset - viewer.acknowledged;
            viewer.acknowledged = offset;
            viewer.window.acknowledged(offset, new, now);
            if self.writer == Some(id) {
                self.floor = self.floor.max(offset);
            }
            self.trim();
        }
        Ok(())
    }

    /// Stops or resumes output to a connection.
    pub fn set_paused(&mut self, id: ViewerId, paused: bool) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.paused = paused;
        }
    }

    /// Passes the right to write from the writer to another connection.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when `from` is not the writer, [`ErrorKind::NotFound`] when
    /// `to` is not here.
    pub fn grant(&mut self, from: ViewerId, to: ViewerId) -> Result<()> {
        if self.writer != Some(from) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "only the connection that writes can pass that on",
            ));
        }
        if from == to {
            return Ok(());
        }
        let Some(heir) = self.viewers.get_mut(&to) else {
            return Err(Error::not_found("no such connection in this session"));
        };
        heir.role = Role::Writer;
        heir.notice(Notice::MayWrite);
        self.floor = self.floor.max(heir.acknowledged);
        self.writer = Some(to);
        if let Some(old) = self.viewers.get_mut(&from) {
            old.role = Role::Watcher;
            old.notice(Notice::ReadOnly);
        }
        Ok(())
    }

    /// What a connection is told next.
    pub fn poll_event(&mut self, id: ViewerId, now: Timestamp) -> Option<ViewerEvent> {
        let (base, head, taken) = (self.log.base(), self.log.head(), self.input.taken());
        let writes = self.writer == Some(id);
        let viewer = self.viewers.get_mut(&id)?;
        if viewer.done {
            return None;
        }
        if viewer.superseded {
            viewer.done = true;
            return Some(ViewerEvent::Superseded);
        }
        if let Some(notice) = viewer.next_notice() {
            return Some(ViewerEvent::Notice(notice));
        }
        if writes && viewer.told_taken < taken {
            viewer.told_taken = taken;
            return Some(ViewerEvent::InputTaken(taken));
        }
        let flushed = viewer.flush_to.take();
        for (to, cause) in [
            (Some(base), GapCause::Trimmed),
            (flushed, GapCause::Flushed),
        ] {
            if let Some(to) = to
                && viewer.cursor < to
            {
                let from = viewer.cursor;
                viewer.skip_to(to);
                return Some(ViewerEvent::Gap { from, to, cause });
            }
        }
        if viewer.cursor < head {
            let mut room = viewer.room().min(PIECE);
            if let Some(rate) = &mut self.rate {
                room = room.min(rate.room(now));
            }
            let (kind, bytes) = self.log.read(viewer.cursor, room)?;
            let offset = viewer.cursor;
            viewer.sent(bytes.len(), now);
            if let Some(rate) = &mut self.rate {
                rate.spend(bytes.len());
            }
            return Some(ViewerEvent::Output {
                offset,
                kind,
                bytes,
            });
        }
        let end = self.end.clone()?;
        viewer.done = true;
        Some(ViewerEvent::Ended(end))
    }

    // Both sides.

    /// Ends the session for this reason. The process is closed; what it still says is told before
    /// the end.
    pub fn terminate(&mut self, end: SessionEnd, now: Timestamp) {
        if self.phase == Phase::Ended || self.forced.is_some() {
            return;
        }
        self.forced = Some(end);
        self.settle(now);
    }

    /// When [`handle_deadline`](Self::handle_deadline) has to be called.
    pub fn next_deadline(&self, now: Timestamp) -> Option<Timestamp> {
        let mut next = None;
        let mut by = |at: Timestamp| next = Some(next.map_or(at, |next: Timestamp| next.min(at)));
        if self.phase == Phase::Ended {
            // Afterwards only the connections that have not heard the end keep it.
            let kept_until = self.ended_at.after(self.options.grace);
            if now < kept_until && !self.is_over(now) {
                by(kept_until);
            }
            return next;
        }
        if let Some(patience) = self.patience
            && (self.output_done || self.forced.is_some() || self.output_room() > 0)
        {
            by(patience);
        }
        if self.forced.is_some() {
            return next;
        }
        if let Some(until) = self.alone_until {
            by(until);
        }
        if let Some(idle) = self.options.idle {
            by(self.active.after(idle));
        }
        if let Some(longest) = self.options.longest {
            by(self.began.after(longest));
        }
        if !self.recheck_asked {
            by(self.recheck_at);
        }
        next
    }

    /// When output that only the bandwidth holds back may go on.
    pub fn next_output(&self) -> Option<Timestamp> {
        self.rate.as_ref().map(Rate::next_room)
    }

    /// Time has passed.
    pub fn handle_deadline(&mut self, now: Timestamp) {
        if self.phase == Phase::Ended {
            return;
        }
        if let Some(patience) = self.patience
            && now >= patience
            && (self.output_done || self.forced.is_some() || self.output_room() > 0)
        {
            return self.give_up_waiting(now);
        }
        if self.forced.is_some() {
            return;
        }
        let passed = |since: Timestamp, limit: Option<Duration>| {
            limit.is_some_and(|limit| now >= since.after(limit))
        };
        if self.alone_until.is_some_and(|until| now >= until) {
            self.terminate(SessionEnd::new(EndReason::Lost).with_text(LEFT), now);
        } else if passed(self.began, self.options.longest) {
            self.terminate(SessionEnd::new(EndReason::MaxDuration), now);
        } else if passed(self.active, self.options.idle) {
            self.terminate(SessionEnd::new(EndReason::Idle), now);
        } else if now >= self.recheck_at && !self.recheck_asked {
            self.recheck_asked = true;
        }
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&SessionEnd> {
        self.end.as_ref()
    }

    /// Whether it has ended and nobody will ask for it any more.
    pub fn is_over(&self, now: Timestamp) -> bool {
        let waited = self.released || now >= self.ended_at.after(self.options.grace);
        self.phase == Phase::Ended && waited && self.viewers.values().all(|viewer| viewer.done)
    }

    /// The offset of the oldest output that is kept, and the one behind the newest.
    pub fn output_range(&self) -> (u64, u64) {
        (self.log.base(), self.log.head())
    }

    /// The offset of the next input that was not received.
    pub fn next_input(&self) -> u64 {
        self.input.next()
    }

    /// How many bytes of input may come now.
    pub fn input_room(&self) -> usize {
        self.input.room()
    }

    /// How many bytes of input may wait.
    pub fn input_capacity(&self) -> usize {
        self.options.input
    }

    /// Whether a connection was told its last event, or has left.
    pub fn is_done(&self, id: ViewerId) -> bool {
        self.viewers.get(&id).is_none_or(|viewer| viewer.done)
    }

    /// Sets how long the session, or its end, is kept for a client that is away.
    pub fn set_grace(&mut self, grace: Duration) {
        self.options.grace = grace;
    }

    /// Whether anybody holds the session.
    pub fn has_writer(&self) -> bool {
        self.writer.is_some()
    }

    /// Bytes of output and input that are kept.
    pub fn kept(&self) -> usize {
        self.log.len() + (self.options.input.saturating_sub(self.input.room()))
    }

    fn tell_writer(&mut self, notice: Notice) {
        if let Some(viewer) = self.writer.and_then(|id| self.viewers.get_mut(&id)) {
            viewer.notice(notice);
        }
    }

    fn refuse(&mut self, id: ViewerId) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.notice(Notice::ReadOnly);
        }
    }

    fn is_held(&self) -> bool {
        self.options.moderated
            && !self.viewers.values().any(|viewer| viewer.role == Role::Approver && !viewer.done)
    }

    /// Whether output is dropped rather than the process held up.
    fn drops_oldest(&self) -> bool {
        self.writer.is_none() && self.options.detached == WhileDetached::Live
    }

    fn most_runs(&self) -> usize {
        (self.options.log / BYTES_PER_RUN).max(64)
    }

    /// Forgets what nobody needs.
    fn trim(&mut self) {
        let head = self.log.head();
        let behind = |bytes: usize| head.saturating_sub(bytes as u64);
        let slowest = self.viewers.values().map(|viewer| viewer.cursor).min();
        let wanted = slowest.unwrap_or(head).min(behind(self.options.history));
        // A watcher that falls behind is waited for in memory only, not by the process.
        let mut start = wanted
            .max(behind(self.options.log + self.options.history))
            .min(self.floor);
        if self.log.runs() >= self.most_runs() {
            start = start.max(self.floor.min(self.log.start_of_last(self.most_runs() / 2)));
        }
        if self.drops_oldest() || self.forced.is_some() {
            start = start
                .max(behind(self.options.log))
                .max(self.log.start_of_last(self.most_runs()));
        }
        self.log.trim(start);
    }

    /// Drops what was not sent yet, so that the answer to an interrupt is seen soon.
    fn flush(&mut self, id: ViewerId) {
        if !self.options.interrupt_flush || self.options.detached != WhileDetached::Live {
            return;
        }
        let head = self.log.head();
        let Some(viewer) = self.viewers.get_mut(&id) else {
            return;
        };
        if head - viewer.cursor > KEPT_AT_INTERRUPT {
            viewer.flush_to = Some(head - KEPT_AT_INTERRUPT);
        }
    }

    fn settle(&mut self, now: Timestamp) {
        if self.phase == Phase::Ended {
            return;
        }
        let forced = self.forced.is_some();
        match (&self.exit, self.output_done) {
            (Some(_), true) => {
                let known = self.exit.take();
                let end = match (self.forced.take(), known) {
                    (Some(forced), Some(known)) => SessionEnd {
                        code: known.code,
                        signal: known.signal,
                        ..forced
                    },
                    (forced, known) => forced.or(known).unwrap_or(SessionEnd::new(EndReason::Lost)),
                };
                self.finish(end, now);
            }
            (None, false) if !forced => {}
            _ => {
                self.patience.get_or_insert(now.after(PATIENCE));
            }
        }
    }

    /// The process or its output does not end by itself.
    fn give_up_waiting(&mut self, now: Timestamp) {
        let known = self.exit.take();
        let end = match (self.forced.take(), known) {
            (Some(forced), Some(known)) => SessionEnd {
                code: known.code,
                signal: known.signal,
                ..forced
            },
            (Some(forced), None) => forced,
            (None, Some(known)) => known,
            (None, None) => SessionEnd::new(EndReason::Lost)
                .with_text("the output ended and the process's end was not learnt"),
        };
        self.finish(end, now);
    }

    fn finish(&mut self, end: SessionEnd, now: Timestamp) {
        self.phase = Phase::Ended;
        self.end = Some(end);
        self.ended_at = now;
        self.input.close();
        self.trim();
    }
}

/// How much is read, written and sent at a time.
pub(super) const PIECE: usize = 16 * 1024;
const SMALLEST_WINDOW: u64 = 8 * 1024;
const LARGEST_WINDOW: u64 = 1 << 20;
const MOST_SIGNALS: usize = 8;
const KEPT_AT_INTERRUPT: u64 = 64 * 1024;
/// What an interactive program is interrupted with: ^C, ^Z and ^\.
const INTERRUPTS: [u8; 3] = [0x03, 0x1a, 0x1c];
/// A run costs 16 bytes.
const BYTES_PER_RUN: usize = 64;
/// How long the rest of the process is waited for, once its output or itself has ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// A session has at least so long until its first connection.
const FIRST_ATTACH: Duration = Duration::from_secs(10);
const SHORTEST_RECHECK: Duration = Duration::from_secs(1);
const MOST_RECHECK_FAILURES: u32 = 3;
const LEFT: &str = "the client did not come back in time";
