//! The screen of a session: what its terminal shows, by the terminal model of the `avt` crate.
//!
//! Memory: about 30 bytes for each column of each line that is kept, so a session of 80 columns with
//! the default scrollback takes about a megabyte. Hence a hub keeps no screens unless
//! [`SessionHub::with_screens`](crate::session::SessionHub::with_screens) is called.
//!
//! Known limits: a window that is narrowed and widened again is reflowed by the model's rules, not by the
//! client's; characters newer than the client's Unicode tables may have another width there.

mod cluster;
mod modes;
mod pen;
mod scanner;
#[cfg(test)]
mod tests;
mod trim;

use std::fmt;

use avt::Terminal;
use bytes::Bytes;
use longshore_core::TerminalSize;

use self::{pen::sgr, scanner::Scanner};
use crate::session::{Screen, Screens};

/// Makes screens with a bounded scrollback.
#[derive(Clone, Copy, Debug)]
pub struct TerminalScreens {
    scrollback: usize,
}

impl Default for TerminalScreens {
    fn default() -> Self {
        Self { scrollback: 500 }
    }
}

impl TerminalScreens {
    /// With 500 lines of scrollback.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many lines of scrollback are kept, at most 10,000.
    #[must_use]
    pub fn with_scrollback(mut self, lines: usize) -> Self {
        self.scrollback = lines.min(10_000);
        self
    }
}

impl Screens for TerminalScreens {
    fn screen(&self, size: TerminalSize) -> Box<dyn Screen> {
        Box::new(TerminalScreen::new(size, self.scrollback))
    }
}

/// A terminal without a window.
struct TerminalScreen {
    terminal: Terminal,
    scanner: Scanner,
    /// The beginning of a character.
    partial: Vec<u8>,
}

impl TerminalScreen {
    fn new(size: TerminalSize, scrollback: usize) -> Self {
        let (columns, rows) = bounded(size);
        let terminal = Terminal::with_scrollback(columns, rows, Some(scrollback));
        Self {
            // Both are at least 1.
            terminal: terminal.unwrap_or_else(|_| unreachable!("the size is bounded")),
            scanner: Scanner::default(),
            partial: Vec::new(),
        }
    }

    /// The lines above the screen, as much of the newest as is worth sending; behind them the lines
    /// of the screen, which push them up. That the model draws these again, in place, is what keeps
    /// lines together that were wrapped across the edge.
    fn scrollback(&self) -> String {
        let (_, rows) = self.terminal.size();
        let lines: Vec<_> = self.terminal.primary_screen().all_lines().collect();
        if lines.len() <= rows {
            return String::new();
        }
        let above = lines.len() - rows;
        let mut drawn = Vec::new();
        let mut bytes = 0;
        for (place, line) in lines.iter().enumerate().rev() {
            let goes_on = place
                .checked_sub(1)
                .is_some_and(|before| lines[before].is_wrapped());
            let text = draw(line, goes_on);
            bytes += text.len();
            if place < above && bytes > MOST_SCROLLBACK {
                break;
            }
            drawn.push(text);
        }
        let mut text: String = drawn.into_iter().rev().collect();
        // Not beyond the last line.
        if text.ends_with("\r\n") {
            text.truncate(text.len() - 2);
        }
        text.push_str("\x1b[H");
        text
    }
}

impl fmt::Debug for TerminalScreen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TerminalScreen")
            .field("size", &self.terminal.size())
            .finish_non_exhaustive()
    }
}

impl Screen for TerminalScreen {
    fn output(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let mut text = String::with_capacity(self.partial.len());
        let mut rest = &self.partial[..];
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    self.scanner.take(valid, &mut text);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    self.scanner
                        .take(std::str::from_utf8(valid).unwrap_or_default(), &mut text);
                    rest = after;
                    match error.error_len() {
                        // As xterm.js does: what is no character is nothing.
                        Some(invalid) => rest = &rest[invalid..],
                        None => break,
                    }
                }
            }
        }
        self.partial = rest.to_vec();
        self.terminal.feed(text.as_str());
    }

    fn resize(&mut self, size: TerminalSize) {
        let mut text = String::new();
        self.scanner.flush(&mut text);
        self.terminal.feed(text.as_str());
        let (columns, rows) = bounded(size);
        self.terminal.resize(columns, rows);
    }

    fn redraw(&mut self) -> Bytes {
        let (columns, rows) = self.terminal.size();
        let unfinished = self.scanner.unfinished().to_owned();
        let in_sequence = self.scanner.is_in_sequence();
        if in_sequence {
            // The model dumps an unfinished sequence in a way that not every terminal knows.
            self.terminal.feed(CANCEL);
        }
        // RIS, then XTWINOPS 8: terminals that don't let programs set their size ignore it.
        let mut drawn = format!("\x1bc\x1b[8;{rows};{columns}t");
        self.scanner.modes().write(&mut drawn);
        drawn.push_str(&self.scrollback());
        let primary = self.terminal.primary_screen().visible_lines();
        let active = self.terminal.screen().visible_lines();
        drawn.push_str(&trim::trim(&self.terminal.dump(), primary, active));
        // The model's dump sets tab stops by CTC, which few terminals know.
        let drawn = drawn
            .replace("\x1b[5W", "\x1b[3g")
            .replace("\x1b[W", "\x1bH")
            .replace("\x1b[0W", "\x1bH");
        let mut bytes = self.scanner.restore(&drawn).into_bytes();
        bytes.extend_from_slice(unfinished.as_bytes());
        if in_sequence {
            self.terminal.feed(unfinished.as_str());
        }
        bytes.extend_from_slice(&self.partial);
        bytes.into()
    }
}

/// A line with its colours, and its end unless the next goes on with it. One that goes on with the
/// line before is not empty, or there would be no wrap.
fn draw(line: &avt::Line, goes_on: bool) -> String {
    let cells = line.cells();
    let is_blank =
        |cell: &&avt::Cell| cell.char() == ' ' && cell.width() == 1 && cell.pen().is_default();
    let blanks = cells.iter().rev().take_while(is_blank).count();
    let shown = match line.is_wrapped() {
        true => cells,
        false => &cells[..(cells.len() - blanks).max(usize::from(goes_on))],
    };
    let mut text = String::new();
    let mut pen = avt::Pen::default();
    for cell in shown.iter().filter(|cell| cell.width() > 0) {
        if *cell.pen() != pen {
            pen = *cell.pen();
            sgr(&pen, &mut text);
        }
        text.push(cell.char());
    }
    if !pen.is_default() {
        text.push_str("\x1b[m");
    }
    if !line.is_wrapped() {
        if goes_on && blanks > 0 {
            // It may have been scrolled in with the colour of its first character.
            text.push_str("\x1b[K");
        }
        text.push_str("\r\n");
    }
    text
}

fn bounded(size: TerminalSize) -> (usize, usize) {
    (
        usize::from(size.columns).clamp(1, MOST_COLUMNS),
        usize::from(size.rows).clamp(1, MOST_ROWS),
    )
}

/// CAN ends a sequence.
const CANCEL: &str = "\x18";
/// A client may say any size; nobody reads more.
const MOST_COLUMNS: usize = 512;
const MOST_ROWS: usize = 256;
/// Bytes of scrollback and screen in a redraw, beyond which scrollback is left out.
const MOST_SCROLLBACK: usize = 256 << 10;
