//! A virtual process: a script that is being played. Pure: told the time, it says what came out.

use std::collections::VecDeque;

use bytes::Bytes;
use longshore_core::{ExitStatus, OutputKind, Signal, TerminalSize, Timestamp};

use super::script::{Print, Script, SimInput};

/// One run of a script.
#[derive(Debug)]
pub(super) struct SimProcess {
    script: Script,
    began: Timestamp,
    on_terminal: bool,
    size: TerminalSize,
    /// What is still to be printed.
    prints: VecDeque<Print>,
    /// How many bytes of input came.
    received: usize,
    /// What came out and was not taken yet.
    out: VecDeque<(Timestamp, OutputKind, Bytes)>,
    exit: Option<(Timestamp, ExitStatus)>,
}

impl SimProcess {
    pub(super) fn begin(
        mut script: Script,
        env: &[String],
        terminal: Option<TerminalSize>,
        has_input: bool,
        now: Timestamp,
    ) -> Self {
        let mut process = Self {
            prints: std::mem::take(&mut script.prints).into(),
            script,
            began: now,
            on_terminal: terminal.is_some(),
            size: terminal.unwrap_or_default(),
            received: 0,
            out: VecDeque::new(),
            exit: None,
        };
        if let Some(name) = &process.script.print_env {
            let value = env
                .iter()
                .rev()
                .find_map(|pair| pair.strip_prefix(name.as_str())?.strip_prefix('='));
            let bytes = Bytes::copy_from_slice(value.unwrap_or_default().as_bytes());
            process.print(now, OutputKind::Stdout, bytes);
        }
        if matches!(
            process.script.input,
            SimInput::CopyRaw(_) | SimInput::TerminalSize
        ) {
            process.print(now, OutputKind::Stdout, Bytes::from_static(b"R"));
        }
        if !has_input {
            process.end_input(now);
        }
        process.tick(now);
        process
    }

    /// Plays the script up to now.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let end = self
            .script
            .end
            .map(|(after, code)| (self.began.after(after), code));
        while self.exit.is_none() {
            let print_at = self
                .prints
                .front()
                .map(|print| self.began.after(print.after));
            match (print_at, end) {
                // What is printed at the moment of the end is printed first.
                (Some(at), end) if at <= now && end.is_none_or(|(end, _)| at <= end) => {
                    if let Some(print) = self.prints.pop_front() {
                        self.print(at, print.kind, print.bytes.into());
                    }
                }
                (_, Some((at, code))) if at <= now => {
                    self.exit = Some((at, ExitStatus::exited(i64::from(code))));
                }
                _ => break,
            }
        }
    }

    /// When something will happen by itself.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        if self.exit.is_some() {
            return None;
        }
        let print = self.prints.front().map(|print| print.after);
        let end = self.script.end.map(|(after, _)| after);
        let next = match (print, end) {
            (Some(print), Some(end)) => print.min(end),
            (print, end) => print.or(end)?,
        };
        Some(self.began.after(next))
    }

    pub(super) fn input(&mut self, bytes: &[u8], now: Timestamp) {
        if self.exit.is_some() {
            return;
        }
        match self.script.input {
            SimInput::Ignore => {}
            SimInput::Count => self.received += bytes.len(),
            SimInput::Copy => {
                self.print(now, OutputKind::Stdout, Bytes::copy_from_slice(bytes));
            }
            SimInput::CopyRaw(count) => {
                let wanted = bytes.len().min(count - self.received);
                self.received += wanted;
                let bytes = Bytes::copy_from_slice(&bytes[..wanted]);
                self.print(now, OutputKind::Stdout, bytes);
                if self.received == count {
                    self.end(now, ExitStatus::exited(0));
                }
            }
            SimInput::TerminalSize if bytes.contains(&b'\n') => {
                let text = format!("{} {}\r\n", self.size.rows, self.size.columns);
                self.print(now, OutputKind::Stdout, text.into());
                self.end(now, ExitStatus::exited(0));
            }
            SimInput::TerminalSize => {}
        }
    }

    pub(super) fn end_input(&mut self, now: Timestamp) {
        match self.script.input {
            SimInput::Ignore => {}
            SimInput::Count => {
                let text = format!("{}\n", self.received);
                self.print(now, OutputKind::Stdout, text.into());
                self.end(now, ExitStatus::exited(0));
            }
            _ => self.end(now, ExitStatus::exited(0)),
        }
    }

    pub(super) fn resize(&mut self, size: TerminalSize) {
        self.size = size;
    }

    pub(super) fn signal(&mut self, signal: Signal, now: Timestamp) {
        let harmless = matches!(signal.number(), 17 | 18 | 23 | 28);
        let deaf = harmless || self.script.ignores.contains(&signal);
        if deaf && signal != Signal::KILL {
            return;
        }
        let own = |(known, code): &(Signal, u8)| (*known == signal).then_some(*code);
        let answer = self.script.answers.iter().find_map(own);
        let status = match answer {
            Some(code) if signal != Signal::KILL => ExitStatus::exited(i64::from(code)),
            _ => ExitStatus::signaled(signal),
        };
        self.end(now, status);
    }

    /// The next output that came out.
    pub(super) fn next_output(&mut self) -> Option<(Timestamp, OutputKind, Bytes)> {
        self.out.pop_front()
    }

    /// How many bytes nobody has taken yet.
    pub(super) fn waiting(&self) -> usize {
        self.out.iter().map(|(_, _, bytes)| bytes.len()).sum()
    }

    /// When and how it ended.
    pub(super) fn exit(&self) -> Option<&(Timestamp, ExitStatus)> {
        self.exit.as_ref()
    }

    fn end(&mut self, now: Timestamp, status: ExitStatus) {
        self.exit.get_or_insert((now, status));
    }

    fn print(&mut self, at: Timestamp, kind: OutputKind, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let kind = if self.on_terminal {
            OutputKind::Stdout
        } else {
            kind
        };
        self.out.push_back((at, kind, bytes));
    }
}
