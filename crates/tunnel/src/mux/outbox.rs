use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use crate::frame::{HEADER, SENT_DATA};

/// Bytes written to a stream that wait to be sent.
///
/// They are kept in pieces of one frame with room for its header in front, so that a full frame
/// leaves without being copied again. Empty, it holds no buffer.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: VecDeque<BytesMut>,
    length: usize,
}

impl Outbox {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        self.length += bytes.len();
        while !bytes.is_empty() {
            let room = self
                .pieces
                .back()
                .map_or(0, |piece| (HEADER + SENT_DATA).saturating_sub(piece.len()));
            let (part, rest) =
                bytes.split_at(bytes.len().min(if room == 0 { SENT_DATA } else { room }));
            match self.pieces.back_mut() {
                Some(piece) if room > 0 => piece.extend_from_slice(part),
                _ => {
                    let mut piece = BytesMut::with_capacity(HEADER + part.len());
                    piece.resize(HEADER, 0);
                    piece.extend_from_slice(part);
                    self.pieces.push_back(piece);
                }
            }
            bytes = rest;
        }
    }

    /// Up to `most` bytes, after room for a header.
    pub(super) fn take(&mut self, most: usize) -> Option<BytesMut> {
        let piece = self.pieces.front_mut()?;
        let payload = piece.len() - HEADER;
        let taken = if payload <= most {
            self.pieces.pop_front()?
        } else if most == 0 {
            return None;
        } else {
            let taken = BytesMut::from(&piece[..HEADER + most]);
            // What was taken leaves the room for the header of the rest.
            piece.advance(most);
            taken
        };
        self.length -= taken.len() - HEADER;
        if self.pieces.is_empty() {
            self.pieces = VecDeque::new();
        }
        Some(taken)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..Default::default() })]

        #[test]
        fn bytes_leave_as_they_came(
            writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40_000), 0..6),
            takes in prop::collection::vec(1usize..20_000, 1..8),
        ) {
            let mut outbox = Outbox::default();
            for bytes in &writes {
                outbox.push(bytes);
            }
            let mut left = Vec::new();
            let mut sizes = takes.iter().cycle();
            while let Some(piece) = outbox.take(*sizes.next().unwrap()) {
                prop_assert!(piece.len() <= HEADER + SENT_DATA);
                left.extend_from_slice(&piece[HEADER..]);
            }
            prop_assert_eq!(left, writes.concat());
            prop_assert_eq!(outbox.len(), 0);
        }
    }
}
