//! What a virtual process does.

use std::time::Duration;

use longshore_core::{Error, OutputKind, Result, Signal};
use serde::{Deserialize, Serialize};

/// The behaviour of a virtual workload or of a command in one: what it prints and when, how it
/// treats input and signals, and how it ends.
///
/// A script travels as a command: [`to_command`](Self::to_command) gives `["sim", "<JSON>"]`.
///
/// ```
/// use std::time::Duration;
/// use longshore_engine::Script;
///
/// let crashing = Script::new()
///     .print(Duration::ZERO, "starting\n")
///     .exit(Duration::from_secs(3), 1);
/// assert_eq!(Script::parse(&crashing.to_command()).unwrap(), Some(crashing));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Script {
    /// What it prints, in order of time.
    pub prints: Vec<Print>,
    /// After how long it ends by itself, and with which code; `None`: it runs on.
    pub end: Option<(Duration, u8)>,
    /// Signals without effect on it. KILL can't be among them.
    pub ignores: Vec<Signal>,
    /// Signals that end it with a code of its own.
    pub answers: Vec<(Signal, u8)>,
    /// What it does with its input.
    pub input: SimInput,
    /// The environment variable whose value it prints at its start.
    pub print_env: Option<String>,
}

/// Output of a virtual process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(clippy::exhaustive_structs, reason = "complete by definition")]
pub struct Print {
    /// How long after its start.
    pub after: Duration,
    /// To which output; on a terminal everything is standard output.
    pub kind: OutputKind,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What a virtual process does with its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum SimInput {
    /// Nothing.
    #[default]
    Ignore,
    /// Prints it; ends with code 0 at the end of the input.
    Copy,
    /// At the end of the input, prints how many bytes it was and ends with code 0.
    Count,
    /// Prints `R`, then so many bytes of its input, and ends with code 0.
    CopyRaw(usize),
    /// Prints `R`, and at a newline the size of its terminal; ends with code 0.
    TerminalSize,
}

impl Script {
    /// Runs for ever, says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prints to standard output after this time.
    #[must_use]
    pub fn print(mut self, after: Duration, bytes: impl Into<Vec<u8>>) -> Self {
        self.prints.push(Print {
            after,
            kind: OutputKind::Stdout,
            bytes: bytes.into(),
        });
        self
    }

    /// Prints to standard error after this time.
    #[must_use]
    pub fn print_error(mut self, after: Duration, bytes: impl Into<Vec<u8>>) -> Self {
        self.prints.push(Print {
            after,
            kind: OutputKind::Stderr,
            bytes: bytes.into(),
        });
        self
    }

    /// Ends after this time with this code.
    #[must_use]
    pub fn exit(mut self, after: Duration, code: u8) -> Self {
        self.end = Some((after, code));
        self
    }

    /// Is deaf to a signal.
    #[must_use]
    pub fn ignore(mut self, signal: Signal) -> Self {
        self.ignores.push(signal);
        self
    }

    /// Ends with this code at a signal.
    #[must_use]
    pub fn answer(mut self, signal: Signal, code: u8) -> Self {
        self.answers.push((signal, code));
        self
    }

    /// Sets what it does with its input.
    #[must_use]
    pub fn input(mut self, input: SimInput) -> Self {
        self.input = input;
        self
    }

    /// As a command.
    pub fn to_command(&self) -> Vec<String> {
        // Plain data always serialises.
        let json = serde_json::to_string(self).unwrap_or_default();
        vec!["sim".to_owned(), json]
    }

    /// From a command: a script, or one of a few everyday programs (`true`, `false`, `echo`,
    /// `sleep`, `cat`). `None` for a program that the simulation does not know.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) when what stands
    /// behind `sim` is no script.
    pub fn parse(command: &[String]) -> Result<Option<Self>> {
        let Some((program, arguments)) = command.split_first() else {
            return Ok(None);
        };
        let at_once = Duration::ZERO;
        Ok(Some(match (program.as_str(), arguments) {
            ("sim", [json]) => serde_json::from_str(json).map_err(|error| {
                Error::invalid("invalid script for the simulation").with_source(error)
            })?,
            ("true", _) => Self::new().exit(at_once, 0),
            ("false", _) => Self::new().exit(at_once, 1),
            ("cat", []) => Self::new().input(SimInput::Copy),
            ("echo", words) => {
                let line = format!("{}\n", words.join(" "));
                Self::new().print(at_once, line).exit(at_once, 0)
            }
            ("sleep", [time]) => match time.parse() {
                Ok(seconds) => match Duration::try_from_secs_f64(seconds) {
                    Ok(time) => Self::new().exit(time, 0),
                    Err(_) => Self::new(),
                },
                Err(_) => Self::new(),
            },
            _ => return Ok(None),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Option<Script> {
        let command: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        Script::parse(&command).unwrap()
    }

    #[test]
    fn everyday_programs_are_known() {
        let ended = |seconds, code| Script::new().exit(Duration::from_secs_f64(seconds), code);
        assert_eq!(parse(&["sleep", "1.5"]), Some(ended(1.5, 0)));
        assert_eq!(parse(&["sleep", "infinity"]), Some(Script::new()));
        assert_eq!(parse(&["false"]), Some(ended(0.0, 1)));
        assert_eq!(parse(&["nginx", "-g", "daemon off;"]), None);
        assert_eq!(parse(&[]), None);
    }

    #[test]
    fn a_broken_script_is_refused() {
        let command = ["sim", "{"].map(str::to_owned);
        let error = Script::parse(&command).unwrap_err();
        assert_eq!(error.kind(), longshore_core::ErrorKind::InvalidInput);
    }
}
