use bytes::Bytes;
use longshore_core::{Error, Signal, TerminalSize, printable};

use crate::session::{Notice, SessionEnd, ViewerEvent, ViewerId};

/// A data message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Its payload.
    pub bytes: Bytes,
    /// Whether it was a text message.
    pub is_text: bool,
}

/// What a client wants of its session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Command {
    /// Input; without an offset it follows what came before.
    Input(Option<u64>, Bytes),
    /// The input ends.
    InputEnd(Option<u64>),
    /// The terminal's size.
    Resize(TerminalSize),
    /// A signal for the process.
    Signal(Signal),
    /// Output before this offset was consumed.
    Acknowledge(u64),
    /// Stop output, or go on.
    Pause(bool),
    /// Pass the right to write on to this connection.
    Grant(ViewerId),
    /// Take it back.
    TakeBack,
    /// The client leaves and may come back.
    Detach,
    /// The client ends the session, or has heard its end.
    End,
    /// To be answered.
    Ping(u64),
    /// Nothing: what was sent means nothing here.
    Ignore,
}

/// How a connection is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closing {
    /// The WebSocket close code.
    pub code: u16,
    /// For people; at most 120 bytes of it are sent.
    pub reason: String,
}

impl Closing {
    /// A close code and what it means here.
    pub fn new(code: u16, reason: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
        }
    }
}

/// Why a client is sent away.
#[derive(Debug)]
pub struct Refusal {
    /// The native protocol's close code; others have their own.
    pub code: u16,
    /// What was wrong.
    pub error: Error,
}

impl Refusal {
    /// The client broke the protocol.
    pub fn protocol(text: impl Into<String>) -> Self {
        Self {
            code: 4000,
            error: Error::protocol(text.into()),
        }
    }
}

/// What is sent to a client.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// Binary messages, in order.
    pub messages: Vec<Bytes>,
    /// What to close the connection with, behind them.
    pub closing: Option<Closing>,
}

impl Outgoing {
    /// Adds a message.
    pub fn push(&mut self, message: impl Into<Bytes>) {
        self.messages.push(message.into());
    }
}

/// From messages to commands.
pub trait Decoder: Send {
    /// One message, one command.
    ///
    /// # Errors
    /// The message breaks the protocol.
    fn decode(&mut self, message: Incoming) -> Result<Command, Refusal>;
}

/// From events to messages.
pub trait Encoder: Send {
    /// Tells an event.
    fn event(&mut self, event: ViewerEvent, out: &mut Outgoing);

    /// Sends a client away: whatever the protocol has to say before the close.
    fn refuse(&mut self, refusal: &Refusal, out: &mut Outgoing);

    /// A message that shows that the server lives.
    fn keepalive(&mut self, _out: &mut Outgoing) {}

    /// The answer to [`Command::Ping`].
    fn pong(&mut self, _token: u64, _out: &mut Outgoing) {}

    /// Whether bytes are held back because a character is incomplete.
    fn holds_back(&self) -> bool {
        false
    }

    /// Sends what was held back.
    fn flush(&mut self, _out: &mut Outgoing) {}

    /// Whether the client acknowledges; otherwise what was sent counts as consumed.
    fn client_acknowledges(&self) -> bool {
        false
    }
}

/// Whether a notice is worth a line to clients that can do nothing about it.
pub(super) fn is_shown(notice: Notice) -> bool {
    !matches!(
        notice,
        Notice::Started | Notice::Joined(_) | Notice::Left(_)
    )
}

/// That a session is being ended, for the person at it.
pub(super) fn ending(end: &SessionEnd) -> String {
    let end = end.to_string();
    format!("this session is being ended: {}", printable(&end, 300))
}

/// A notice for a terminal that shows nothing but output: dim, on a line of its own.
pub(super) fn aside(text: &str) -> String {
    format!("\r\n\x1b[2m>>> {text}\x1b[22m\r\n")
}
