//! The side of the process.

use std::time::Duration;

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, ExitStatus, OutputKind, Timestamp};

use super::{
    AHEAD, Action, LEAST_AHEAD, MOST_RECHECK_FAILURES, PATIENCE, PIECE, Phase, SHORTEST_RECHECK,
    SessionCore,
};
use crate::session::{EndReason, Notice, RecordReach, Role, SessionEnd};

/// How far the process may be ahead of a connection with this window. A window that had to shrink is
/// about as much as the way takes within the target delay; what waits before it adds to that.
fn ahead_of(window: u64) -> u64 {
    match window {
        AHEAD.. => AHEAD,
        slow => (slow / 2).max(LEAST_AHEAD),
    }
}

impl SessionCore {
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
        self.output_space().min(PIECE)
    }

    /// How much output there is room for in all.
    pub(in super::super) fn output_space(&self) -> usize {
        if self.phase == Phase::Ended || self.forced.is_some() {
            // What a dying process still says is not held up by a client that has gone.
            return usize::MAX;
        }
        if self.drops_oldest() {
            return usize::MAX;
        }
        let head = self.log.head();
        let settled = self.settled();
        if self.log.runs() >= self.most_runs() && settled < head {
            return 0;
        }
        let kept = head - settled.max(self.log.base());
        let room = self.options.log.saturating_sub(kept as usize);
        match self.writer.and_then(|id| self.viewers.get(&id)) {
            // The log is for whoever is away. Who is here would only see an answer late that stands
            // behind all of it.
            Some(writer) if self.flushing_until.is_none() => {
                let ahead = head - writer.cursor.min(head);
                room.min(ahead_of(writer.window.size()).saturating_sub(ahead) as usize)
            }
            _ => room,
        }
    }

    /// Whether whoever is here is reached slowly: what is before them is their answer's delay.
    pub(in super::super) fn is_reached_slowly(&self) -> bool {
        let writer = self.writer.and_then(|id| self.viewers.get(&id));
        writer.is_some_and(|writer| writer.window.size() < AHEAD)
    }

    /// How far the record goes from which the writer would take what it missed; `None`: there is
    /// none. Said before the output that was recorded last is given.
    pub fn recorded(&mut self, reach: Option<RecordReach>) {
        self.recorded = reach.unwrap_or_default();
    }

    /// Output of the process, at most [`output_room`](Self::output_room) bytes of it.
    pub fn output(&mut self, kind: OutputKind, bytes: &[u8], now: Timestamp) {
        if self.phase == Phase::Ended {
            return;
        }
        self.touch(now);
        self.log.push(kind, bytes);
        if let Some(screen) = &mut self.screen {
            screen.output(bytes);
        }
        match self.flushing_until {
            Some(until) if now < until => self.skip_unsent(),
            _ => self.flushing_until = None,
        }
        if self.patience.is_some() && self.forced.is_none() {
            // Its output still flows, so there is more to wait for. One that is ended may not keep
            // its session by talking on.
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
            Action::Resize(size) => {
                self.size = None;
                if let Some(screen) = &mut self.screen {
                    screen.resize(size);
                    // Who only sees draws at the writer's size.
                    for viewer in self.viewers.values_mut() {
                        viewer.redraw |= viewer.takes_snapshots && viewer.role != Role::Writer;
                    }
                }
            }
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
        let wait = valid_for.map_or(self.options.recheck, |valid| {
            valid.min(self.options.recheck)
        });
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
}
