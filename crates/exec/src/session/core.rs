mod connections;
mod grant;
mod people;
mod process;
mod time;

#[cfg(feature = "gateway")]
pub(crate) use grant::Prospect;

use std::{collections::BTreeMap, time::Duration};

use longshore_core::{Signal, TerminalSize, Timestamp};

use super::{
    Notice, RecordReach, Role, Screen, SessionEnd, SessionOptions, ViewerId, WhileDetached,
    bandwidth::Bandwidth, input::InputQueue, log::OutputLog, rate::Rate, recorder::MOST_RECORDED,
    user::Share, viewer::Viewer,
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
/// and none left out without [`ViewerEvent::Gap`](super::ViewerEvent::Gap); the process gets the input in order, once; the end
/// is told after all output; nothing grows beyond [`SessionOptions`].
#[derive(Debug)]
pub struct SessionCore {
    options: SessionOptions,
    log: OutputLog,
    screen: Option<Box<dyn Screen>>,
    input: InputQueue,
    viewers: BTreeMap<ViewerId, Viewer>,
    next_viewer: u64,
    /// Counts the changes of who is here and who writes.
    people_version: u64,
    writer: Option<ViewerId>,
    /// The connection that holds the session by right: the right to write comes back to it.
    owner: Option<ViewerId>,
    /// Whose the newest input is, also when that connection has gone.
    author: Option<String>,
    /// The offset from which on the input is the owner's alone; before it another may have typed.
    own_from: u64,
    /// Another may have typed since the owner last had the right to write.
    is_shared: bool,
    /// What the last writer has acknowledged: what lies before need not be kept for it.
    floor: u64,
    /// What the owner has acknowledged, while another has the right to write: what lies behind that is kept
    /// for it as it is for who writes.
    place: Option<u64>,
    /// Whether the writer that left takes what it missed from the record.
    refills: bool,
    /// How far the record goes that it would be taken from.
    recorded: RecordReach,
    bandwidth: Bandwidth,
    phase: Phase,
    output_done: bool,
    exit: Option<SessionEnd>,
    forced: Option<SessionEnd>,
    /// When it is told that it is ending, if it has not ended by then.
    ending_at: Option<Timestamp>,
    /// That time has come.
    tells_ending: bool,
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
    /// Until when output is from before an interrupt.
    flushing_until: Option<Timestamp>,
    /// Until when its owner has to be back.
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
            screen: None,
            input: InputQueue::new(options.input),
            viewers: BTreeMap::new(),
            next_viewer: 0,
            people_version: 1,
            writer: None,
            owner: None,
            author: None,
            own_from: 0,
            is_shared: false,
            floor: 0,
            place: None,
            refills: false,
            recorded: RecordReach::default(),
            bandwidth: Bandwidth::new(options.bandwidth.map(|rate| Rate::new(rate, now))),
            phase: Phase::Starting,
            output_done: false,
            exit: None,
            forced: None,
            ending_at: None,
            tells_ending: false,
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
            flushing_until: None,
            alone_until: Some(now.after(options.grace.max(FIRST_ATTACH))),
            patience: None,
            ended_at: now,
            options,
        }
    }

    /// Keeps what the terminal shows, for connections that ask for it.
    #[must_use]
    pub fn with_screen(mut self, screen: Box<dyn Screen>) -> Self {
        self.screen = Some(screen);
        self
    }

    /// Has a part in what the sessions of its user may take together.
    pub(super) fn with_share(mut self, share: Share) -> Self {
        self.bandwidth.set_share(share);
        self
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

    /// The offset from which on the input is its owner's alone. What a client has typed before, and
    /// the process did not take, it does not send again.
    pub fn own_input(&self) -> u64 {
        self.own_from
    }

    /// The owner has the right to write again.
    fn belongs_to_owner(&mut self) {
        if std::mem::take(&mut self.is_shared) {
            self.own_from = self.input.next();
        }
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

    /// Something came in or out.
    fn touch(&mut self, now: Timestamp) {
        self.active = now;
        if let Some(share) = self.bandwidth.share() {
            share.touch(now);
        }
    }

    fn tell_writer(&mut self, notice: Notice) {
        if let Some(viewer) = self.writer.and_then(|id| self.viewers.get_mut(&id)) {
            viewer.notice(notice);
        }
    }

    /// Tells a connection something.
    pub fn tell(&mut self, id: ViewerId, notice: Notice) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.notice(notice);
        }
    }

    fn tell_owner(&mut self, notice: Notice) {
        if let Some(viewer) = self.owner.and_then(|id| self.viewers.get_mut(&id)) {
            viewer.notice(notice);
        }
    }

    fn refuse(&mut self, id: ViewerId) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.notice(Notice::ReadOnly);
        }
    }

    /// Whether input waits for an approver. Nobody approves their own, by whatever connection.
    fn is_held(&self) -> bool {
        let approves = |viewer: &Viewer| {
            let is_author = viewer.who.is_some() && viewer.who == self.author;
            viewer.role == Role::Approver && !viewer.done && !is_author
        };
        self.options.moderated && !self.viewers.values().any(approves)
    }

    /// Somebody loses the right to write: what still waits then would count as the next one's, and
    /// whoever typed it may approve that.
    fn drop_unwritten(&mut self) {
        if self.options.moderated {
            self.input.drop_waiting();
        }
    }

    /// Whether output is dropped rather than the process held up.
    fn drops_oldest(&self) -> bool {
        self.writer.is_none() && self.is_live()
    }

    /// Whether what a client that is away misses is dropped.
    fn is_live(&self) -> bool {
        self.options.detached == WhileDetached::Live
    }

    /// Whether the record keeps for the client that is away what the log has no room for.
    fn relies_on_record(&self) -> bool {
        let is_away = self.writer.is_none() || self.place.is_some() && self.owner.is_none();
        is_away && self.refills && self.recorded.room >= RECORD_MARGIN
    }

    /// What lies before is kept for nobody who writes or holds the session, or is in the record for him.
    fn settled(&self) -> u64 {
        let held = self.place.unwrap_or(self.floor);
        let held = match self.relies_on_record() {
            true => held.max(self.recorded.whole_to.min(self.log.head())),
            false => held,
        };
        match self.place {
            Some(_) => held.min(self.floor),
            None => held,
        }
    }

    /// What who writes and who holds the session have both acknowledged.
    fn acknowledged_by_both(&self) -> u64 {
        self.place.map_or(self.floor, |place| place.min(self.floor))
    }

    /// Another than the owner writes now: its place is kept. One that is away and misses what is dropped has
    /// none.
    fn keep_place(&mut self) {
        let owner = self.owner.and_then(|id| self.viewers.get(&id));
        self.place = match owner {
            Some(owner) => Some(owner.acknowledged),
            None => self.place.or(Some(self.floor)).filter(|_| !self.is_live()),
        };
    }

    /// Nobody but the owner writes any more.
    fn take_place(&mut self) {
        self.floor = self.place.take().unwrap_or(self.floor);
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
            .min(self.acknowledged_by_both());
        if self.log.runs() >= self.most_runs() {
            let oldest = self.log.start_of_last(self.most_runs() / 2);
            start = start.max(self.acknowledged_by_both().min(oldest));
        }
        if self.relies_on_record() {
            let newest = behind(self.options.log).max(self.log.start_of_last(self.most_runs()));
            start = start.max(newest.min(self.settled()));
        }
        if self.drops_oldest() || self.forced.is_some() {
            start = start
                .max(behind(self.options.log))
                .max(self.log.start_of_last(self.most_runs()));
        }
        self.log.trim(start);
    }

    /// Drops what was not sent yet, and what the interrupted program said before it heard of it and
    /// is still on its way here, so that the answer to an interrupt is seen soon.
    fn flush(&mut self, now: Timestamp) {
        if self.options.interrupt_flush && self.options.detached == WhileDetached::Live {
            self.flushing_until = Some(now.after(FLUSH));
            self.skip_unsent();
        }
    }

    /// Leaves out what the writer was not sent, but for the newest: a quarter of what the way takes
    /// within the target delay.
    fn skip_unsent(&mut self) {
        let head = self.log.head();
        let Some(viewer) = self.writer.and_then(|id| self.viewers.get_mut(&id)) else {
            return;
        };
        let kept = (viewer.window.size() / 4).clamp(LEAST_KEPT, MOST_KEPT);
        if head - viewer.cursor > kept {
            viewer.flush_to = Some(head - kept);
        }
    }
}

/// How much is read, written and sent at a time.
pub(super) const PIECE: usize = 16 * 1024;
/// How much output one event has at most. What waits goes together: a message costs more than its
/// bytes.
const LARGEST_EVENT: usize = AHEAD as usize;
const SMALLEST_WINDOW: u64 = 8 * 1024;
const LARGEST_WINDOW: u64 = 1 << 20;
const MOST_SIGNALS: usize = 8;
/// What is kept at an interrupt.
const LEAST_KEPT: u64 = 4 * 1024;
const MOST_KEPT: u64 = 64 * 1024;
/// For so long what comes behind an interrupt may be from before it.
const FLUSH: Duration = Duration::from_secs(1);
/// How far the process may be ahead of a connection that holds the session: half its window where
/// the way is slow, from this on.
const LEAST_AHEAD: u64 = 4 * 1024;
/// To this.
const AHEAD: u64 = 64 * 1024;
/// What an interactive program is interrupted with: ^C, ^Z and ^\.
const INTERRUPTS: [u8; 3] = [0x03, 0x1a, 0x1c];
/// A record has so much room, at least, for whatever a process says at once. It is not relied on to
/// its last byte: a full one would end the session.
const RECORD_MARGIN: u64 = 2 * MOST_RECORDED as u64;
/// A run costs 16 bytes.
const BYTES_PER_RUN: usize = 64;
/// How long the rest of the process is waited for, once its output or itself has ended.
const PATIENCE: Duration = Duration::from_secs(10);
/// A process that is ended has so long until it is told that this takes a while.
const SLOW_END: Duration = Duration::from_secs(1);
/// A session has at least so long until its first connection.
const FIRST_ATTACH: Duration = Duration::from_secs(10);
/// Leave is not asked for again before.
pub(crate) const SHORTEST_RECHECK: Duration = Duration::from_secs(1);
/// So often in a row may nobody be there to ask.
pub(crate) const MOST_RECHECK_FAILURES: u32 = 3;
const LEFT: &str = "the client did not come back in time";
