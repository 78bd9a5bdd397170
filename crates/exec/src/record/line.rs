use longshore_core::Timestamp;

use crate::session::plain::Plain;

/// A line as its keys make it, as far as can be told without the screen: characters, rubbing out
/// (DEL, BS), and the usual keys that rub out a word (Ctrl-W) or the line (Ctrl-U). Escape sequences
/// count for nothing.
#[derive(Debug, Default)]
pub(super) struct TypedLine {
    keys: Plain,
    text: Vec<u8>,
}

/// What a key did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// It belongs to the line, or to nothing.
    Part,
    /// It ends the line.
    End,
}

impl TypedLine {
    pub(super) fn push(&mut self, byte: u8) -> Key {
        match self.keys.push(byte) {
            // Enter, and Ctrl-O, which readline takes for it.
            Some(b'\r' | b'\n' | 0x0f) => return Key::End,
            // Ctrl-C, and Ctrl-U.
            Some(0x03 | 0x15) => self.text.clear(),
            Some(0x7f | 0x08) => self.rub_out(),
            Some(0x17) => {
                self.rub_out_while(|byte| byte == b' ');
                self.rub_out_while(|byte| byte != b' ');
            }
            // A completion may stand here.
            Some(b'\t') | None => {}
            Some(0..b' ') => {}
            Some(byte) if self.text.len() < LONGEST => self.text.push(byte),
            Some(_) => {}
        }
        Key::Part
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).into_owned()
    }

    pub(super) fn clear(&mut self) {
        self.text.clear();
    }

    fn rub_out(&mut self) {
        while let Some(byte) = self.text.pop() {
            if byte & 0b1100_0000 != 0b1000_0000 {
                break;
            }
        }
    }

    fn rub_out_while(&mut self, is_such: impl Fn(u8) -> bool) {
        while self.text.last().is_some_and(|&byte| is_such(byte)) {
            self.text.pop();
        }
    }
}

/// The longest line that is looked at, in bytes; the rest of a longer one is not.
const LONGEST: usize = 64 << 10;

/// Seconds, as both file formats write them: six decimals.
pub(super) fn seconds(start: Timestamp, at: Timestamp) -> String {
    let micros = at.as_micros().saturating_sub(start.as_micros());
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(keys: &str, expected: &str) {
        let mut line = TypedLine::default();
        for byte in keys.bytes() {
            assert_eq!(line.push(byte), Key::Part);
        }
        assert_eq!(line.text(), expected);
        assert_eq!(line.push(b'\r'), Key::End);
    }

    #[test]
    fn keys_make_a_line() {
        check("ls -l", "ls -l");
        check("lz\u{7f}s", "ls");
        check("größ\u{8}\u{8}o", "gro");
        check("rm -rf /tmp/x\u{17}y", "rm -rf y");
        check("nonsense\u{15}ls", "ls");
        check("nonsense\u{3}ls", "ls");
        check("\u{1b}[Al\u{1b}[Ds\u{1b}[200~ -l\u{1b}[201~", "ls -l");
        check(&"x".repeat(LONGEST + 5), &"x".repeat(LONGEST));
    }
}
