//! The canonical form of a session's record: what happened, byte for byte, each event with its time
//! and bound to all before it.
//!
//! ```text
//! file   = "LONGSHORE RECORD 2\n" length:u8 session record*
//! record = length:u32 kind:u8 at:u64 body hash:32 bytes
//! hash   = BLAKE3(hash before, record up to its content, BLAKE3(content))
//! ```
//!
//! Integers are big-endian. `length` counts the body, `at` is in microseconds since 1970. The content
//! is the body, or the bytes of output without their offset. The hash before the first record is
//! BLAKE3 of what stands before it. BLAKE3 is the plain hash of 32 bytes.
//!
//! | kind | body |
//! | --- | --- |
//! | 1 opened | JSON [`SessionAbout`](crate::session::SessionAbout) |
//! | 2 output, 3 error output | u64 offset, bytes |
//! | 4 input | bytes |
//! | 5 hidden input, 8 full, 10 interrupted | nothing |
//! | 6 size | u16 columns, u16 rows |
//! | 7 rule met | JSON [`RuleHit`](crate::session::RuleHit) |
//! | 9 ended | JSON [`SessionEnd`](crate::session::SessionEnd) |
//!
//! Version 1 (`LONGSHORE RECORD 1`) is the same but for its hash: SHA-256 over the hash before and the
//! record up to its hash, SHA-256 of the file's head for the first. Such logs are read and checked,
//! and one that was left unfinished is finished in its own version; none is begun.
//!
//! The chain shows that a record was changed, removed or moved. It can't show by itself that its
//! end was cut off or that all of it was written anew: keep the [`Head`] elsewhere. The stores keep
//! it in their index, and [`Announced`](super::Announced) puts it into the audit log.

mod decode;
mod encode;
mod form;
mod pieces;

use std::fmt;

use longshore_core::{SessionId, Timestamp};

use self::form::Form;
pub(super) use self::pieces::Pieces;
pub use self::{decode::LogDecoder, encode::LogEncoder};
use crate::session::RecordEvent;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its number, from 0 without gaps.
    pub sequence: u64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub event: RecordEvent,
}

/// The end of a log: how many records there are, and the hash that stands for all of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Records so far.
    pub records: u64,
    form: Form,
    hash: [u8; HASH],
}

impl Head {
    /// What a file begins with.
    fn of(session: &SessionId, form: Form) -> (Vec<u8>, Self) {
        let name = session.as_ref().as_bytes();
        let mut bytes = form.magic().to_vec();
        // An id is at most 128 bytes long.
        bytes.push(name.len() as u8);
        bytes.extend_from_slice(name);
        let head = Self {
            records: 0,
            form,
            hash: form.begin(&bytes),
        };
        (bytes, head)
    }

    /// The head behind one more record: what stands before its content, and that.
    fn then(&self, lead: &[u8], content: &[u8]) -> Self {
        Self {
            records: self.records + 1,
            form: self.form,
            hash: self.form.next(&self.hash, lead, content),
        }
    }

    /// The hash, lower-case hexadecimal.
    pub fn hash(&self) -> String {
        let digits = self.hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits
            .map(|digit| char::from(DIGITS[usize::from(digit)]))
            .collect()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Head({}, {})", self.records, self.hash())
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
/// Length, kind and time.
const FRONT: usize = 4 + 1 + 8;
/// Before the bytes of output.
const OFFSET: usize = 8;
const HASH: usize = 32;
/// The longest body; longer output is split.
const LONGEST: usize = 256 << 10;

const OPENED: u8 = 1;
const OUTPUT: u8 = 2;
const ERROR_OUTPUT: u8 = 3;
const INPUT: u8 = 4;
const INPUT_HIDDEN: u8 = 5;
const RESIZE: u8 = 6;
const HIT: u8 = 7;
const FULL: u8 = 8;
const ENDED: u8 = 9;
const INTERRUPTED: u8 = 10;

#[cfg(test)]
mod tests;
