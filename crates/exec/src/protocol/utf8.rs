use bytes::{Bytes, BytesMut};

/// Holds back the beginning of a character until its rest is there, so that no message ends within
/// one. At most three bytes are held; bytes that are no UTF-8 go through as they are.
#[derive(Clone, Debug, Default)]
pub struct Utf8Tail {
    held: BytesMut,
}

impl Utf8Tail {
    /// Bytes in, bytes out; together they are the same.
    pub fn push(&mut self, bytes: Bytes) -> Bytes {
        let whole = if self.held.is_empty() {
            bytes
        } else {
            let mut whole = std::mem::take(&mut self.held);
            whole.extend_from_slice(&bytes);
            whole.freeze()
        };
        let end = whole.len() - incomplete(&whole);
        self.held.extend_from_slice(&whole[end..]);
        whole.slice(..end)
    }

    /// How many bytes are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// What is held, given up on.
    pub fn flush(&mut self) -> Bytes {
        std::mem::take(&mut self.held).freeze()
    }
}

/// How many bytes at the end begin a character that may still become whole.
pub(super) fn incomplete(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let byte = bytes[bytes.len() - back];
        if byte & 0b1100_0000 == 0b1000_0000 {
            continue;
        }
        let needed = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        // Overlong forms and surrogates never become whole; the second byte tells.
        let hopeless = back > 1
            && matches!(
                (byte, bytes[bytes.len() - back + 1]),
                (0xe0, 0x80..=0x9f)
                    | (0xed, 0xa0..=0xbf)
                    | (0xf0, 0x80..=0x8f)
                    | (0xf4, 0x90..=0xbf)
            );
        return if needed > back && !hopeless { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIXED: &str = "aé日𝄞ß語🚢x\u{7ff}\u{800}\u{ffff}\u{10000}\u{10ffff}z";

    #[test]
    fn no_split_point_of_a_text_splits_a_character() {
        let text = MIXED.as_bytes();
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut tail = Utf8Tail::default();
                let mut out = Vec::new();
                for piece in [&text[..first], &text[first..second], &text[second..]] {
                    let piece = tail.push(Bytes::copy_from_slice(piece));
                    assert!(std::str::from_utf8(&piece).is_ok(), "{first} {second}");
                    out.extend_from_slice(&piece);
                }
                assert_eq!(out, text);
                assert!(tail.is_empty());
            }
        }
    }

    proptest! {
        /// Arbitrary bytes, arbitrarily cut: none is lost, and at most three wait.
        #[test]
        fn no_byte_is_lost(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 0..20)) {
            let mut tail = Utf8Tail::default();
            let mut out = Vec::new();
            for piece in &pieces {
                out.extend_from_slice(&tail.push(Bytes::copy_from_slice(piece)));
                prop_assert!(tail.held.len() <= 3);
            }
            out.extend_from_slice(&tail.flush());
            prop_assert_eq!(out, pieces.concat());
        }

        /// Every text, in pieces of every size.
        #[test]
        fn texts_stay_texts(text in any::<String>(), size in 1usize..9) {
            let mut tail = Utf8Tail::default();
            for piece in text.as_bytes().chunks(size) {
                let piece = tail.push(Bytes::copy_from_slice(piece));
                prop_assert!(std::str::from_utf8(&piece).is_ok());
            }
            prop_assert!(tail.is_empty());
        }
    }

    #[test]
    fn what_never_becomes_a_character_is_not_held() {
        for hopeless in [
            &b"\xff"[..],
            b"\x80",
            b"\xc0",
            b"\xe0\x80",
            b"\xed\xa0",
            b"\xf5",
            b"abc\x80",
        ] {
            let mut tail = Utf8Tail::default();
            assert_eq!(tail.push(Bytes::copy_from_slice(hopeless)), hopeless);
        }
    }
}
