use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, printable};

/// What happens to the processes of a session when the session ends: by itself, because it was
/// closed or dropped, because its program died, or because its engine was out of reach for too long.
///
/// Engines leave them all running by themselves. Tell users which of these holds, and record it. They
/// are in order: each leaves at least what the one before leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Cleanup {
    /// All of them end: those in the background, in sessions of their own, and those that ignore
    /// hang-up and termination, too. Whoever wants to leave a daemon behind takes another policy.
    #[default]
    Tree,
    /// What is in the foreground ends, and what is in the background stays.
    ///
    /// In the foreground is the command itself with its process group, and the group that has the
    /// session's terminal. All else is in the background, whatever started it: what an interactive
    /// shell was told to run with `&`, what has called setsid(2), what a daemon forked. A script's
    /// `&` is not: without job control it stays in the group of its shell.
    ///
    /// The group that has the terminal is hung up, asked to end and killed. The command's own is
    /// asked to end and killed, and not hung up where it can be helped: shells such as bash pass that
    /// on to what is in their background. A job that is stopped (`^Z`) is hung up by the kernel when
    /// its shell ends. Where the command ends by itself, nothing else is ended. What stays has neither
    /// terminal nor pipes any more: writing fails, unless its output was redirected.
    Foreground,
    /// Nothing: the command reads the end of its input, if it reads. Nobody is beside it, so it gets
    /// no signals either.
    Nothing,
}

impl Cleanup {
    /// All, from what leaves least to what leaves most.
    pub const ALL: [Self; 3] = [Self::Tree, Self::Foreground, Self::Nothing];

    /// As it is written: `tree`, `foreground` or `none`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Foreground => "foreground",
            Self::Nothing => "none",
        }
    }
}

impl fmt::Display for Cleanup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// As it is written.
impl FromStr for Cleanup {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let known = Self::ALL.into_iter().find(|one| one.as_str() == text);
        known.ok_or_else(|| {
            let text = printable(text, LONGEST_SHOWN);
            Error::invalid(format!(
                "cleanup {text:?} is not known: expected tree, foreground or none"
            ))
        })
    }
}

impl Serialize for Cleanup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Cleanup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

const LONGEST_SHOWN: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn each_is_read_as_it_is_written_and_no_other_word() {
        for one in Cleanup::ALL {
            assert_eq!(one.to_string().parse::<Cleanup>().unwrap(), one);
            let json = serde_json::to_string(&one).unwrap();
            assert_eq!(json, format!("\"{one}\""));
            assert_eq!(serde_json::from_str::<Cleanup>(&json).unwrap(), one);
        }
        for bad in ["", "Tree", "nothing", "all\u{1b}[2J"] {
            let error = bad.parse::<Cleanup>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            let text = error.to_string();
            assert!(text.contains("tree, foreground or none"), "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
        let error = serde_json::from_str::<Cleanup>("\"daemon\"").unwrap_err();
        assert!(error.to_string().contains("\"daemon\""), "{error}");
    }

    #[test]
    fn they_are_in_the_order_of_what_they_leave() {
        assert!(Cleanup::ALL.is_sorted());
        assert_eq!(Cleanup::default(), Cleanup::Tree);
    }
}
