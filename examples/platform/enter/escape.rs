//! Escapes at the beginning of a line, as ssh has them.

use super::input::Stdin;

/// Looks for escapes in what is typed. A state machine without I/O.
#[derive(Debug)]
pub struct Escape {
    key: Option<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    Line,
    /// The escape key was typed and is held back.
    Escaped,
}

/// What somebody typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// For the process.
    Bytes(Vec<u8>),
    Leave,
    Help,
    Suspend,
}

impl Escape {
    /// `None`: nothing is an escape.
    pub fn new(key: Option<u8>) -> Self {
        Self {
            key,
            state: State::LineStart,
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

    /// What is still held back when the input ends.
    pub fn finish(&mut self) -> Option<u8> {
        let held = self.state == State::Escaped;
        self.state = State::LineStart;
        self.key.filter(|_| held)
    }

    /// The keys, for people, and what leaving does; lines end as a raw terminal wants it.
    pub fn help(&self, stdin: Stdin, leaving: &str) -> String {
        let Some(key) = self.name() else {
            return String::new();
        };
        let (suspending, end) = match stdin {
            Stdin::Keys => (format!(" {key}^Z  suspend the client\r\n"), ""),
            // The terminal itself does that, and gives nothing before Enter.
            _ => (String::new(), ", and end with Enter"),
        };
        format!(
            "\r\nSupported escape sequences:\r\n {key}.   leave; {leaving}\r\n{suspending} \
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
            (escape.help(Stdin::Keys, "bye"), escape.way_out()),
            (String::new(), String::new())
        );
    }

    #[test]
    fn help_names_what_works_here() {
        let escape = Escape::new(Some(0x1d));
        let keys = escape.help(Stdin::Keys, "bye");
        assert!(keys.contains("^].   leave; bye") && keys.contains("^]^Z"));
        let lines = escape.help(Stdin::Lines, "bye");
        assert!(!lines.contains("^Z") && lines.contains("end with Enter"));
    }

    #[test]
    fn a_key_that_was_held_back_is_not_lost() {
        let mut escape = Escape::new(Some(b'~'));
        assert_eq!(escape.handle(b"~"), []);
        assert_eq!((escape.finish(), escape.finish()), (Some(b'~'), None));
    }
}
