use longshore_core::{SessionId, Timestamp, printable};
use serde::{Deserialize, Serialize};

use super::line::{Key, TypedLine};

/// What somebody seems to have told a shell: a recorded line of input, with its editing applied as
/// far as that can be known. A guess: the record of output says what really stood there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CommandGuess {
    /// Its number within the session, from 0.
    pub number: u64,
    /// In which session.
    pub session: SessionId,
    /// When the line was shown.
    pub at: Timestamp,
    /// The text: at most 1,024 bytes, control characters escaped.
    pub content: String,
}

impl CommandGuess {
    /// From a recorded line.
    pub(super) fn from_line(
        session: &SessionId,
        number: u64,
        at: Timestamp,
        line: &[u8],
    ) -> Option<Self> {
        let mut typed = TypedLine::default();
        for &byte in line {
            if typed.push(byte) == Key::End {
                break;
            }
        }
        let text = typed.text();
        let text = text.trim();
        (!text.is_empty()).then(|| Self {
            number,
            session: session.clone(),
            at,
            content: printable(text, LONGEST).into_owned(),
        })
    }
}

const LONGEST: usize = 1024;
