use bytes::{Buf, BufMut, Bytes, BytesMut};
use longshore_core::{Error, OutputKind, Result, Signal, TerminalSize};
use serde::{Serialize, de::DeserializeOwned};

use super::{ExitFrame, NoticeFrame, Open, ReadyFrame, Resume};
use crate::session::GapCause;

/// A frame of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientFrame {
    /// Opens a session. Only first.
    Open(Box<Open>),
    /// Comes back to one. Only first.
    Resume(Resume),
    /// Input from this offset on.
    Input(u64, Bytes),
    /// The input ends here.
    InputEnd(u64),
    /// The terminal's size.
    Resize(TerminalSize),
    /// A signal.
    Signal(Signal),
    /// Output before this offset was consumed.
    Ack(u64),
    /// The client leaves and may come back.
    Detach,
    /// The session ends, or its end was heard.
    End,
    /// Asks for a PONG.
    Ping(u64),
    /// Passes the right to write to the connection with this number.
    Grant(u64),
    /// Takes it back.
    TakeBack,
}

/// A frame of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerFrame {
    /// The answer to OPEN and RESUME.
    Ready(ReadyFrame),
    /// Output from this offset on.
    Output(u64, OutputKind, Bytes),
    /// Output from this offset on, of this length, compressed.
    Packed(u64, OutputKind, u32, Bytes),
    /// Input before this offset was taken by the process.
    InputAck(u64),
    /// Output is missing.
    Gap(u64, u64, GapCause),
    /// What the terminal shows after all output before this offset, from which it goes on.
    Snapshot(u64, Bytes),
    /// The end.
    Exit(ExitFrame),
    /// Something to show.
    Notice(NoticeFrame),
    /// The answer to PING.
    Pong(u64),
}

impl ClientFrame {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Open(open) => json(0x01, open),
            Self::Resume(resume) => json(0x02, resume),
            Self::Input(offset, bytes) => numbered(0x03, *offset, bytes),
            Self::InputEnd(offset) => numbered(0x04, *offset, &[]),
            Self::Resize(size) => {
                let mut frame = BytesMut::with_capacity(5);
                frame.put_u8(0x05);
                frame.put_u16(size.columns);
                frame.put_u16(size.rows);
                frame.freeze()
            }
            Self::Signal(signal) => Bytes::copy_from_slice(&[0x06, signal.number()]),
            Self::Ack(offset) => numbered(0x07, *offset, &[]),
            Self::Detach => Bytes::from_static(&[0x08]),
            Self::End => Bytes::from_static(&[0x09]),
            Self::Ping(token) => numbered(0x0a, *token, &[]),
            Self::Grant(viewer) => numbered(0x0b, *viewer, &[]),
            Self::TakeBack => Bytes::from_static(&[0x0c]),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](longshore_core::ErrorKind::Protocol): it is none.
    pub fn decode(frame: Bytes) -> Result<Self> {
        let mut body = Body::new(frame)?;
        let decoded = match body.kind {
            0x01 => return Ok(Self::Open(body.json("OPEN")?)),
            0x02 => return Ok(Self::Resume(body.json("RESUME")?)),
            0x03 => return Ok(Self::Input(body.u64()?, body.rest)),
            0x04 => Self::InputEnd(body.u64()?),
            0x05 => Self::Resize(TerminalSize::new(body.u16()?, body.u16()?)),
            0x06 => {
                let number = body.u8()?;
                Self::Signal(Signal::new(number).map_err(|error| {
                    Error::protocol("a SIGNAL frame has no signal").with_source(error)
                })?)
            }
            0x07 => Self::Ack(body.u64()?),
            0x08 => Self::Detach,
            0x09 => Self::End,
            0x0a => Self::Ping(body.u64()?),
            0x0b => Self::Grant(body.u64()?),
            0x0c => Self::TakeBack,
            _ => return Err(body.unknown()),
        };
        body.finish(decoded)
    }
}

impl ServerFrame {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        match self {
            Self::Ready(ready) => json(0x81, ready),
            Self::Output(offset, kind, bytes) => {
                let mut frame = BytesMut::with_capacity(10 + bytes.len());
                frame.put_u8(0x82);
                frame.put_u64(*offset);
                frame.put_u8(number(*kind));
                frame.put_slice(bytes);
                frame.freeze()
            }
            Self::Packed(offset, kind, length, bytes) => {
                let mut frame = BytesMut::with_capacity(14 + bytes.len());
                frame.put_u8(0x88);
                frame.put_u64(*offset);
                frame.put_u8(number(*kind));
                frame.put_u32(*length);
                frame.put_slice(bytes);
                frame.freeze()
            }
            Self::InputAck(offset) => numbered(0x83, *offset, &[]),
            Self::Gap(from, to, cause) => {
                let mut frame = BytesMut::with_capacity(18);
                frame.put_u8(0x84);
                frame.put_u64(*from);
                frame.put_u64(*to);
                frame.put_u8(match cause {
                    GapCause::Trimmed => 1,
                    GapCause::Flushed => 2,
                });
                frame.freeze()
            }
            Self::Snapshot(offset, bytes) => numbered(0x85, *offset, bytes),
            Self::Exit(exit) => json(0x86, exit),
            Self::Notice(notice) => json(0x87, notice),
            Self::Pong(token) => numbered(0x8a, *token, &[]),
        }
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](longshore_core::ErrorKind::Protocol): it is none.
    pub fn decode(frame: Bytes) -> Result<Self> {
        let mut body = Body::new(frame)?;
        let decoded = match body.kind {
            0x81 => return Ok(Self::Ready(body.json("READY")?)),
            0x82 => {
                return Ok(Self::Output(body.u64()?, body.output()?, body.rest));
            }
            0x88 => {
                let (offset, kind, length) = (body.u64()?, body.output()?, body.u32()?);
                return Ok(Self::Packed(offset, kind, length, body.rest));
            }
            0x83 => Self::InputAck(body.u64()?),
            0x84 => {
                let (from, to) = (body.u64()?, body.u64()?);
                let cause = match body.u8()? {
                    2 => GapCause::Flushed,
                    _ => GapCause::Trimmed,
                };
                Self::Gap(from, to, cause)
            }
            0x85 => return Ok(Self::Snapshot(body.u64()?, body.rest)),
            0x86 => return Ok(Self::Exit(body.json("EXIT")?)),
            0x87 => return Ok(Self::Notice(body.json("NOTICE")?)),
            0x8a => Self::Pong(body.u64()?),
            _ => return Err(body.unknown()),
        };
        body.finish(decoded)
    }
}

struct Body {
    kind: u8,
    rest: Bytes,
}

impl Body {
    fn new(mut frame: Bytes) -> Result<Self> {
        if frame.is_empty() {
            return Err(Error::protocol("an empty frame"));
        }
        let kind = frame.get_u8();
        Ok(Self { kind, rest: frame })
    }

    fn need(&self, bytes: usize) -> Result<()> {
        if self.rest.len() < bytes {
            return Err(Error::protocol(format!(
                "a frame of type {:#04x} is cut off",
                self.kind
            )));
        }
        Ok(())
    }

    fn u8(&mut self) -> Result<u8> {
        self.need(1)?;
        Ok(self.rest.get_u8())
    }

    fn u16(&mut self) -> Result<u16> {
        self.need(2)?;
        Ok(self.rest.get_u16())
    }

    fn u32(&mut self) -> Result<u32> {
        self.need(4)?;
        Ok(self.rest.get_u32())
    }

    fn output(&mut self) -> Result<OutputKind> {
        match self.u8()? {
            1 => Ok(OutputKind::Stdout),
            2 => Ok(OutputKind::Stderr),
            other => Err(Error::protocol(format!("OUTPUT of an output {other}"))),
        }
    }

    fn u64(&mut self) -> Result<u64> {
        self.need(8)?;
        Ok(self.rest.get_u64())
    }

    fn json<T: DeserializeOwned>(&self, name: &'static str) -> Result<T> {
        serde_json::from_slice(&self.rest)
            .map_err(|error| Error::protocol(format!("the JSON of {name} is wrong: {error}")))
    }

    fn unknown(&self) -> Error {
        Error::protocol(format!("frames of type {:#04x} are not known", self.kind))
    }

    fn finish<T>(&self, decoded: T) -> Result<T> {
        if self.rest.is_empty() {
            return Ok(decoded);
        }
        Err(Error::protocol(format!(
            "a frame of type {:#04x} has {} bytes too many",
            self.kind,
            self.rest.len()
        )))
    }
}

fn number(kind: OutputKind) -> u8 {
    match kind {
        OutputKind::Stdout => 1,
        _ => 2,
    }
}

fn numbered(kind: u8, number: u64, bytes: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(9 + bytes.len());
    frame.put_u8(kind);
    frame.put_u64(number);
    frame.put_slice(bytes);
    frame.freeze()
}

fn json(kind: u8, body: &impl Serialize) -> Bytes {
    let mut frame = vec![kind];
    // Plain structs of strings and numbers always serialise.
    let _ = serde_json::to_writer(&mut frame, body);
    frame.into()
}

#[cfg(test)]
mod tests;
