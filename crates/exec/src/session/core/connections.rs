//! The side of the connections.

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, Result, Signal, TerminalSize, Timestamp};

use super::{
    INTERRUPTS, LARGEST_EVENT, LARGEST_WINDOW, LEFT, MOST_SIGNALS, Phase, SMALLEST_WINDOW,
    SessionCore,
};
use crate::session::{
    EndReason, GapCause, Notice, Role, SessionEnd, ViewerEvent, ViewerId, viewer::Viewer,
    window::Window,
};

impl SessionCore {
    /// Lets a connection in that wants output from `from` on; `None`: all that is kept. A writer
    /// takes over from the one before.
    ///
    /// # Errors
    /// Too many are here, the session is over, or `from` lies ahead of all output.
    pub fn attach(&mut self, role: Role, from: Option<u64>, now: Timestamp) -> Result<ViewerId> {
        self.attach_as(role, None, from, now)
    }

    /// As [`attach`](Self::attach), with the name of whoever comes: they approve no input of their
    /// own.
    ///
    /// # Errors
    /// As for [`attach`](Self::attach).
    pub fn attach_as(
        &mut self,
        role: Role,
        who: Option<&str>,
        from: Option<u64>,
        now: Timestamp,
    ) -> Result<ViewerId> {
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
        let mut viewer = Viewer::new(role, from, window);
        viewer.who = who.map(str::to_owned);
        let id = ViewerId(self.next_viewer);
        self.next_viewer += 1;
        match role {
            Role::Writer => {
                if self.writer != self.owner {
                    self.demote_writer();
                }
                if let Some(old) = self.owner.and_then(|id| self.viewers.get_mut(&id)) {
                    old.superseded = true;
                }
                (self.writer, self.owner) = (Some(id), Some(id));
                self.author.clone_from(&viewer.who);
                self.belongs_to_owner();
                self.alone_until = None;
                self.take_place();
                self.floor = self.floor.max(from);
                if self.phase == Phase::Running {
                    viewer.notice(Notice::Started);
                }
                if self.is_held() {
                    viewer.notice(Notice::InputHeld);
                }
                for (id, here) in &self.viewers {
                    if here.rests_as == Role::Approver && !here.done {
                        viewer.notice(Notice::Joined(*id));
                    }
                }
                self.viewers.insert(id, viewer);
            }
            Role::Approver => {
                let held = self.is_held();
                self.viewers.insert(id, viewer);
                if held && !self.is_held() {
                    self.tell_writer(Notice::InputReleased);
                }
                self.tell_owner(Notice::Joined(id));
            }
            Role::Watcher => {
                self.viewers.insert(id, viewer);
            }
        }
        self.people_changed();
        Ok(id)
    }

    /// A connection has gone. The owner may come back within the grace time, also where somebody else
    /// writes meanwhile; without grace the session ends with it.
    pub fn detach(&mut self, id: ViewerId, now: Timestamp) {
        let held = self.is_held();
        let was_writer = self.writer == Some(id);
        if was_writer && self.owner != Some(id) {
            self.drop_unwritten();
        }
        let Some(viewer) = self.viewers.remove(&id) else {
            return;
        };
        self.people_changed();
        if self.owner == Some(id) {
            self.owner = None;
            if !was_writer {
                self.refills = viewer.refills;
                self.place = self.place.filter(|_| !self.is_live());
            }
            self.alone_until = Some(now.after(self.options.grace));
            if self.options.grace.is_zero() && self.phase != Phase::Ended {
                self.terminate(SessionEnd::new(EndReason::Lost).with_text(LEFT), now);
            }
        } else if viewer.rests_as == Role::Approver {
            self.tell_owner(Notice::Left(id));
        }
        if was_writer {
            self.writer = None;
        }
        if was_writer && self.give_back().is_none() {
            match self.place.is_some() {
                // The owner is away, and what it misses is what counts.
                true => self.take_place(),
                false => {
                    self.refills = viewer.refills;
                    self.floor = self.floor.max(viewer.acknowledged);
                }
            }
        }
        if !held && self.is_held() {
            self.tell_writer(Notice::InputHeld);
        }
        self.trim();
    }

    /// The owner gives the session up, or has heard its end. Who was granted the right to write may end
    /// the process; what it said last, and how it ended, is kept for the owner.
    pub fn release(&mut self, id: ViewerId, now: Timestamp) {
        if self.owner == Some(id) {
            self.released = true;
        } else if self.writer != Some(id) {
            return self.refuse(id);
        }
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
        let new = self
            .input
            .receive(offset.unwrap_or(self.input.next()), bytes)?;
        if !new.is_empty() {
            self.touch(now);
            if new.iter().any(|byte| INTERRUPTS.contains(byte)) {
                self.flush(now);
            }
        }
        Ok(new)
    }

    /// The input ends at `offset`; `None`: where the last ended. It is the owner's to end: of who was only
    /// lent the right to write, nothing comes of it.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] for a hole.
    pub fn end_input(&mut self, id: ViewerId, offset: Option<u64>) -> Result<()> {
        if self.writer != Some(id) {
            self.refuse(id);
            return Ok(());
        }
        if self.owner != Some(id) {
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
        self.touch(now);
        let _ = self.queue_signal(signal);
    }

    /// A signal for the process from outside, which counts as no activity of the session's user.
    ///
    /// # Errors
    /// [`ErrorKind::Closed`] when the session has ended, [`ErrorKind::ResourceExhausted`] when too
    /// many others wait.
    pub fn signal_from_outside(&mut self, signal: Signal) -> Result<()> {
        if self.phase == Phase::Ended || self.forced.is_some() {
            return Err(Error::closed("the session has ended"));
        }
        self.queue_signal(signal)
    }

    /// One that waits already is not sent twice.
    fn queue_signal(&mut self, signal: Signal) -> Result<()> {
        if self.signals.contains(&signal) {
            return Ok(());
        }
        if self.signals.len() >= MOST_SIGNALS {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("{MOST_SIGNALS} signals wait for the session's process already"),
            ));
        }
        self.signals.push(signal);
        Ok(())
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
            if self.owner == Some(id) {
                self.place = self.place.map(|place| place.max(offset));
            }
            self.trim();
        }
        Ok(())
    }

    /// How many bytes of output a connection may have unacknowledged now.
    #[cfg(feature = "gateway")]
    pub(in crate::session) fn window(&self, id: ViewerId) -> u64 {
        self.viewers.get(&id).map_or(0, |it| it.window.size())
    }

    /// Stops or resumes output to a connection.
    pub fn set_paused(&mut self, id: ViewerId, paused: bool) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.paused = paused;
        }
    }

    /// The connection takes [`ViewerEvent::Snapshot`] where output is missing; one that only sees is
    /// shown the screen at once, instead of the output that is kept. Without a screen nothing
    /// changes.
    pub fn accept_snapshots(&mut self, id: ViewerId) {
        let shown = self.screen.is_some();
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.takes_snapshots = shown;
            viewer.redraw = shown && viewer.role != Role::Writer;
        }
    }

    /// Whether a connection is shown the screen where output is missing.
    #[cfg(feature = "gateway")]
    pub(in crate::session) fn takes_snapshots(&self, id: ViewerId) -> bool {
        self.viewers
            .get(&id)
            .is_some_and(|viewer| viewer.takes_snapshots)
    }

    /// Whether a connection may not see any more of the session: another took over from it, or leave
    /// to be in the session ended, which is the owner's.
    #[cfg(feature = "gateway")]
    pub(in crate::session) fn is_barred(&self, id: ViewerId) -> bool {
        let ends = [&self.forced, &self.end];
        let mut ends = ends.into_iter().flatten();
        let expired = ends.any(|end| end.reason == EndReason::AuthExpired);
        self.viewers.get(&id).is_none_or(|viewer| viewer.superseded)
            || expired && self.owner == Some(id)
    }

    /// The connection takes what it missed from the session's record, when it comes back as the
    /// writer that it is: [`recorded`](Self::recorded) says how far that goes. So the process need not
    /// wait for it.
    pub fn accept_refills(&mut self, id: ViewerId) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.refills = true;
        }
    }

    /// What a connection is told next.
    pub fn poll_event(&mut self, id: ViewerId, now: Timestamp) -> Option<ViewerEvent> {
        let (base, head, taken) = (self.log.base(), self.log.head(), self.input.taken());
        let writes = self.writer == Some(id);
        let viewer = self.viewers.get_mut(&id)?;
        viewer.held_until = None;
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
        if let Some(people) = self.untold_people(id) {
            return Some(ViewerEvent::People(people));
        }
        if let Some(end) = self.untold_ending(id) {
            return Some(ViewerEvent::Ending(end));
        }
        let viewer = self.viewers.get_mut(&id)?;
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
                viewer.redraw |= viewer.takes_snapshots;
                return Some(ViewerEvent::Gap { from, to, cause });
            }
        }
        if std::mem::take(&mut viewer.redraw)
            && let Some(screen) = &mut self.screen
        {
            viewer.skip_to(head);
            return Some(ViewerEvent::Snapshot {
                offset: head,
                bytes: screen.redraw(),
            });
        }
        if viewer.cursor < head {
            let left = usize::try_from(head - viewer.cursor).unwrap_or(usize::MAX);
            let room = viewer.room().min(LARGEST_EVENT).min(left);
            if room == 0 {
                return None;
            }
            let granted = match self.bandwidth.take(room, now) {
                Ok(granted) => granted,
                Err(later) => {
                    viewer.held_until = Some(later);
                    return None;
                }
            };
            let read = self.log.read(viewer.cursor, granted);
            let length = read.as_ref().map_or(0, |(_, bytes)| bytes.len());
            self.bandwidth.give_back(granted - length);
            let (kind, bytes) = read?;
            let offset = viewer.cursor;
            viewer.sent(length, now);
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
}
