use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use longshore_core::{Error, ExecOutput, Result, Signal, TerminalSize};

use crate::{
    protocol::native::{CLEANUP, ClientFrame, Open, OpenMode, ReadyFrame, Resume, ServerFrame},
    session::SessionEnd,
};

/// A client's side of a session, across its connections: what it has seen, what it has typed and
/// what of it is not safe yet. A state machine without I/O.
#[derive(Debug)]
pub struct ClientCore {
    open: Option<Box<Open>>,
    ready: Option<ReadyFrame>,
    /// The next output byte.
    want: u64,
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
    /// The end, after all output.
    Ended(SessionEnd),
    /// Nothing to know.
    Nothing,
}

impl ClientCore {
    /// A session that is to be opened.
    pub fn new(mut open: Open) -> Self {
        open.compress &= cfg!(feature = "compression");
        Self {
            open: Some(Box::new(open)),
            ready: None,
            want: 0,
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
            size: None,
            size_sent: false,
            signals: VecDeque::new(),
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

    fn told(&mut self, frame: ServerFrame) -> Result<ClientEvent> {
        Ok(match frame {
            ServerFrame::Output(offset, kind, bytes) => {
                self.expect(offset, bytes.len())?;
                self.want += bytes.len() as u64;
                ClientEvent::Output(ExecOutput { kind, bytes })
            }
            ServerFrame::Packed(offset, kind, length, packed) => {
                // Before anything is made of it.
                self.expect(offset, length as usize)?;
                let bytes = self.unpack(&packed, length)?;
                self.want += bytes.len() as u64;
                ClientEvent::Output(ExecOutput { kind, bytes })
            }
            ServerFrame::InputAck(offset) => {
                self.safe(offset)?;
                ClientEvent::Nothing
            }
            ServerFrame::Gap(from, to, _) => {
                if from != self.want || to < from {
                    return Err(Error::protocol("a gap that is none"));
                }
                self.consumed += to - from;
                self.want = to;
                if self.owed.is_some() {
                    self.missed += to - from;
                }
                ClientEvent::Gap(to - from)
            }
            ServerFrame::Exit(exit) => {
                if exit.out_len != self.want {
                    return Err(Error::protocol("the end came before all output"));
                }
                self.end = Some(exit.end.clone());
                self.ending = true;
                ClientEvent::Ended(exit.end)
            }
            ServerFrame::Notice(notice) if notice.code == "started" => ClientEvent::Started,
            ServerFrame::Notice(notice) => {
                match (notice.code.as_str(), notice.in_next) {
                    ("read-only", _) => {
                        self.writes = false;
                        self.type_anew_at(self.sent);
                    }
                    ("may-write", Some(next)) => {
                        self.writes = true;
                        self.own_from = next;
                        self.type_anew_at(next);
                        // Whoever wrote meanwhile had another terminal.
                        self.size_sent = false;
                    }
                    _ => {}
                }
                ClientEvent::Notice(notice.code, notice.text)
            }
            ServerFrame::Snapshot(..) => {
                return Err(Error::protocol("a snapshot that was not asked for"));
            }
            ServerFrame::Pong(_) | ServerFrame::Ready(_) => ClientEvent::Nothing,
        })
    }

    /// Whether so much output may come here.
    fn expect(&self, offset: u64, length: usize) -> Result<()> {
        if offset != self.want {
            return Err(Error::protocol(format!(
                "output at offset {offset}, and {} was to come",
                self.want
            )));
        }
        if self.want + length as u64 - self.consumed > MOST_UNREAD {
            return Err(Error::protocol(
                "the gateway sends more than may be unacknowledged",
            ));
        }
        Ok(())
    }

    fn takes_packed(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.compress)
    }

    fn unpack(&self, packed: &[u8], length: u32) -> Result<Bytes> {
        if !self.takes_packed() {
            return Err(Error::protocol("compressed output that was not asked for"));
        }
        #[cfg(feature = "compression")]
        return crate::protocol::native::pack::unpack(packed, length);
        #[cfg(not(feature = "compression"))]
        return Err(Error::internal(format!(
            "{length} bytes came in {}, and the feature compression is off",
            packed.len()
        )));
    }

    fn joined(&mut self, ready: ReadyFrame) -> Result<ClientEvent> {
        if self.connected {
            return Err(Error::protocol("a second READY"));
        }
        if self.ready.is_none() && ready.secret.is_none() {
            // Who looks on begins where the log does.
            self.want = ready.base;
            self.consumed = ready.base;
            self.acknowledged = ready.base;
        }
        let known = self.taken + self.unsafe_input.len() as u64;
        // Somebody else has typed: what waits here was meant for another state of the program.
        let is_shared = ready.in_own > self.own_from || ready.in_next > known;
        if is_shared || self.ready.is_some() && !self.writes {
            self.type_anew_at(ready.in_next);
            self.own_from = ready.in_own.max(self.own_from);
        }
        // What the gateway does not keep any more comes from a record, or is told as a gap.
        let is_back = self.ready.is_some();
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

    fn safe(&mut self, offset: u64) -> Result<()> {
        // The gateway may have taken what was sent before it was heard that it would not.
        if offset > self.sent.max(self.reached) {
            return Err(Error::protocol(
                "input was acknowledged that was never sent",
            ));
        }
        if let Some(new) = offset.checked_sub(self.taken) {
            let known = self.unsafe_input.len();
            let _ = self.unsafe_input.split_to(known.min(new as usize));
            self.taken = offset;
            self.sent = self.sent.max(offset);
        }
        Ok(())
    }

    /// The next frame to send, once [`ClientEvent::Ready`] came.
    pub fn poll_frame(&mut self) -> Option<ClientFrame> {
        if !self.connected {
            return None;
        }
        if let Some(size) = self.size
            && self.writes
            && !self.size_sent
        {
            self.size_sent = true;
            return Some(ClientFrame::Resize(size));
        }
        if let Some(signal) = self.signals.pop_front() {
            return Some(ClientFrame::Signal(signal));
        }
        if self.consumed > self.acknowledged {
            self.acknowledged = self.consumed;
            return Some(ClientFrame::Ack(self.consumed));
        }
        let typed = self.taken + self.unsafe_input.len() as u64;
        let limit = typed.min(self.taken + self.window);
        if self.writes && self.sent < limit {
            let start = (self.sent - self.taken) as usize;
            let end = ((limit - self.taken) as usize).min(start + PIECE);
            let bytes = Bytes::copy_from_slice(&self.unsafe_input[start..end]);
            let offset = self.sent;
            self.sent += bytes.len() as u64;
            self.reached = self.reached.max(self.sent);
            return Some(ClientFrame::Input(offset, bytes));
        }
        if self.writes && self.input_ended && !self.end_sent && self.sent == typed {
            self.end_sent = true;
            return Some(ClientFrame::InputEnd(typed));
        }
        std::mem::take(&mut self.ending).then_some(ClientFrame::End)
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.connected = false;
    }

    /// The user has so many more bytes of output.
    pub fn consumed(&mut self, bytes: usize) {
        self.consumed += bytes as u64;
    }

    /// How many bytes may be typed now.
    pub fn input_room(&self) -> usize {
        MOST_INPUT.saturating_sub(self.unsafe_input.len())
    }

    /// Types; at most [`input_room`](Self::input_room) bytes. While another has the right to write,
    /// what is typed goes nowhere: it does not come to run later.
    pub fn write(&mut self, bytes: &[u8]) {
        let is_mute = self.ready.is_some() && !self.writes;
        if !self.input_ended && !is_mute {
            self.unsafe_input.extend_from_slice(bytes);
        }
    }

    /// The input ends.
    pub fn end_input(&mut self) {
        self.input_ended = true;
    }

    /// The terminal's size; the newest wins.
    pub fn resize(&mut self, size: TerminalSize) {
        (self.size, self.size_sent) = (Some(size), false);
    }

    /// Sends a signal. More than a few that wait are dropped.
    pub fn signal(&mut self, signal: Signal) {
        if self.signals.len() < MOST_SIGNALS {
            self.signals.push_back(signal);
        }
    }

    /// Ends the session.
    pub fn close(&mut self) {
        self.ending = true;
    }

    /// How it ended, once it has.
    pub fn end(&self) -> Option<&SessionEnd> {
        self.end.as_ref()
    }

    /// Whether it was opened with an input.
    pub fn has_input(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.stdin)
    }

    /// Whether the input is a workload's own, which others may go on to use.
    pub fn shares_input(&self) -> bool {
        let open = self.open.as_ref();
        open.is_some_and(|open| open.mode == OpenMode::Attach)
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

    /// Whether a lost connection can be made up for.
    pub fn can_resume(&self) -> bool {
        let secret = self
            .ready
            .as_ref()
            .is_some_and(|ready| ready.secret.is_some());
        secret && self.end.is_none() && !self.open.as_ref().is_some_and(|open| open.ephemeral)
    }
}

const PIECE: usize = 16 * 1024;
const MOST_UNREAD: u64 = 4 << 20;
const MOST_INPUT: usize = 128 * 1024;
const MOST_SIGNALS: usize = 16;

#[cfg(test)]
mod tests;
