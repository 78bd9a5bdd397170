/// Leaves escape sequences out of what goes to or comes from a terminal (ECMA-48, and the strings
/// of xterm). A line end ends a sequence that was never finished.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plain {
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    Escape,
    /// One more byte belongs to it.
    Single,
    Control,
    String,
    StringEscape,
}

impl Plain {
    /// The byte, if it is in no sequence.
    pub(crate) fn push(&mut self, byte: u8) -> Option<u8> {
        if matches!(byte, b'\r' | b'\n') {
            self.state = State::Text;
            return Some(byte);
        }
        self.state = match (self.state, byte) {
            (State::StringEscape, b'\\') => State::Text,
            (_, 0x1b) => match self.state {
                State::String => State::StringEscape,
                _ => State::Escape,
            },
            (State::Text, _) => return Some(byte),
            (State::Escape | State::StringEscape, b'[') => State::Control,
            (State::Escape | State::StringEscape, b']' | b'P' | b'X' | b'^' | b'_') => {
                State::String
            }
            (State::Escape | State::StringEscape, b'O' | b'N' | b' '..=b'/') => State::Single,
            (State::Escape | State::StringEscape | State::Single, _) => State::Text,
            (State::Control, b'@'..=b'~') => State::Text,
            (State::Control, _) => State::Control,
            (State::String, 0x07) => State::Text,
            (State::String, _) => State::String,
        };
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(given: &str, expected: &str) {
        let mut plain = Plain::default();
        let left: Vec<u8> = given.bytes().filter_map(|byte| plain.push(byte)).collect();
        assert_eq!(String::from_utf8(left).unwrap(), expected);
    }

    #[test]
    fn escape_sequences_are_left_out() {
        check("plain é", "plain é");
        check("\u{1b}[31mred\u{1b}[0m", "red");
        check("\u{1b}]0;title\u{7}a\u{1b}]8;;x\u{1b}\\b", "ab");
        check("\u{1b}OAup\u{1b}(Bx\u{1b}7y", "upxy");
        check("\u{1b}[200~paste\u{1b}[201~", "paste");
        check("\u{1b}]never ended\nnext", "\nnext");
        check("\u{1b}\u{1b}[Ax", "x");
    }
}
