use std::collections::VecDeque;

use bytes::{Buf, BufMut, BytesMut};

/// Bytes of a stream that were received and are not read yet.
///
/// They are copied together, so that many small frames hold no more memory than their bytes, and a
/// small frame does not keep a large read buffer alive. Empty, it holds no buffer.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    pieces: VecDeque<BytesMut>,
    length: usize,
}

impl Inbox {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        match self.pieces.back_mut() {
            Some(piece) if piece.len() + bytes.len() <= PIECE => piece.extend_from_slice(bytes),
            _ => self.pieces.push_back(BytesMut::from(bytes)),
        }
    }

    /// Moves as much as there is and as there is room for, and says how much that was.
    pub(super) fn read(&mut self, buffer: &mut impl BufMut) -> usize {
        let mut done = 0;
        while buffer.has_remaining_mut()
            && let Some(piece) = self.pieces.front_mut()
        {
            let part = piece.len().min(buffer.remaining_mut());
            buffer.put_slice(&piece[..part]);
            done += part;
            if part == piece.len() {
                self.pieces.pop_front();
            } else {
                piece.advance(part);
            }
        }
        self.length -= done;
        if self.pieces.is_empty() {
            self.pieces = VecDeque::new();
        }
        done
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

const PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_byte_frames_are_kept_together() {
        let mut inbox = Inbox::default();
        for _ in 0..PIECE * 2 {
            inbox.push(&[7]);
        }
        assert_eq!(inbox.pieces.len(), 2);
        assert_eq!(inbox.read(&mut Vec::new()), PIECE * 2);
        assert_eq!(inbox.pieces.capacity(), 0);
    }
}
