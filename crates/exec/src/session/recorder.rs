use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{BoxStream, OutputKind, Result, SessionId, TerminalSize, Timestamp};

use super::{RuleHit, SessionAbout, SessionEnd};

/// Something that belongs into a session's record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordEvent {
    /// The session is about to start. The first event, before anything runs.
    Opened(Box<SessionAbout>),
    /// Output, from this offset on, before anybody sees it.
    Output {
        /// The offset of its first byte.
        offset: u64,
        /// Which output.
        kind: OutputKind,
        /// At least one byte.
        bytes: Bytes,
    },
    /// A line of input that the terminal has shown, with its end; escape sequences are left out.
    /// Only with the user's consent, and recorded when it was shown.
    Input(Bytes),
    /// A line of input that the terminal has not shown.
    InputHidden,
    /// A line of input met a rule.
    Hit(RuleHit),
    /// The terminal got this size.
    Resize(TerminalSize),
    /// The record is as long as it may be; what follows is missing.
    Full,
    /// The server ended before the session did. Written by whoever finds the record afterwards.
    Interrupted,
    /// The session has ended.
    Ended(SessionEnd),
}

/// The largest piece of output that is gathered to be recorded in one. What a recorder does for a piece
/// costs as much as some ten thousand of its bytes.
pub(crate) const MOST_RECORDED: usize = 256 << 10;

/// Keeps what happens in sessions.
///
/// It is called by each session's driver, one call at a time and in order; output is shown when the
/// call has returned, so nobody sees what was not recorded. Meanwhile at most 256 KiB more are read,
/// which are shown no sooner. A slow recorder slows the process, never the input.
///
/// Output comes in pieces of up to 256 KiB, or larger ones if the engine gave it so. A flood (more than
/// 32 KiB in 10 ms) waits up to a millisecond until there is enough for one; its time is when it was
/// recorded.
#[async_trait]
pub trait Recorder: Debug + Send + Sync + 'static {
    /// Appends to the record of a session.
    ///
    /// # Errors
    /// The session is ended, unless its hub was told to go on without a record.
    async fn record(&self, session: &SessionId, at: Timestamp, event: &RecordEvent) -> Result<()>;

    /// How far the record of a session goes, and how much there is room for; `None`: there is no
    /// such record, or nobody can say, so that nobody counts on it. Does not wait.
    ///
    /// A recorder around another passes the question on.
    fn reach(&self, session: &SessionId) -> Option<RecordReach> {
        let _ = session;
        None
    }
}

/// How far the record of a session goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordReach {
    /// The record has every byte of the output before this offset.
    pub whole_to: u64,
    /// For so many bytes more there is room, their frames included.
    pub room: u64,
}

impl RecordReach {
    /// With all output before an offset, and room for so many bytes more.
    pub fn new(whole_to: u64, room: u64) -> Self {
        Self { whole_to, room }
    }
}

/// A piece of recorded output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedOutput {
    /// How long after the beginning.
    pub at: Duration,
    /// Which output.
    pub kind: OutputKind,
    /// The bytes.
    pub bytes: Bytes,
}

/// A recording from its beginning to its end.
pub type RecordingStream = BoxStream<Result<RecordedOutput>>;

/// Gives recordings back.
#[async_trait]
pub trait RecordingSource: Debug + Send + Sync + 'static {
    /// Opens the recording of a session.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) when there is none.
    ///
    /// # Cancel safety
    /// Safe.
    async fn open(&self, session: &SessionId) -> Result<RecordingStream>;
}
