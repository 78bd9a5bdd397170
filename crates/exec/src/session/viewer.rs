use std::collections::VecDeque;

use bytes::Bytes;
use longshore_core::{OutputKind, Timestamp};

use super::{Person, SessionEnd, window::Window};

/// A connection to a session, by number; numbers are not used again within one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewerId(pub(super) u64);

impl ViewerId {
    /// From its number.
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub fn number(self) -> u64 {
        self.0
    }
}

/// What a connection may do in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// Types, resizes, signals and ends. There is one at a time; the newest takes over.
    Writer,
    /// Only sees.
    Watcher,
    /// Only sees; while one is there, the input of a moderated session goes through.
    Approver,
}

/// What a connection is told, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ViewerEvent {
    /// Output, from this offset on.
    Output {
        /// The offset of its first byte, counted over both outputs.
        offset: u64,
        /// Which output.
        kind: OutputKind,
        /// At least one byte.
        bytes: Bytes,
    },
    /// The process has taken the input before this offset.
    InputTaken(u64),
    /// Output is missing.
    Gap {
        /// The first missing byte.
        from: u64,
        /// The byte behind the last missing one.
        to: u64,
        /// Why.
        cause: GapCause,
    },
    /// What the terminal shows after all output before `offset`, from which output goes on.
    Snapshot {
        /// The offset of the next output.
        offset: u64,
        /// Output that redraws screen, scrollback and modes on any terminal.
        bytes: Bytes,
    },
    /// Something to show.
    Notice(Notice),
    /// Who is here now, for a connection that wants to know.
    People(Vec<Person>),
    /// The session is being ended for this reason, and its process takes a while to end.
    Ending(SessionEnd),
    /// The session has ended, after all of its output. The last event.
    Ended(SessionEnd),
    /// Another connection took the session over. The last event.
    Superseded,
}

/// Why output is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GapCause {
    /// It was dropped, because more came than is kept.
    Trimmed,
    /// It was dropped at an interrupt.
    Flushed,
}

/// Something for the person at a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The process runs.
    Started,
    /// The connection only sees; what it sent was not taken.
    ReadOnly,
    /// The connection may write now.
    MayWrite {
        /// The offset of its input.
        next_input: u64,
    },
    /// Somebody joined who may be given the right to write; told to whoever may pass it on.
    Joined(ViewerId),
    /// One of those has left.
    Left(ViewerId),
    /// Input waits for an approver.
    InputHeld,
    /// An approver is there; input goes through.
    InputReleased,
    /// The right to write was not passed on: the other is not here or has leave to look only, or this
    /// connection may not.
    NotGranted,
    /// The signal could not be sent.
    SignalFailed,
    /// A rule keeps a line of input from the process.
    InputBlocked,
    /// A rule holds a line of input until Enter is pressed again.
    InputAsked,
}

impl Notice {
    /// A stable word.
    pub fn code(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::ReadOnly => "read-only",
            Self::MayWrite { .. } => "may-write",
            Self::Joined(_) => "joined",
            Self::Left(_) => "left",
            Self::InputHeld => "input-held",
            Self::InputReleased => "input-released",
            Self::NotGranted => "not-granted",
            Self::SignalFailed => "signal-failed",
            Self::InputBlocked => "input-blocked",
            Self::InputAsked => "input-asked",
        }
    }

    /// A sentence.
    pub fn text(self) -> &'static str {
        match self {
            Self::Started => "the process runs",
            Self::ReadOnly => "this connection only watches; what it sent was not taken",
            Self::MayWrite { .. } => "this connection may type now",
            Self::Joined(_) => "somebody joined who may be given the right to type",
            Self::Left(_) => "somebody left who could have been given the right to type",
            Self::InputHeld => "input waits until somebody who may approve joins",
            Self::InputReleased => "somebody who may approve is here; input goes through",
            Self::NotGranted => {
                "the right to type was not passed on: nobody is here under this number who may have it"
            }
            Self::SignalFailed => {
                "the signal could not be sent: this container's engine has no way to"
            }
            Self::InputBlocked => "a rule of this server does not allow this line; it was not run",
            Self::InputAsked => {
                "a rule of this server asks: press Enter again to run this line, or change it"
            }
        }
    }
}

/// One connection's place in the output, and what it was told.
#[derive(Debug)]
pub(super) struct Viewer {
    pub(super) role: Role,
    /// The name of whoever it is, where that is known.
    pub(super) who: Option<String>,
    /// What it is while another writes.
    pub(super) rests_as: Role,
    /// It has leave to look only: the right to write is not passed on to it.
    pub(super) only_looks: bool,
    /// The next byte to send.
    pub(super) cursor: u64,
    /// What lies before was consumed.
    pub(super) acknowledged: u64,
    pub(super) window: Window,
    pub(super) paused: bool,
    /// The last input offset it was told.
    pub(super) told_taken: u64,
    pub(super) superseded: bool,
    /// It is shown the screen where output is missing.
    pub(super) takes_snapshots: bool,
    /// It takes what is missing from the record.
    pub(super) refills: bool,
    /// It is shown the screen next.
    pub(super) redraw: bool,
    /// Unsent output before this is left out.
    pub(super) flush_to: Option<u64>,
    /// Until when only a bandwidth holds its output back.
    pub(super) held_until: Option<Timestamp>,
    /// It was told the end, or that another took over.
    pub(super) done: bool,
    /// The version of who is here that it was told; `None`: it does not want to know.
    pub(super) told_people: Option<u64>,
    /// It was told that the session is being ended.
    pub(super) told_ending: bool,
    notices: VecDeque<Notice>,
}

impl Viewer {
    pub(super) fn new(role: Role, cursor: u64, window: Window) -> Self {
        Self {
            role,
            who: None,
            rests_as: match role {
                Role::Writer => Role::Watcher,
                other => other,
            },
            only_looks: false,
            cursor,
            acknowledged: cursor,
            window,
            paused: false,
            // Whatever an earlier connection was told may have been lost with it.
            told_taken: 0,
            superseded: false,
            takes_snapshots: false,
            refills: false,
            redraw: false,
            flush_to: None,
            held_until: None,
            done: false,
            told_people: None,
            told_ending: false,
            notices: VecDeque::new(),
        }
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        let tells_right = |it: &Notice| matches!(it, Notice::MayWrite { .. } | Notice::ReadOnly);
        if tells_right(&notice) {
            // Only the last word counts, and that is never left out.
            self.notices.retain(|it| !tells_right(it));
            self.notices.push_back(notice);
        } else if self.notices.back() != Some(&notice) && self.notices.len() < MOST_NOTICES {
            self.notices.push_back(notice);
        }
    }

    pub(super) fn next_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// How much output it may be sent now.
    pub(super) fn room(&mut self) -> usize {
        if self.paused {
            return 0;
        }
        self.window.room(self.cursor - self.acknowledged)
    }

    pub(super) fn sent(&mut self, bytes: usize, now: Timestamp) {
        self.cursor += bytes as u64;
        self.window.sent(self.cursor, now);
    }

    /// Leaves out what lies before `offset`.
    pub(super) fn skip_to(&mut self, offset: u64) {
        self.cursor = self.cursor.max(offset);
        // What was left out is never acknowledged by itself.
        self.acknowledged = self.cursor;
    }
}

const MOST_NOTICES: usize = 8;
