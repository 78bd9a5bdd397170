use std::{collections::VecDeque, mem};

use bytes::Bytes;

use super::{RecordEvent, plain::Plain};

/// Decides which input may be recorded: only what the terminal has shown.
///
/// No engine says whether a terminal's ECHO is on, and a line editor turns it off to echo by
/// itself. So the output is the witness. A line of input is given out for the record when each of
/// its characters came back, in order and before anything else; or, if other output came between,
/// when a line of at least [`DISTINCT`] characters that was typed without editing appears as a
/// whole soon afterwards. All other lines (passwords above all) leave only the mark that something
/// was typed: not its length, not its time per key. So the record of input never holds text that
/// the record of output does not hold.
///
/// Escape sequences (arrow keys) are never recorded.
#[derive(Debug, Default)]
pub(super) struct EchoWitness {
    keys: Plain,
    screen: Plain,
    /// The line that is being typed.
    line: Line,
    /// Lines that were ended and are not decided, oldest first.
    ended: VecDeque<Line>,
    expected: VecDeque<Expected>,
    /// What was shown since the line began, the newest.
    shown: VecDeque<u8>,
    /// The line end that was just echoed may have a second byte.
    behind_end: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Byte(u8),
    /// The end of the oldest undecided line.
    End,
}

#[derive(Debug, Default)]
struct Line {
    bytes: Vec<u8>,
    /// Its characters without control characters.
    text: Vec<u8>,
    fate: Fate,
    edited: bool,
    search: Option<Search>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Fate {
    #[default]
    Open,
    /// Something else came before its echo.
    Doubtful,
    Shown,
    Hidden,
}

impl EchoWitness {
    /// Input that goes to the process.
    pub(super) fn typed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let Some(byte) = self.keys.push(byte) else {
                // An arrow key may move into the line, a paste's mark does not; both are editing.
                self.line.edited = true;
                continue;
            };
            if self.line.bytes.len() < LONGEST_LINE {
                self.line.bytes.push(byte);
            } else {
                self.line.fate = Fate::Hidden;
            }
            match byte {
                b'\r' | b'\n' | 0x03 | 0x04 => self.end_line(),
                0..b' ' | 0x7f => self.line.edited = true,
                _ => {
                    if self.line.text.len() < LONGEST_LINE {
                        self.line.text.push(byte);
                    }
                    if self.line.fate == Fate::Open {
                        self.expected.push_back(Expected::Byte(byte));
                    }
                }
            }
        }
    }

    /// Output that was shown; gives what it decides.
    pub(super) fn shown(&mut self, bytes: &[u8]) -> Vec<RecordEvent> {
        if self.line.bytes.is_empty() && self.ended.is_empty() {
            // Still follow sequences that began and have not ended.
            for &byte in bytes {
                self.screen.push(byte);
            }
            return Vec::new();
        }
        for &byte in bytes {
            if let Some(byte) = self.screen.push(byte) {
                self.see(byte);
            }
        }
        self.decided(MOST_LATER)
    }

    /// No more output comes: what was not decided was not shown.
    pub(super) fn finish(&mut self) -> Vec<RecordEvent> {
        if !self.line.bytes.is_empty() {
            let mut last = mem::take(&mut self.line);
            let waits = self
                .expected
                .iter()
                .any(|expected| *expected != Expected::End);
            last.fate = match last.fate {
                Fate::Open if !waits && self.ended.is_empty() => Fate::Shown,
                _ => Fate::Hidden,
            };
            self.ended.push_back(last);
        }
        self.expected.clear();
        self.decided(0)
    }

    fn end_line(&mut self) {
        let mut line = mem::take(&mut self.line);
        if self.ended.len() == MOST_ENDED {
            self.give_up();
        }
        if line.fate == Fate::Open {
            self.expected.push_back(Expected::End);
        }
        let is_searched = (DISTINCT..=LONGEST_SEARCH).contains(&line.text.len());
        if is_searched && !line.edited && line.fate != Fate::Hidden {
            let mut search = Search::new(&line.text);
            self.shown
                .iter()
                .for_each(|&byte| search.push(&line.text, byte));
            line.search = Some(search);
        }
        line.settle();
        self.ended.push_back(line);
        self.shown.clear();
    }

    /// Nothing is shown for long: neither these lines nor the many behind them are decided one by
    /// one.
    fn give_up(&mut self) {
        self.expected.clear();
        self.ended.truncate(1);
        for line in &mut self.ended {
            *line = Line {
                fate: Fate::Hidden,
                ..Line::default()
            };
        }
    }

    fn see(&mut self, byte: u8) {
        let is_end = matches!(byte, b'\r' | b'\n');
        if mem::take(&mut self.behind_end) && byte == b'\n' {
            return;
        }
        if matches!(byte, 0x07 | 0x08) {
            return;
        }
        if !is_end {
            if self.shown.len() == RECENT {
                self.shown.pop_front();
            }
            self.shown.push_back(byte);
            for line in &mut self.ended {
                if let Some(search) = &mut line.search {
                    search.push(&line.text, byte);
                }
                line.settle();
            }
        }
        match self.expected.front() {
            None => {}
            Some(Expected::Byte(expected)) if *expected == byte => {
                self.expected.pop_front();
            }
            Some(Expected::Byte(_)) => self.doubt(),
            Some(Expected::End) => {
                self.expected.pop_front();
                if let Some(line) = self.open_line() {
                    line.fate = Fate::Shown;
                }
                self.behind_end = byte == b'\r';
                if !is_end {
                    // It is the echo of what follows, or other output.
                    self.see_again(byte);
                }
            }
        }
    }

    fn see_again(&mut self, byte: u8) {
        match self.expected.front() {
            Some(Expected::Byte(expected)) if *expected == byte => {
                self.expected.pop_front();
            }
            Some(_) => self.doubt(),
            None => {}
        }
    }

    /// The oldest line whose echo is awaited has not come back as it was typed.
    fn doubt(&mut self) {
        while let Some(expected) = self.expected.pop_front() {
            if expected == Expected::End {
                break;
            }
        }
        if let Some(line) = self.open_line() {
            line.fate = Fate::Doubtful;
            line.settle();
        }
    }

    fn open_line(&mut self) -> Option<&mut Line> {
        let ended = self.ended.iter_mut().find(|line| line.fate == Fate::Open);
        ended.or_else(|| Some(&mut self.line).filter(|line| line.fate == Fate::Open))
    }

    /// Gives out the decided lines at the front; no more than `most` may stay undecided.
    fn decided(&mut self, most: usize) -> Vec<RecordEvent> {
        let mut events = Vec::new();
        while let Some(line) = self.ended.front() {
            match line.fate {
                Fate::Open | Fate::Doubtful if self.ended.len() <= most => break,
                _ => {}
            }
            let Some(line) = self.ended.pop_front() else {
                break;
            };
            if line.fate == Fate::Open {
                // Its echo is awaited no more.
                while let Some(expected) = self.expected.pop_front() {
                    if expected == Expected::End {
                        break;
                    }
                }
            }
            events.push(match line.fate {
                Fate::Shown => RecordEvent::Input(Bytes::from(line.bytes)),
                _ => RecordEvent::InputHidden,
            });
        }
        events
    }
}

impl Line {
    /// What the search has found out.
    fn settle(&mut self) {
        if self.fate == Fate::Doubtful {
            self.fate = match &self.search {
                Some(search) if search.found => Fate::Shown,
                Some(search) if search.left > 0 => Fate::Doubtful,
                _ => Fate::Hidden,
            };
        }
    }
}

/// Looks for a text in a stream (Knuth, Morris and Pratt).
#[derive(Debug)]
struct Search {
    fallback: Vec<usize>,
    matched: usize,
    /// How many more bytes are looked at.
    left: usize,
    found: bool,
}

impl Search {
    fn new(text: &[u8]) -> Self {
        let mut fallback = vec![0; text.len()];
        let mut matched = 0;
        for at in 1..text.len() {
            while matched > 0 && text[at] != text[matched] {
                matched = fallback[matched - 1];
            }
            matched += usize::from(text[at] == text[matched]);
            fallback[at] = matched;
        }
        Self {
            fallback,
            matched: 0,
            left: RECENT + text.len(),
            found: false,
        }
    }

    fn push(&mut self, text: &[u8], byte: u8) {
        if self.found || self.left == 0 {
            return;
        }
        self.left -= 1;
        while self.matched > 0 && text[self.matched] != byte {
            self.matched = self.fallback[self.matched - 1];
        }
        self.matched += usize::from(text[self.matched] == byte);
        self.found = self.matched == text.len();
    }
}

const LONGEST_LINE: usize = 16 << 10;
const RECENT: usize = 4 << 10;
/// Shorter texts may appear by chance.
const DISTINCT: usize = 8;
const LONGEST_SEARCH: usize = 1 << 10;
/// How many lines may be undecided while output comes.
const MOST_LATER: usize = 8;
/// How many lines are remembered while none comes.
const MOST_ENDED: usize = 16;

#[cfg(test)]
mod tests;
