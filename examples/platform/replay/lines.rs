//! Line ends of a recording on a terminal that translates none.

use std::borrow::Cow;

/// What ran on a terminal has its line ends as that made them, and a line feed alone moves the cursor
/// down. What ran without one has line feeds only, which end lines. A record does not say which it is, but
/// its first carriage return or escape sequence does.
#[derive(Debug, Default)]
pub struct Lines {
    is_terminal: bool,
}

impl Lines {
    /// A piece of output, as it is to be shown.
    pub fn shown<'a>(&mut self, piece: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_terminal {
            return Cow::Borrowed(piece);
        }
        let sign = piece.iter().position(|byte| b"\r\x1b".contains(byte));
        self.is_terminal = sign.is_some();
        let (plain, rest) = piece.split_at(sign.unwrap_or(piece.len()));
        if !plain.contains(&b'\n') {
            return Cow::Borrowed(piece);
        }
        let mut shown = Vec::with_capacity(piece.len() + 16);
        for &byte in plain {
            match byte {
                b'\n' => shown.extend_from_slice(b"\r\n"),
                byte => shown.push(byte),
            }
        }
        shown.extend_from_slice(rest);
        Cow::Owned(shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&str], expected: &str) {
        let mut lines = Lines::default();
        let shown: Vec<u8> = pieces
            .iter()
            .flat_map(|piece| lines.shown(piece.as_bytes()).into_owned())
            .collect();
        assert_eq!(String::from_utf8_lossy(&shown), expected);
    }

    #[test]
    fn lines_without_a_terminal_end_at_the_left() {
        check(&["a\nb", "\n", "c"], "a\r\nb\r\nc");
        check(&["", "abc"], "abc");
    }

    #[test]
    fn what_a_terminal_was_told_is_left_alone() {
        check(&["$ ls\r\na\r\n", "x\ny"], "$ ls\r\na\r\nx\ny");
        check(&["a\n\x1b[2J\nb", "\n"], "a\r\n\x1b[2J\nb\n");
        check(&["\r", "\n"], "\r\n");
    }
}
