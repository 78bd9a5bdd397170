use std::{fmt, io};

use longshore_core::{CloseReason, Error, ErrorKind};

use crate::frame::ResetCode;

/// What happened to a [`Mux`](super::Mux).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Both sides have said hello.
    Opened,
    /// The peer opened a stream; take it with [`Mux::accept`](super::Mux::accept).
    Incoming,
    /// A read that found nothing may find something now.
    Readable(u32),
    /// A write that found no room may find some now.
    Writable(u32),
    /// The carrier ended.
    Closed,
}

/// What a read found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadOutcome {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet: an [`Event::Readable`] will follow.
    Blocked,
    /// The peer has ended its direction, and all of it was read.
    End,
}

/// Why a stream could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The peer has not said hello yet.
    NotReady,
    /// The peer takes no more streams on this carrier, or its ids are used up.
    Draining,
    /// As many streams are open as the peer allows.
    TooMany {
        /// How many that is.
        limit: u32,
    },
    /// The carrier has ended.
    Closed(CloseReason),
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::NotReady => Self::unavailable("the peer has not said hello yet"),
            OpenError::Draining => {
                Self::closed("the carrier takes no new streams").with_retryable(true)
            }
            OpenError::TooMany { limit } => Self::new(
                ErrorKind::ResourceExhausted,
                "too many streams are open on the carrier",
            )
            .with_retryable(true)
            .with_context("limit", limit),
            OpenError::Closed(reason) => {
                Self::closed("the carrier has ended").with_context("reason", reason)
            }
        }
    }
}

/// Why a stream can't be read or written any more.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamError {
    /// The peer reset it.
    Reset(ResetCode),
    /// This side has ended its direction.
    Ended,
    /// The carrier has ended.
    Carrier(CloseReason),
    /// There is no such stream.
    Unknown,
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reset(code) => write!(f, "{code}"),
            Self::Ended => f.write_str("the stream was shut down for writing"),
            Self::Carrier(reason) => write!(f, "the carrier has ended: {reason}"),
            Self::Unknown => f.write_str("there is no such stream"),
        }
    }
}

impl std::error::Error for StreamError {}

impl From<StreamError> for io::Error {
    fn from(error: StreamError) -> Self {
        let kind = match &error {
            StreamError::Reset(_) => io::ErrorKind::ConnectionReset,
            StreamError::Ended => io::ErrorKind::BrokenPipe,
            StreamError::Carrier(_) => io::ErrorKind::ConnectionAborted,
            StreamError::Unknown => io::ErrorKind::NotConnected,
        };
        Self::new(kind, error)
    }
}
