//! Escapes at the beginning of a line, as ssh has them.

use super::input::Stdin;

/// Looks for escapes in what is typed. A state machine without I/O.
#[derive(Debug)]
pub struct Escape {
    key: Option<u8>,
    state: State,
    /// The digits that are held back.
    digits: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    Line,
    /// The escape key was typed and is held back.
    Escaped,
    /// The same, with the letter behind it: digits follow, and Enter.
    Giving,
}

/// What somebody typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the process.
    Bytes(Vec<u8>),
    Leave,
    Help,
    Suspend,
    /// Who is here?
    Who,
    /// The keyboard goes to the connection with this number.
    Give(u64),
    /// And back.
    TakeBack,
}

impl Escape {
    /// `None`: nothing is an escape.
    pub fn new(key: Option<u8>) -> Self {
        Self {
            key,
            state: State::LineStart,
            digits: Vec::new(),
        }
    }

    /// What a piece of input means, in order.
    pub fn handle(&mut self, input: &[u8]) -> Vec<Typed> {
        let Some(key) = self.key else {
            return vec![Typed::Bytes(input.to_vec())];
        };
        let (mut all, mut plain) = (Vec::new(), Vec::new());
        for &byte in input {
            let was = self.state;
            if was == State::Giving {
                match self.gives(byte) {
                    Some(to) => {
                        flush(&mut plain, &mut all);
                        all.push(Typed::Give(to));
                    }
                    None if self.state == State::Giving => {}
                    // It was none.
                    None => plain.extend(self.held(key).into_iter().chain([byte])),
                }
                continue;
            }
            self.state = match byte {
                b'\r' | b'\n' => State::LineStart,
                _ if was == State::LineStart && byte == key => State::Escaped,
                _ => State::Line,
            };
            if self.state == State::Escaped {
                continue;
            }
            if was != State::Escaped {
                plain.push(byte);
                continue;
            }
            let command = match byte {
                b'.' => Typed::Leave,
                b'?' => Typed::Help,
                SUSPEND => Typed::Suspend,
                b'W' => Typed::Who,
                b'T' => Typed::TakeBack,
                b'G' => {
                    self.state = State::Giving;
                    continue;
                }
                _ => {
                    plain.push(key);
                    // Twice the key is once the key.
                    plain.extend((byte != key).then_some(byte));
                    continue;
                }
            };
            self.state = State::LineStart;
            flush(&mut plain, &mut all);
            all.push(command);
        }
        flush(&mut plain, &mut all);
        all
    }

    /// The number of who gets the keyboard, at its end. A byte that belongs to no number ends it, too.
    fn gives(&mut self, byte: u8) -> Option<u64> {
        if byte.is_ascii_digit() && self.digits.len() < MOST_DIGITS {
            self.digits.push(byte);
            return None;
        }
        let is_end = matches!(byte, b'\r' | b'\n');
        self.state = if is_end {
            State::LineStart
        } else {
            State::Line
        };
        let number = std::str::from_utf8(&self.digits).ok()?.parse().ok();
        let number = number.filter(|_| is_end)?;
        self.digits.clear();
        Some(number)
    }

    /// What was held back behind the letter, with it.
    fn held(&mut self, key: u8) -> Vec<u8> {
        let mut held = vec![key, b'G'];
        held.append(&mut self.digits);
        held
    }

    /// What is still held back when the input ends.
    pub fn finish(&mut self) -> Vec<u8> {
        let was = std::mem::replace(&mut self.state, State::LineStart);
        match (self.key, was) {
            (Some(key), State::Escaped) => vec![key],
            (Some(key), State::Giving) => self.held(key),
            _ => Vec::new(),
        }
    }

    /// The keys, for people, and what leaving does; lines end as a raw terminal wants it. To lend the
    /// keyboard and take it back is for whose session it is.
    pub fn help(&self, stdin: Stdin, leaving: &str, is_owner: bool) -> String {
        let Some(key) = self.name() else {
            return String::new();
        };
        let (suspending, end) = match stdin {
            Stdin::Keys => (format!(" {key}^Z  suspend the client\r\n"), ""),
            // The terminal itself does that, and gives nothing before Enter.
            _ => (String::new(), ", and end with Enter"),
        };
        let taking = match is_owner {
            true => format!(" {key}T   take the keyboard back\r\n"),
            false => String::new(),
        };
        format!(
            "\r\nSupported escape sequences:\r\n {key}.   leave; {leaving}\r\n{suspending} \
             {key}W   who is here, and who types\r\n \
             {key}G3  and Enter: lend the keyboard to number 3\r\n{taking} \
             {key}?   this message\r\n {key}{key}   send {key}\r\n\
             (they are recognized at the beginning of a line only{end})"
        )
    }

    /// How to leave, for people.
    pub fn way_out(&self) -> String {
        self.name()
            .map(|key| format!("; {key}. leaves"))
            .unwrap_or_default()
    }

    /// What the key is called.
    pub fn name(&self) -> Option<String> {
        self.key.map(|key| match key {
            0..0x20 => format!("^{}", char::from(key | 0x40)),
            key => char::from(key).to_string(),
        })
    }
}

fn flush(plain: &mut Vec<u8>, all: &mut Vec<Typed>) {
    if !plain.is_empty() {
        all.push(Typed::Bytes(std::mem::take(plain)));
    }
}

/// Connections have small numbers.
const MOST_DIGITS: usize = 9;
/// Ctrl-Z.
const SUSPEND: u8 = 0x1a;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pieces: &[&str], expected: &[Typed]) {
        let mut escape = Escape::new(Some(b'~'));
        let mut all: Vec<Typed> = Vec::new();
        for typed in pieces
            .iter()
            .flat_map(|piece| escape.handle(piece.as_bytes()))
        {
            match (all.last_mut(), typed) {
                (Some(Typed::Bytes(before)), Typed::Bytes(more)) => before.extend(more),
                (_, typed) => all.push(typed),
            }
        }
        assert_eq!(all, expected, "{pieces:?}");
    }

    fn bytes(text: &str) -> Typed {
        Typed::Bytes(text.as_bytes().to_vec())
    }

    #[test]
    fn an_escape_stands_at_the_beginning_of_a_line() {
        check(&["~."], &[Typed::Leave]);
        check(&["~", "."], &[Typed::Leave]);
        check(&["ls\r~."], &[bytes("ls\r"), Typed::Leave]);
        check(
            &["ls\n", "~", "?", "x"],
            &[bytes("ls\n"), Typed::Help, bytes("x")],
        );
        check(&["~\x1a"], &[Typed::Suspend]);
        check(&["~?~."], &[Typed::Help, Typed::Leave]);
    }

    #[test]
    fn the_keyboard_goes_to_a_number() {
        check(&["~W~T"], &[Typed::Who, Typed::TakeBack]);
        check(
            &["ls\r~G3\rx"],
            &[bytes("ls\r"), Typed::Give(3), bytes("x")],
        );
        check(
            &["~", "G", "1", "2", "\n~."],
            &[Typed::Give(12), Typed::Leave],
        );
        check(&["~G123456789\r"], &[Typed::Give(123_456_789)]);
    }

    #[test]
    fn what_is_no_number_is_the_process_s() {
        check(&["~G\r~."], &[bytes("~G\r"), Typed::Leave]);
        check(&["~Go\r"], &[bytes("~Go\r")]);
        check(&["~G3x~.\r"], &[bytes("~G3x~.\r")]);
        check(&["~G~."], &[bytes("~G~.")]);
        check(&["~G1234567890\r"], &[bytes("~G1234567890\r")]);
        check(&["a~G3\r"], &[bytes("a~G3\r")]);
    }

    #[test]
    fn everything_else_is_the_process_s() {
        check(&["a~."], &[bytes("a~.")]);
        check(&["~~."], &[bytes("~.")]);
        check(&["~x~."], &[bytes("~x~.")]);
        check(&["~\r~."], &[bytes("~\r"), Typed::Leave]);
        check(&["~/file\n"], &[bytes("~/file\n")]);
    }

    #[test]
    fn without_a_key_nothing_is_an_escape() {
        let mut escape = Escape::new(None);
        assert_eq!(escape.handle(b"~."), [bytes("~.")]);
        assert_eq!(
            (escape.help(Stdin::Keys, "bye", true), escape.way_out()),
            (String::new(), String::new())
        );
    }

    #[test]
    fn help_names_what_works_here() {
        let escape = Escape::new(Some(0x1d));
        let keys = escape.help(Stdin::Keys, "bye", true);
        assert!(keys.contains("^].   leave; bye") && keys.contains("^]^Z"));
        assert!(keys.contains("^]W") && keys.contains("^]T"));
        let lines = escape.help(Stdin::Lines, "bye", false);
        assert!(
            !lines.contains("^]T") && !lines.contains("^Z") && lines.contains("end with Enter")
        );
    }

    #[test]
    fn a_key_that_was_held_back_is_not_lost() {
        let mut escape = Escape::new(Some(b'~'));
        assert_eq!(escape.handle(b"~"), []);
        assert_eq!((escape.finish(), escape.finish()), (b"~".to_vec(), vec![]));
        assert_eq!(escape.handle(b"~G12"), []);
        assert_eq!(
            (escape.finish(), escape.finish()),
            (b"~G12".to_vec(), vec![])
        );
    }
}
