use bytes::{Buf, Bytes, BytesMut};
use longshore_core::{Error, LogChunk, OutputKind, Result};

/// Takes Docker's multiplexed output apart: frames of a type (1 byte), three zeros, a length (u32,
/// big-endian) and so many bytes. Payloads are passed on as they come; nothing is allocated by an
/// announced length.
#[derive(Debug, Default)]
pub(super) struct StdCopyDecoder {
    buffer: BytesMut,
    /// The frame under way: its output and how much of it is to come. Standard input's echo
    /// (type 0) counts as output, as in Docker's own client.
    frame: Option<(OutputKind, usize)>,
}

impl StdCopyDecoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece, or `None` until more bytes are pushed.
    pub(super) fn next(&mut self) -> Result<Option<LogChunk>> {
        loop {
            match self.frame {
                Some((_, 0)) => self.frame = None,
                Some((kind, left)) => {
                    if self.buffer.is_empty() {
                        return Ok(None);
                    }
                    let count = left.min(self.buffer.len());
                    let bytes: Bytes = self.buffer.split_to(count).freeze();
                    self.frame = Some((kind, left - count));
                    return Ok(Some(LogChunk { kind, bytes }));
                }
                None => {
                    let Some(header) = self.buffer.first_chunk::<8>() else {
                        return Ok(None);
                    };
                    self.frame = Some(read_header(*header)?);
                    self.buffer.advance(8);
                }
            }
        }
    }

    /// Whether the stream may end here.
    pub(super) fn is_complete(&self) -> bool {
        self.buffer.is_empty() && matches!(self.frame, None | Some((_, 0)))
    }
}

fn read_header(header: [u8; 8]) -> Result<(OutputKind, usize)> {
    let [kind, 0, 0, 0, length @ ..] = header else {
        return Err(Error::protocol(
            "the engine's output is not framed as it must be",
        ));
    };
    let kind = match kind {
        0 | 1 => OutputKind::Stdout,
        2 => OutputKind::Stderr,
        3 => {
            return Err(Error::protocol(
                "the engine reports a failure in its output",
            ));
        }
        _ => {
            return Err(Error::protocol(format!(
                "the engine's output has a frame of the unknown type {kind}"
            )));
        }
    };
    Ok((kind, u32::from_be_bytes(length) as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 0, 0, 0];
        bytes.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        bytes.extend_from_slice(payload);
        bytes
    }

    fn decode(pieces: impl IntoIterator<Item = Vec<u8>>) -> Result<(Vec<u8>, Vec<u8>, bool)> {
        let mut decoder = StdCopyDecoder::default();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        for piece in pieces {
            decoder.push(&piece);
            while let Some(chunk) = decoder.next()? {
                match chunk.kind {
                    OutputKind::Stdout => out.extend_from_slice(&chunk.bytes),
                    OutputKind::Stderr => err.extend_from_slice(&chunk.bytes),
                }
            }
        }
        Ok((out, err, decoder.is_complete()))
    }

    #[test]
    fn frames_split_at_every_byte_come_out_whole() {
        let mut wire = frame(1, b"\0\x01\x02out");
        wire.extend(frame(2, b""));
        wire.extend(frame(2, b"err"));
        for at in 0..=wire.len() {
            let (head, tail) = wire.split_at(at);
            let (out, err, complete) = decode([head.to_vec(), tail.to_vec()]).unwrap();
            assert_eq!((&out[..], &err[..]), (&b"\0\x01\x02out"[..], &b"err"[..]));
            assert!(complete);
        }
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        assert!(decode([frame(9, b"a")]).is_err());
        assert!(decode([b"\x01\x01\0\0\0\0\0\x01a".to_vec()]).is_err());
    }

    #[test]
    fn an_end_within_a_frame_is_seen() {
        let wire = frame(1, b"abc");
        for cut in 1..wire.len() {
            assert!(!decode([wire[..cut].to_vec()]).unwrap().2);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_never_panic(pieces in proptest::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let _ = decode(pieces);
        }
    }
}
