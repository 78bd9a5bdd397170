use crate::{LONGEST_PAYLOAD, Opening, ProtocolError};

/// What the stub is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ToStub {
    /// Bytes for the command's input.
    Input(Vec<u8>),
    /// The end of the command's input.
    InputEnd,
    /// The terminal's size.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// A signal, by its Linux number, to the command's foreground process group.
    Signal(u8),
    /// Nothing, said so that silence means loss.
    Beat,
    /// End the session now, as the end of the stream does.
    End,
    /// So many bytes of output more may be sent. The first [`OUTPUT_WINDOW`](crate::OUTPUT_WINDOW)
    /// need no word.
    Room(u32),
    /// To a stub that waits: become this session. Nothing else is said before it has answered.
    Open(Opening),
}

/// What the stub says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FromStub {
    /// The first frame: the version of the protocol.
    Hello(u8),
    /// It waits for an [`Open`](ToStub::Open). Said once unasked, and again for each beat.
    Waiting,
    /// What it was to become can't be had here, and nothing was started: why, for people. It ends.
    Declined(String),
    /// The command runs.
    Started,
    /// The command could not be started. Nothing but [`Cleaned`](Self::Cleaned) follows; of a stub
    /// that was not yet a session nothing, as it goes on waiting.
    Failed {
        /// As shells report it: 127 not found, 126 found and not runnable, 125 a fault of the stub.
        code: u8,
        /// Why, for people.
        reason: String,
    },
    /// Bytes of the command's output, or of its terminal.
    Output(Vec<u8>),
    /// Bytes of the command's error output.
    Errors(Vec<u8>),
    /// So many bytes of input were taken by the command.
    Taken(u32),
    /// The command has ended, and all its output was sent.
    Exit(Ending),
    /// The stub's last word: how many processes it ended, and how many it could not.
    Cleaned {
        /// Ended.
        killed: u32,
        /// Not ended.
        left: u32,
    },
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
    /// It was not seen.
    Unknown,
}

impl ToStub {
    /// Appends the message's frame. Input longer than a frame becomes several.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Input(bytes) => pieces(out, INPUT, bytes),
            Self::InputEnd => frame(out, INPUT_END, &[]),
            Self::Resize { columns, rows } => {
                let [a, b] = columns.to_be_bytes();
                let [c, d] = rows.to_be_bytes();
                frame(out, RESIZE, &[a, b, c, d]);
            }
            Self::Signal(number) => frame(out, SIGNAL, &[*number]),
            Self::Beat => frame(out, BEAT, &[]),
            Self::End => frame(out, END, &[]),
            Self::Room(bytes) => frame(out, ROOM, &bytes.to_be_bytes()),
            Self::Open(opening) => frame(out, OPEN, &opening.payload()),
        }
    }

    pub(crate) fn read(kind: u8, payload: &[u8]) -> Result<Self, ProtocolError> {
        match (kind, payload) {
            (INPUT, bytes) => Ok(Self::Input(bytes.to_vec())),
            (INPUT_END, []) => Ok(Self::InputEnd),
            (RESIZE, [a, b, c, d]) => Ok(Self::Resize {
                columns: u16::from_be_bytes([*a, *b]),
                rows: u16::from_be_bytes([*c, *d]),
            }),
            (SIGNAL, [number]) => Ok(Self::Signal(*number)),
            (BEAT, []) => Ok(Self::Beat),
            (END, []) => Ok(Self::End),
            (ROOM, [a, b, c, d]) => Ok(Self::Room(u32::from_be_bytes([*a, *b, *c, *d]))),
            (OPEN, payload) => Opening::parse(payload).map(Self::Open),
            _ => Err(unknown(kind, payload)),
        }
    }
}

impl FromStub {
    /// Appends the message's frame. Output longer than a frame becomes several; a reason is cut.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(version) => frame(out, HELLO, &[*version]),
            Self::Waiting => frame(out, WAITING, &[]),
            Self::Declined(reason) => frame(out, DECLINED, cut(reason).as_bytes()),
            Self::Started => frame(out, STARTED, &[]),
            Self::Failed { code, reason } => {
                let mut payload = vec![*code];
                payload.extend_from_slice(cut(reason).as_bytes());
                frame(out, FAILED, &payload);
            }
            Self::Output(bytes) => Self::write_output(bytes, out),
            Self::Errors(bytes) => Self::write_errors(bytes, out),
            Self::Taken(count) => frame(out, TAKEN, &count.to_be_bytes()),
            Self::Exit(Ending::Code(code)) => frame(out, EXIT, &[0, *code]),
            Self::Exit(Ending::Signal(signal)) => frame(out, EXIT, &[1, *signal]),
            Self::Exit(Ending::Unknown) => frame(out, EXIT, &[2, 0]),
            Self::Cleaned { killed, left } => {
                let mut payload = killed.to_be_bytes().to_vec();
                payload.extend_from_slice(&left.to_be_bytes());
                frame(out, CLEANED, &payload);
            }
        }
    }

    /// Appends the frames of [`Output`](Self::Output), for who has the bytes somewhere else.
    pub fn write_output(bytes: &[u8], out: &mut Vec<u8>) {
        pieces(out, OUTPUT, bytes);
    }

    /// Appends the frames of [`Errors`](Self::Errors), for who has the bytes somewhere else.
    pub fn write_errors(bytes: &[u8], out: &mut Vec<u8>) {
        pieces(out, ERRORS, bytes);
    }

    pub(crate) fn read(kind: u8, payload: &[u8]) -> Result<Self, ProtocolError> {
        match (kind, payload) {
            (HELLO, [version]) => Ok(Self::Hello(*version)),
            (WAITING, []) => Ok(Self::Waiting),
            (DECLINED, reason) => {
                let reason = String::from_utf8_lossy(reason).into_owned();
                Ok(Self::Declined(reason))
            }
            (STARTED, []) => Ok(Self::Started),
            (FAILED, [code, reason @ ..]) => Ok(Self::Failed {
                code: *code,
                reason: String::from_utf8_lossy(reason).into_owned(),
            }),
            (OUTPUT, bytes) => Ok(Self::Output(bytes.to_vec())),
            (ERRORS, bytes) => Ok(Self::Errors(bytes.to_vec())),
            (TAKEN, [a, b, c, d]) => Ok(Self::Taken(u32::from_be_bytes([*a, *b, *c, *d]))),
            (EXIT, [0, code]) => Ok(Self::Exit(Ending::Code(*code))),
            (EXIT, [1, signal]) => Ok(Self::Exit(Ending::Signal(*signal))),
            (EXIT, [2, 0]) => Ok(Self::Exit(Ending::Unknown)),
            (CLEANED, [a, b, c, d, e, f, g, h]) => Ok(Self::Cleaned {
                killed: u32::from_be_bytes([*a, *b, *c, *d]),
                left: u32::from_be_bytes([*e, *f, *g, *h]),
            }),
            _ => Err(unknown(kind, payload)),
        }
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, payload: &[u8]) {
    // The callers keep payloads below the limit, which fits four bytes.
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.push(kind);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
}

fn pieces(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    if bytes.is_empty() {
        frame(out, kind, bytes);
    }
    for piece in bytes.chunks(LONGEST_PAYLOAD) {
        frame(out, kind, piece);
    }
}

fn cut(reason: &str) -> &str {
    &reason[..reason.floor_char_boundary(LONGEST_REASON)]
}

fn unknown(kind: u8, payload: &[u8]) -> ProtocolError {
    ProtocolError(format!(
        "a frame of kind {kind} with {} bytes has no meaning here",
        payload.len()
    ))
}

const INPUT: u8 = 1;
const INPUT_END: u8 = 2;
const RESIZE: u8 = 3;
const SIGNAL: u8 = 4;
const BEAT: u8 = 5;
const END: u8 = 6;
const ROOM: u8 = 7;
const OPEN: u8 = 8;

const HELLO: u8 = 64;
const STARTED: u8 = 65;
const FAILED: u8 = 66;
const OUTPUT: u8 = 67;
const ERRORS: u8 = 68;
const TAKEN: u8 = 69;
const EXIT: u8 = 70;
const CLEANED: u8 = 71;
const WAITING: u8 = 72;
const DECLINED: u8 = 73;

const LONGEST_REASON: usize = 1024;
