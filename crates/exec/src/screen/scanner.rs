use unicode_width::UnicodeWidthChar;

use super::{cluster::Clusters, modes::Modes};

/// Follows output on its way to the model: puts characters together with what combines with them,
/// and keeps the modes that the model does not know. The states are those of Williams's parser of
/// ANSI sequences, as far as it matters when text begins again.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    state: State,
    /// An unfinished sequence; of a long string the beginning.
    sequence: String,
    /// A sequence's parameters and intermediate bytes.
    parameters: String,
    /// A character that something may still combine with.
    held: String,
    clusters: Clusters,
    modes: Modes,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    EscapeIntermediate,
    Csi,
    /// A string that ends with ST; with BEL as well if so.
    Text {
        bell: bool,
    },
}

impl Scanner {
    /// Takes text from the process, and gives the model's.
    pub(super) fn take(&mut self, text: &str, out: &mut String) {
        for char in text.chars() {
            if self.state == State::Ground && is_printable(char) {
                self.print(char, out);
            } else {
                self.flush(out);
                self.follow(char);
                self.keep(char);
                out.push(char);
            }
        }
    }

    /// Gives what was held back.
    pub(super) fn flush(&mut self, out: &mut String) {
        if !self.held.is_empty() {
            out.push(self.clusters.code(&self.held));
            self.held.clear();
        }
    }

    /// The model's text as the process meant it.
    pub(super) fn restore(&self, text: &str) -> String {
        self.clusters.restore(text)
    }

    /// What the model has not got yet, or only the beginning of: it follows what the model shows.
    pub(super) fn unfinished(&self) -> &str {
        match self.state {
            State::Ground => &self.held,
            _ => &self.sequence,
        }
    }

    pub(super) fn is_in_sequence(&self) -> bool {
        self.state != State::Ground
    }

    pub(super) fn modes(&self) -> &Modes {
        &self.modes
    }

    fn print(&mut self, char: char, out: &mut String) {
        if char.width() == Some(0) {
            // Without a character before, there is nothing to combine with.
            let fits = self.held.len() + char.len_utf8() <= LONGEST_CLUSTER;
            if !self.held.is_empty() && fits {
                self.held.push(char);
            }
            return;
        }
        self.flush(out);
        self.held.push(char);
    }

    fn follow(&mut self, char: char) {
        self.state = match (self.state, char) {
            (_, '\x18' | '\x1a') => State::Ground,
            (_, '\x1b') => State::Escape,
            (_, '\u{9b}') => self.begin(),
            (_, '\u{9d}') => State::Text { bell: true },
            (_, '\u{90}' | '\u{98}' | '\u{9e}' | '\u{9f}') => State::Text { bell: false },
            (_, '\u{80}'..='\u{9c}') => State::Ground,
            (State::Text { bell: true }, '\x07') => State::Ground,
            (State::Ground | State::Text { .. }, _) | (_, '\0'..='\x1f' | '\x7f') => self.state,
            (State::Escape, '[') => self.begin(),
            (State::Escape, ']') => State::Text { bell: true },
            (State::Escape, 'P' | 'X' | '^' | '_') => State::Text { bell: false },
            (State::Escape | State::EscapeIntermediate, ' '..='/') => State::EscapeIntermediate,
            (State::Escape, last) => {
                match last {
                    'c' => self.modes = Modes::default(),
                    '=' => self.modes.set_keypad(true),
                    '>' => self.modes.set_keypad(false),
                    _ => {}
                }
                State::Ground
            }
            (State::Csi, ' '..='?') => {
                if self.parameters.len() < LONGEST_PARAMETERS {
                    self.parameters.push(char);
                }
                State::Csi
            }
            (State::Csi, last) => {
                self.control(last);
                State::Ground
            }
            (State::EscapeIntermediate, _) => State::Ground,
        };
    }

    fn keep(&mut self, char: char) {
        if self.state == State::Ground || matches!(char, '\x1b' | '\u{80}'..='\u{9f}') {
            self.sequence.clear();
        }
        if self.state != State::Ground && self.sequence.len() < LONGEST_SEQUENCE {
            self.sequence.push(char);
        }
    }

    fn begin(&mut self) -> State {
        self.parameters.clear();
        State::Csi
    }

    fn control(&mut self, last: char) {
        let parameters = self.parameters.as_str();
        if let ('h' | 'l', Some(list)) = (last, parameters.strip_prefix('?')) {
            for mode in list.split(';').filter_map(|mode| mode.parse().ok()) {
                self.modes.change(mode, last == 'h');
            }
        } else if let ('q', Some(shape)) = (last, parameters.strip_suffix(' ')) {
            self.modes.set_cursor(shape.parse().unwrap_or(0));
        } else if (last, parameters) == ('p', "!") {
            self.modes.soft_reset();
        }
    }
}

fn is_printable(char: char) -> bool {
    matches!(char, ' '..='~' | '\u{a0}'..)
}

/// Bytes of a character with what combines with it.
const LONGEST_CLUSTER: usize = 64;
const LONGEST_PARAMETERS: usize = 64;
const LONGEST_SEQUENCE: usize = 4096;
