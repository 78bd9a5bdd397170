use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// A Linux signal by number, printed by name (`SIGTERM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

impl Signal {
    /// Hang-up.
    pub const HUP: Self = Self(1);
    /// Interrupt, as by Ctrl-C.
    pub const INT: Self = Self(2);
    /// Quit.
    pub const QUIT: Self = Self(3);
    /// An instruction that the processor does not know.
    pub const ILL: Self = Self(4);
    /// A trap of the processor, as of a debugger.
    pub const TRAP: Self = Self(5);
    /// The program gave up by itself.
    pub const ABRT: Self = Self(6);
    /// An address that no memory answers.
    pub const BUS: Self = Self(7);
    /// A calculation without a result.
    pub const FPE: Self = Self(8);
    /// Kill; can't be caught.
    pub const KILL: Self = Self(9);
    /// First user signal.
    pub const USR1: Self = Self(10);
    /// An address that is not the program's.
    pub const SEGV: Self = Self(11);
    /// Second user signal.
    pub const USR2: Self = Self(12);
    /// Polite request to end.
    pub const TERM: Self = Self(15);
    /// Window size changed.
    pub const WINCH: Self = Self(28);
    /// A system call that there is not, or that is not allowed.
    pub const SYS: Self = Self(31);

    /// From a number.
    ///
    /// # Errors
    /// The number is not from 1 to 64.
    pub fn new(number: u8) -> crate::Result<Self> {
        if (1..=64).contains(&number) {
            Ok(Self(number))
        } else {
            Err(Error::invalid(format!(
                "invalid signal {number}: expected 1 to 64"
            )))
        }
    }

    /// The number.
    pub fn number(self) -> u8 {
        self.0
    }
}

const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.get(usize::from(self.0) - 1) {
            Some(name) => write!(f, "SIG{name}"),
            None => write!(f, "SIGRTMIN+{}", i16::from(self.0) - 34),
        }
    }
}

/// Reads `9`, `KILL`, `SIGKILL`, any case.
impl FromStr for Signal {
    type Err = Error;
    fn from_str(text: &str) -> crate::Result<Self> {
        if let Ok(number) = text.parse::<u8>() {
            return Self::new(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some(index) = NAMES.iter().position(|known| *known == name) {
            return Ok(Self(index as u8 + 1));
        }
        name.strip_prefix("RTMIN+")
            .and_then(|offset| offset.parse::<u8>().ok())
            .and_then(|offset| Self::new(offset.checked_add(34)?).ok())
            .ok_or_else(|| Error::invalid(format!("invalid signal: {text}")))
    }
}

impl TryFrom<String> for Signal {
    type Error = Error;
    fn try_from(text: String) -> crate::Result<Self> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_parse_and_print() {
        for text in ["9", "kill", "SIGKILL"] {
            assert_eq!(text.parse::<Signal>().unwrap(), Signal::KILL);
        }
        for number in 1..=64 {
            let signal = Signal::new(number).unwrap();
            if !(32..34).contains(&number) {
                assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
            }
        }
        assert!("SIGNOPE".parse::<Signal>().is_err());
        assert!("0".parse::<Signal>().is_err());
    }
}
