use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use longshore_core::BoxByteStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection on which messages are small until its client has leave.
///
/// The WebSocket layer has one bound for all messages, and makes room for a frame as soon as its
/// length is announced. So lengths are looked at before it sees them.
pub(super) struct Bounded {
    inner: BoxByteStream,
    meter: FrameMeter,
    bound: FirstBound,
}

/// The bound's handle.
#[derive(Clone, Debug, Default)]
pub(super) struct FirstBound(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    lifted: AtomicBool,
    exceeded: AtomicBool,
}

impl FirstBound {
    /// The client has leave.
    pub(super) fn lift(&self) {
        self.0.lifted.store(true, Ordering::Relaxed);
    }

    /// Whether the connection broke because a message was too long.
    pub(super) fn is_exceeded(&self) -> bool {
        self.0.exceeded.load(Ordering::Relaxed)
    }
}

impl Bounded {
    pub(super) fn new(inner: BoxByteStream, most: usize, bound: FirstBound) -> Self {
        Self {
            inner,
            meter: FrameMeter::new(most as u64),
            bound,
        }
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        if !self.bound.0.lifted.load(Ordering::Relaxed)
            && !self.meter.pass(&buffer.filled()[before..])
        {
            buffer.set_filled(before);
            self.bound.0.exceeded.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::ErrorKind::InvalidData.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

/// Reads the heads of WebSocket frames (RFC 6455, section 5.2) in whatever pieces they come, and
/// adds up how long a message is. Everything else about them is the WebSocket layer's to judge.
#[derive(Debug)]
struct FrameMeter {
    most: u64,
    /// Bytes of the message whose frames are coming.
    message: u64,
    /// Bytes of the current frame that are still to come.
    payload: u64,
    head: [u8; 14],
    read: usize,
}

impl FrameMeter {
    fn new(most: u64) -> Self {
        Self {
            most,
            message: 0,
            payload: 0,
            head: [0; 14],
            read: 0,
        }
    }

    /// Whether these bytes may go on.
    fn pass(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let taken = self.payload.min(bytes.len() as u64);
                self.payload -= taken;
                bytes = &bytes[taken as usize..];
                continue;
            }
            self.head[self.read] = bytes[0];
            self.read += 1;
            bytes = &bytes[1..];
            if self.read == self.head_length() {
                self.read = 0;
                if !self.begin() {
                    return false;
                }
            }
        }
        true
    }

    /// As far as it is known.
    fn head_length(&self) -> usize {
        if self.read < 2 {
            return 2;
        }
        let length = match self.head[1] & 0x7f {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        length + if self.head[1] & 0x80 == 0 { 0 } else { 4 }
    }

    /// A head is complete.
    fn begin(&mut self) -> bool {
        let length = match self.head[1] & 0x7f {
            126 => u64::from(u16::from_be_bytes([self.head[2], self.head[3]])),
            127 => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&self.head[2..10]);
                u64::from_be_bytes(bytes)
            }
            short => u64::from(short),
        };
        self.payload = length;
        let (is_last, opcode) = (self.head[0] & 0x80 != 0, self.head[0] & 0x0f);
        if opcode >= 8 {
            // A control frame, between those of a message.
            return length <= self.most;
        }
        let message = match opcode {
            0 => self.message.saturating_add(length),
            _ => length,
        };
        self.message = if is_last { 0 } else { message };
        message <= self.most
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(first: u8, length: u64, masked: bool, payload: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match length {
            ..126 => frame.push(mask | length as u8),
            126..65536 => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend(vec![0xff; if masked { 4 } else { 0 }]);
        // Bytes that would be other heads if they were taken for some.
        frame.extend(vec![0xff; if payload { length as usize } else { 0 }]);
        frame
    }

    proptest! {
        /// Whatever the pieces: messages up to the bound pass, the first longer one does not, and
        /// its length alone is enough.
        #[test]
        fn messages_are_measured_over_their_frames_whatever_the_pieces(
            parts in prop::collection::vec((prop::collection::vec(0u64..300, 1..4), any::<bool>(), any::<bool>()), 0..8),
            piece in 1usize..400,
            most in 0u64..700,
        ) {
            let mut bytes = Vec::new();
            let mut fits = true;
            for (lengths, masked, pings) in parts {
                let last = lengths.len() - 1;
                let mut whole = 0;
                for (at, length) in lengths.into_iter().enumerate() {
                    let opcode = if at == 0 { 2 } else { 0 };
                    whole += length;
                    fits &= whole <= most;
                    bytes.extend(frame(opcode | if at == last { 0x80 } else { 0 }, length, masked, fits));
                    if pings && fits {
                        bytes.extend(frame(0x89, 0, masked, true));
                    }
                    if !fits {
                        break;
                    }
                }
                if !fits {
                    break;
                }
            }
            let mut meter = FrameMeter::new(most);
            let passed = bytes.chunks(piece).all(|piece| meter.pass(piece));
            prop_assert_eq!(passed, fits);
        }

        #[test]
        fn any_bytes_are_measured_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut meter = FrameMeter::new(64);
            for piece in bytes.chunks(7) {
                meter.pass(piece);
            }
        }
    }

    #[test]
    fn lengths_that_no_machine_has_are_refused() {
        let mut meter = FrameMeter::new(u64::MAX - 1);
        assert!(meter.pass(&frame(0x02, 5, true, true)));
        assert!(!meter.pass(&frame(0x80, u64::MAX, true, false)));
    }
}
