use crate::{Error, ErrorKind, ExecOutput, OutputKind, Result};
use bytes::{Buf, Bytes};

/// Takes apart the stream into which Docker multiplexes the outputs of a process without a
/// terminal: frames of a kind (0, 1 or 2), three zero bytes, a length, and that many bytes.
///
/// Pieces may be cut anywhere. Payload is passed on as it comes, so the announced length costs
/// nothing: neither memory nor waiting for the rest of a frame.
///
/// ```
/// use bytes::Bytes;
/// use longshore_core::http::Demultiplexer;
///
/// let mut frames = Demultiplexer::new();
/// let mut piece = Bytes::from_static(b"\x01\0\0\0\0\0\0\x05he");
/// assert_eq!(frames.next(&mut piece)?.unwrap().bytes, "he");
/// assert!(frames.next(&mut piece)?.is_none());
/// assert!(frames.finish().is_err(), "three bytes are missing");
/// # Ok::<(), longshore_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Demultiplexer {
    header: [u8; HEADER],
    /// How much of the header is there.
    filled: usize,
    /// How much of the frame's payload is still to come; only meaningful with a full header.
    left: u32,
}

impl Demultiplexer {
    /// At the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes from `piece` up to the next piece of payload. `None` when `piece` is used up.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when what should be a header is none. The stream is of no use then.
    pub fn next(&mut self, piece: &mut Bytes) -> Result<Option<ExecOutput>> {
        while !piece.is_empty() {
            if self.filled < HEADER {
                let count = piece.len().min(HEADER - self.filled);
                piece.copy_to_slice(&mut self.header[self.filled..self.filled + count]);
                self.filled += count;
                // Checked as early as possible: a terminal's raw output is seen at its first bytes.
                self.check()?;
                continue;
            }
            let count = piece.len().min(self.left as usize);
            let bytes = piece.split_to(count);
            self.left -= bytes.len() as u32;
            let kind = self.kind()?;
            if self.left == 0 {
                self.filled = 0;
            }
            if !bytes.is_empty() {
                return Ok(Some(ExecOutput { kind, bytes }));
            }
        }
        Ok(None)
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] when it ends within a frame: something is missing.
    pub fn finish(&self) -> Result<()> {
        if self.filled == 0 {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unavailable,
            "the stream broke off in the middle of a frame",
        )
        .with_retryable(false))
    }

    fn check(&mut self) -> Result<()> {
        self.kind()?;
        let zeros = self.header[1..self.filled.min(4)].iter();
        if zeros.into_iter().any(|byte| *byte != 0) {
            return Err(self.bad_header());
        }
        if self.filled == HEADER {
            let [.., a, b, c, d] = self.header;
            self.left = u32::from_be_bytes([a, b, c, d]);
            if self.left == 0 {
                self.filled = 0;
            }
        }
        Ok(())
    }

    fn kind(&self) -> Result<OutputKind> {
        match self.header[0] {
            // Docker's own client takes 0 for standard output too.
            0 | 1 => Ok(OutputKind::Stdout),
            2 => Ok(OutputKind::Stderr),
            3 => Err(Error::protocol(
                "the engine reports a failure in the output itself",
            )),
            _ => Err(self.bad_header()),
        }
    }

    fn bad_header(&self) -> Error {
        Error::protocol("the stream is not multiplexed as Docker does it")
            .with_context("header", format!("{:02x?}", &self.header[..self.filled]))
    }
}

const HEADER: usize = 8;

#[cfg(test)]
mod tests;
