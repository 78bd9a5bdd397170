mod passing;
mod sending;
mod told;

use std::collections::VecDeque;

use bytes::BytesMut;
use longshore_core::{Error, ExecOutput, Result, Signal, TerminalSize};

use self::told::within_reach;
use super::Company;
use crate::{
    protocol::native::{CLEANUP, ClientFrame, Open, OpenMode, ReadyFrame, Resume, ServerFrame},
    session::{Person, SessionEnd, ViewerId},
};

/// A client's side of a session, across its connections: what it has seen, what it has typed and
/// what of it is not safe yet. A state machine without I/O.
#[derive(Debug)]
pub struct ClientCore {
    open: Option<Box<Open>>,
    ready: Option<ReadyFrame>,
    /// The next output byte.
    want: u64,
    /// The next output byte of this connection. Of who looks on, who begins anew with each connection,
    /// it may lie before `want`.
    due: u64,
    /// Output that a connection which began anew did not have any more, until it is told.
    skipped: u64,
    /// What the user has.
    consumed: u64,
    /// What was told to be consumed.
    acknowledged: u64,
    /// Input that the process may not have taken, beginning at `taken`.
    unsafe_input: BytesMut,
    taken: u64,
    /// What was sent on this connection.
    sent: u64,
    /// The furthest that was ever sent.
    reached: u64,
    /// Whether the gateway takes input of this connection.
    writes: bool,
    /// The offset from which on the input is this client's alone.
    own_from: u64,
    window: u64,
    input_ended: bool,
    end_sent: bool,
    size: Option<TerminalSize>,
    size_sent: bool,
    signals: VecDeque<Signal>,
    /// To whom the right to write is to be passed; `None`: back to us.
    passes: VecDeque<Option<ViewerId>>,
    /// The one of them that was sent and is not answered.
    passing: Option<Option<ViewerId>>,
    /// Those that were not answered in time: their answers may still come, in this order.
    late: VecDeque<Option<ViewerId>>,
    people: Vec<Person>,
    ending: bool,
    connected: bool,
    /// Output before this is awaited until it is known what a cut has cost.
    owed: Option<u64>,
    missed: u64,
    end: Option<SessionEnd>,
}

/// What a client learns.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientEvent {
    /// The session exists, or was found again.
    Ready,
    /// The process runs.
    Started,
    /// Output.
    Output(ExecOutput),
    /// So many bytes of output are missing.
    Gap(u64),
    /// A notice: its code and text.
    Notice(String, String),
    /// Who is here, or who may write, has changed: see [`ClientCore::company`].
    Company,
    /// What came of the oldest [`ClientCore::pass`] that was not answered yet: whether the right to
    /// write was passed on.
    Passed(bool),
    /// The end, after all output.
    Ended(SessionEnd),
    /// Nothing to know.
    Nothing,
}

impl ClientCore {
    /// A session that is to be opened.
    pub fn new(mut open: Open) -> Self {
        open.compress &= cfg!(feature = "compression");
        let size = first_size(&open);
        Self {
            open: Some(Box::new(open)),
            ready: None,
            want: 0,
            due: 0,
            skipped: 0,
            consumed: 0,
            acknowledged: 0,
            unsafe_input: BytesMut::new(),
            taken: 0,
            sent: 0,
            reached: 0,
            writes: false,
            own_from: 0,
            window: 0,
            input_ended: false,
            end_sent: false,
            // OPEN tells it; it is told again when the right to write comes back.
            size,
            size_sent: true,
            signals: VecDeque::new(),
            passes: VecDeque::new(),
            passing: None,
            late: VecDeque::new(),
            people: Vec::new(),
            ending: false,
            connected: false,
            owed: None,
            missed: 0,
            end: None,
        }
    }

    /// The first frame of a new connection: OPEN, or RESUME once the session is known.
    ///
    /// A session whose READY was lost can't be resumed; it is opened anew, and the one before ends
    /// with its grace time.
    pub fn connect(&mut self) -> ClientFrame {
        self.connected = false;
        let known = self.ready.as_ref();
        match known.and_then(|ready| Some((ready, ready.secret.clone()?))) {
            Some((ready, secret)) => ClientFrame::Resume(Resume {
                session: ready.session.clone(),
                secret,
                want: self.want,
                snapshot: false,
                text: self.open.as_ref().is_some_and(|open| open.text),
                compress: self.takes_packed(),
                people: self.open.as_ref().is_some_and(|open| open.people),
            }),
            None => ClientFrame::Open(self.open.clone().unwrap_or_default()),
        }
    }

    /// Whether the gateway follows the cleanup that was asked for, as its READY says. One that does not
    /// know of it passes over the wish.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`](longshore_core::ErrorKind::Unsupported): it does not.
    pub fn check_cleanup(&self) -> Result<()> {
        let asked = self.open.as_ref().and_then(|open| open.cleanup);
        let caps = self.ready.as_ref().map(|ready| &ready.caps);
        match asked {
            Some(asked) if caps.is_some_and(|caps| !caps.iter().any(|cap| cap == CLEANUP)) => {
                Err(Error::unsupported(format!(
                    "cleanup {asked}: this gateway is too old to follow it; update it, or do without"
                )))
            }
            _ => Ok(()),
        }
    }

    /// A frame of the gateway.
    ///
    /// # Errors
    /// The gateway broke the protocol.
    pub fn handle(&mut self, frame: ServerFrame) -> Result<ClientEvent> {
        if let ServerFrame::Ready(ready) = frame {
            return self.joined(ready);
        }
        if !self.connected {
            return Err(Error::protocol("the gateway's first frame is not READY"));
        }
        let event = self.told(frame)?;
        self.owed = self.owed.filter(|owed| self.want < *owed);
        Ok(event)
    }

    fn joined(&mut self, ready: ReadyFrame) -> Result<ClientEvent> {
        if self.connected {
            return Err(Error::protocol("a second READY"));
        }
        for offset in [ready.base, ready.head, ready.in_next, ready.in_own] {
            within_reach(offset)?;
        }
        self.due = self.want;
        if ready.secret.is_none() {
            // Who looks on begins where the log does, with each connection.
            let skipped = ready.base.saturating_sub(self.want);
            self.want += skipped;
            self.consumed += skipped;
            (self.due, self.acknowledged) = (ready.base, ready.base);
            if self.ready.is_some() {
                self.skipped += skipped;
                self.missed += skipped;
            }
        }
        let known = self.taken + self.unsafe_input.len() as u64;
        // Somebody else has typed: what waits here was meant for another state of the program.
        let is_shared = ready.in_own > self.own_from || ready.in_next > known;
        if is_shared || self.ready.is_some() && !self.writes {
            self.type_anew_at(ready.in_next);
            self.own_from = ready.in_own.max(self.own_from);
        }
        // What the gateway does not keep any more comes from a record, or is told as a gap.
        let is_back = self.ready.is_some() && ready.secret.is_some();
        let base = ready.base.min(ready.head);
        self.owed = Some(base).filter(|base| is_back && *base > self.want);
        // What the gateway has need not be sent again; it is kept until the process has it.
        let known = self.taken + self.unsafe_input.len() as u64;
        self.sent = ready.in_next.max(self.taken).min(known);
        self.writes = ready.secret.is_some();
        self.window = ready.in_window;
        self.end_sent = false;
        self.connected = true;
        self.ready = Some(ready);
        Ok(ClientEvent::Ready)
    }

    /// Drops what waits to be sent; the next input is this offset's.
    fn type_anew_at(&mut self, offset: u64) {
        self.unsafe_input.clear();
        (self.taken, self.sent) = (offset, offset);
    }

    /// The connection is gone. What came of passing the right to write on is not known then.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.forget_passes();
    }

    /// Bytes of output that a new connection did not have any more, once.
    pub fn take_skipped(&mut self) -> Option<u64> {
        let skipped = std::mem::take(&mut self.skipped);
        (skipped > 0).then_some(skipped)
    }

    /// Whether the session is somebody else's: whoever leaves it does not end it.
    pub fn looks_on(&self) -> bool {
        let mode = self.open.as_ref().map(|open| open.mode);
        matches!(mode, Some(OpenMode::Watch | OpenMode::Approve))
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&SessionEnd> {
        self.end.as_ref()
    }

    /// Whether it was opened with an input.
    pub fn has_input(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.stdin)
    }

    /// Whether others may go on to use the input: it is a workload's own, or another's session's.
    pub fn shares_input(&self) -> bool {
        let open = self.open.as_ref();
        self.looks_on() || open.is_some_and(|open| open.mode == OpenMode::Attach)
    }

    /// The session's id, once it is known.
    pub fn session(&self) -> Option<&str> {
        self.ready.as_ref().map(|ready| ready.session.as_str())
    }

    /// How many bytes of output the lost connections have cost so far; `None` while what the last
    /// one has cost is not known yet.
    pub fn missed(&self) -> Option<u64> {
        (self.connected && self.owed.is_none()).then_some(self.missed)
    }

    /// Whether a lost connection can be made up for. Who looks on joins anew, and is told from where it
    /// was.
    pub fn can_resume(&self) -> bool {
        let secret = self
            .ready
            .as_ref()
            .is_some_and(|ready| ready.secret.is_some());
        (secret || self.looks_on())
            && self.end.is_none()
            && !self.open.as_ref().is_some_and(|open| open.ephemeral)
    }
}

/// What an OPEN says of the terminal.
fn first_size(open: &Open) -> Option<TerminalSize> {
    let is_told = open.cols > 0 && open.rows > 0;
    is_told.then(|| TerminalSize::new(open.cols, open.rows))
}

#[cfg(test)]
mod tests;
