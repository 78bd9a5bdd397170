use std::fmt;

/// Why a stream was reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ResetCode {
    /// The peer dropped the stream before both directions had ended.
    Dropped,
    /// The peer did not take the stream.
    Refused,
    /// The peer has no room for another stream.
    Overloaded,
    /// The peer does not know the target.
    UnknownTarget,
    /// A code that this version does not know.
    Other(u16),
}

impl ResetCode {
    pub(crate) fn to_wire(self) -> u16 {
        match self {
            Self::Dropped => 1,
            Self::Refused => 2,
            Self::Overloaded => 3,
            Self::UnknownTarget => 4,
            Self::Other(code) => code,
        }
    }

    pub(crate) fn from_wire(code: u16) -> Self {
        match code {
            1 => Self::Dropped,
            2 => Self::Refused,
            3 => Self::Overloaded,
            4 => Self::UnknownTarget,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dropped => f.write_str("the peer dropped the stream"),
            Self::Refused => f.write_str("the peer refused the stream"),
            Self::Overloaded => f.write_str("the peer has no room for another stream"),
            Self::UnknownTarget => f.write_str("the peer does not know the stream's target"),
            Self::Other(code) => write!(f, "the peer reset the stream with code {code}"),
        }
    }
}

/// Why a side says goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GoAwayCode {
    /// No new streams, please; those that are open go on.
    Draining,
    /// The carrier was closed by whoever uses it.
    Closed,
    /// The other side broke the protocol.
    Protocol,
    /// The other side went over a limit.
    Limit,
    /// There is no protocol version that both speak.
    Version,
    /// The other side did not answer in time.
    Silent,
    /// A code that this version does not know; it ends the carrier.
    Other(u16),
}

impl GoAwayCode {
    pub(crate) fn to_wire(self) -> u16 {
        match self {
            Self::Draining => 0,
            Self::Closed => 1,
            Self::Protocol => 2,
            Self::Limit => 3,
            Self::Version => 4,
            Self::Silent => 5,
            Self::Other(code) => code,
        }
    }

    pub(crate) fn from_wire(code: u16) -> Self {
        match code {
            0 => Self::Draining,
            1 => Self::Closed,
            2 => Self::Protocol,
            3 => Self::Limit,
            4 => Self::Version,
            5 => Self::Silent,
            other => Self::Other(other),
        }
    }
}
