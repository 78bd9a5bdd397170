//! The terminal at this side.

use std::io::{self, stdin, stdout};

use longshore::core::TerminalSize;
use rustix::{
    process::getpgrp,
    termios::{
        LocalModes, OptionalActions, OutputModes, QueueSelector, Termios, tcflush, tcgetattr,
        tcgetpgrp, tcgetwinsize, tcsetattr,
    },
};

use crate::Failure;

/// The size of what output is shown at.
pub fn size() -> TerminalSize {
    tcgetwinsize(stdout())
        .map(|size| TerminalSize::new(size.ws_col, size.ws_row))
        .unwrap_or_default()
}

/// Whether we may read the terminal that is our input: one in the background that does is stopped. Of
/// one that no shell shares out everybody may.
pub fn is_ours_to_read() -> bool {
    let front = tcgetpgrp(stdin());
    front.map_or(true, |front| front == getpgrp())
}

/// The terminal in raw mode until dropped, also by a panic.
pub struct RawTerminal {
    saved: Termios,
    raw: Termios,
}

impl RawTerminal {
    pub fn enter() -> Result<Self, Failure> {
        let saved = tcgetattr(stdin()).map_err(io::Error::from)?;
        let mut raw = saved.clone();
        raw.make_raw();
        let terminal = Self { saved, raw };
        terminal.resume().map_err(io::Error::from)?;
        Ok(terminal)
    }

    /// As it was before, for as long as somebody else has the terminal. Not waiting for output to be
    /// shown: a terminal that is stopped must not keep the program.
    pub fn suspend(&self) -> rustix::io::Result<()> {
        tcsetattr(stdin(), OptionalActions::Now, &self.saved)
    }

    pub fn resume(&self) -> rustix::io::Result<()> {
        tcsetattr(stdin(), OptionalActions::Now, &self.raw)
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = self.suspend();
    }
}

/// The terminal showing what it is given as it is, and nothing of what is typed, until this is dropped; what
/// was typed is forgotten then. Ctrl-C is a signal as ever.
pub struct QuietTerminal {
    saved: Termios,
}

impl QuietTerminal {
    pub fn enter() -> Result<Self, Failure> {
        let saved = tcgetattr(stdin()).map_err(io::Error::from)?;
        let mut quiet = saved.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
        quiet.output_modes -= OutputModes::OPOST;
        tcsetattr(stdin(), OptionalActions::Now, &quiet).map_err(io::Error::from)?;
        Ok(Self { saved })
    }
}

impl Drop for QuietTerminal {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = tcflush(stdin(), QueueSelector::IFlush);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.saved);
    }
}
