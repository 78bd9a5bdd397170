use std::{fmt, mem};

use longshore_core::StreamTarget;

use super::{FIN, GoAwayCode, HEADER, Hello, MAX_DATA, MAX_TARGET, MAX_TEXT, ResetCode, kind};

/// What a [`Decoder`] finds in the bytes.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// A HELLO frame.
    Hello(Hello),
    /// The head of an OPEN frame; its first bytes follow as [`Item::Data`].
    Open {
        /// The new stream.
        stream: u32,
        /// What it is for; `None` when this version does not know the target.
        target: Option<StreamTarget>,
    },
    /// Bytes of a stream: a whole DATA frame or the part of one that has arrived. Empty only for
    /// an empty frame.
    Data {
        /// The stream.
        stream: u32,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// The sender's direction of the stream has ended.
    Fin {
        /// The stream.
        stream: u32,
    },
    /// The receiver has consumed bytes.
    Credit {
        /// The stream.
        stream: u32,
        /// Bytes consumed since the last CREDIT.
        consumed: u32,
        /// How many unconsumed bytes may be under way from now on.
        window: u32,
    },
    /// The stream is gone, in both directions.
    Reset {
        /// The stream.
        stream: u32,
        /// Why.
        code: ResetCode,
    },
    /// Asks for a [`Item::Pong`].
    Ping(
        /// To be sent back.
        u64,
    ),
    /// Answers a [`Item::Ping`].
    Pong(
        /// The nonce of the ping.
        u64,
    ),
    /// The peer says goodbye.
    GoAway {
        /// Why.
        code: GoAwayCode,
        /// The last stream of ours that the peer has taken.
        last: u32,
        /// For people.
        text: String,
    },
    /// The end of a frame of an unknown kind that may be skipped.
    Skipped,
}

/// Bytes that are no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// A critical frame kind that this version does not know.
    UnknownKind(u8),
    /// A flag that the frame kind does not have.
    UnknownFlags(u8, u8),
    /// A payload longer or shorter than the frame kind allows.
    Length(u8, usize),
    /// Stream 0 where a stream is needed, or the other way round.
    StreamId(u8, u32),
    /// A HELLO without the protocol's magic number.
    NotLongshore,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKind(kind) => write!(f, "unknown critical frame kind 0x{kind:02x}"),
            Self::UnknownFlags(kind, flags) => {
                write!(f, "unknown flags 0x{flags:02x} on frame kind 0x{kind:02x}")
            }
            Self::Length(kind, length) => {
                write!(
                    f,
                    "frame kind 0x{kind:02x} with a payload of {length} bytes"
                )
            }
            Self::StreamId(kind, id) => write!(f, "frame kind 0x{kind:02x} on stream {id}"),
            Self::NotLongshore => {
                f.write_str("the peer does not speak longshore's tunnel protocol")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// Takes frames out of bytes, however they are cut.
///
/// It holds at most one small control payload; data passes through without being collected, so a
/// declared length reserves nothing. After an error it must not be used again.
#[derive(Debug, Default)]
pub struct Decoder {
    state: State,
    scratch: Vec<u8>,
}

#[derive(Debug)]
enum State {
    Header {
        bytes: [u8; HEADER],
        have: usize,
    },
    Control {
        header: Header,
    },
    OpenHead {
        header: Header,
    },
    Body {
        stream: u32,
        left: usize,
        fin: bool,
        empty: bool,
    },
    Skip {
        left: usize,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Header {
            bytes: [0; HEADER],
            have: 0,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Header {
    kind: u8,
    flags: u8,
    length: usize,
    stream: u32,
}

impl Decoder {
    /// At the beginning of a carrier.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next item off `input`, or all of `input` when there is none in it yet.
    ///
    /// # Errors
    /// The bytes break the protocol; the carrier must end.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Item<'a>>, FrameError> {
        loop {
            match &mut self.state {
                State::Header { bytes, have } => {
                    let part = take(input, HEADER - *have);
                    bytes[*have..*have + part.len()].copy_from_slice(part);
                    *have += part.len();
                    if *have < HEADER {
                        return Ok(None);
                    }
                    self.state = Header::parse(*bytes).check()?;
                }
                State::Control { header } => {
                    let header = *header;
                    if !fill(&mut self.scratch, input, header.length) {
                        return Ok(None);
                    }
                    self.state = State::default();
                    let payload = mem::take(&mut self.scratch);
                    return header.decode(&payload).map(Some);
                }
                State::OpenHead { header } => {
                    let header = *header;
                    if !fill(&mut self.scratch, input, 2) {
                        return Ok(None);
                    }
                    let target =
                        usize::from(u16::from_be_bytes([self.scratch[0], self.scratch[1]]));
                    if target > MAX_TARGET || 2 + target > header.length {
                        return Err(FrameError::Length(header.kind, target));
                    }
                    if !fill(&mut self.scratch, input, 2 + target) {
                        return Ok(None);
                    }
                    let left = header.length - 2 - target;
                    if left > MAX_DATA {
                        return Err(FrameError::Length(header.kind, header.length));
                    }
                    let fin = header.flags & FIN != 0;
                    self.state = State::Body {
                        stream: header.stream,
                        left,
                        fin,
                        empty: false,
                    };
                    let head = mem::take(&mut self.scratch);
                    let target = std::str::from_utf8(&head[2..])
                        .ok()
                        .and_then(|text| text.parse().ok());
                    return Ok(Some(Item::Open {
                        stream: header.stream,
                        target,
                    }));
                }
                State::Body {
                    stream,
                    left,
                    fin,
                    empty,
                } => {
                    let stream = *stream;
                    if mem::take(empty) {
                        return Ok(Some(Item::Data { stream, bytes: &[] }));
                    }
                    if *left == 0 {
                        let fin = *fin;
                        self.state = State::default();
                        if fin {
                            return Ok(Some(Item::Fin { stream }));
                        }
                        continue;
                    }
                    let bytes = take(input, *left);
                    *left -= bytes.len();
                    if bytes.is_empty() {
                        return Ok(None);
                    }
                    return Ok(Some(Item::Data { stream, bytes }));
                }
                State::Skip { left } => {
                    *left -= take(input, *left).len();
                    if *left > 0 {
                        return Ok(None);
                    }
                    self.state = State::default();
                    return Ok(Some(Item::Skipped));
                }
            }
        }
    }
}

impl Header {
    fn parse(bytes: [u8; HEADER]) -> Self {
        Self {
            kind: bytes[0],
            flags: bytes[1],
            length: usize::from(u16::from_be_bytes([bytes[2], bytes[3]])),
            stream: u32::from_be_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        }
    }

    /// Everything that can be known before a byte of payload is taken.
    fn check(self) -> Result<State, FrameError> {
        if self.kind >= kind::SKIPPABLE {
            return Ok(State::Skip { left: self.length });
        }
        let (shortest, longest, on_stream, flags) = match self.kind {
            kind::HELLO => (4, Hello::MAX_LENGTH, false, 0),
            kind::OPEN => (3, 2 + MAX_TARGET + MAX_DATA, true, FIN),
            kind::DATA => (0, MAX_DATA, true, FIN),
            kind::CREDIT => (8, 8, true, 0),
            kind::RESET => (2, 2, true, 0),
            kind::PING | kind::PONG => (8, 8, false, 0),
            kind::GOAWAY => (6, 6 + MAX_TEXT, false, 0),
            unknown => return Err(FrameError::UnknownKind(unknown)),
        };
        if self.flags & !flags != 0 {
            return Err(FrameError::UnknownFlags(self.kind, self.flags));
        }
        if !(shortest..=longest).contains(&self.length) {
            return Err(FrameError::Length(self.kind, self.length));
        }
        if on_stream != (self.stream != 0) {
            return Err(FrameError::StreamId(self.kind, self.stream));
        }
        let fin = self.flags & FIN != 0;
        Ok(match self.kind {
            kind::DATA => State::Body {
                stream: self.stream,
                left: self.length,
                fin,
                empty: self.length == 0 && !fin,
            },
            kind::OPEN => State::OpenHead { header: self },
            _ => State::Control { header: self },
        })
    }

    /// A control frame with its whole payload, whose length [`check`](Self::check) has seen.
    fn decode(self, payload: &[u8]) -> Result<Item<'static>, FrameError> {
        let word = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|offset| payload[at + offset]));
        let half = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
        let nonce = || (u64::from(word(0)) << 32) | u64::from(word(4));
        Ok(match self.kind {
            kind::HELLO => Item::Hello(Hello::decode(payload).ok_or(FrameError::NotLongshore)?),
            kind::CREDIT => Item::Credit {
                stream: self.stream,
                consumed: word(0),
                window: word(4),
            },
            kind::RESET => Item::Reset {
                stream: self.stream,
                code: ResetCode::from_wire(half(0)),
            },
            kind::PING => Item::Ping(nonce()),
            kind::PONG => Item::Pong(nonce()),
            _ => Item::GoAway {
                code: GoAwayCode::from_wire(half(0)),
                last: word(2),
                text: String::from_utf8_lossy(&payload[6..]).into_owned(),
            },
        })
    }
}

fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (part, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    part
}

/// Collects until `scratch` holds `want` bytes; `want` is bounded by the caller.
fn fill(scratch: &mut Vec<u8>, input: &mut &[u8], want: usize) -> bool {
    let part = take(input, want.saturating_sub(scratch.len()));
    scratch.extend_from_slice(part);
    scratch.len() >= want
}

#[cfg(test)]
mod tests;
