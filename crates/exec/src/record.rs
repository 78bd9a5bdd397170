//! Records of sessions: a hash-chained log that keeps every byte, an index to find them by, exports
//! and imports, replay, and rules for input.
//!
//! A [`SessionHub`](crate::session::SessionHub) writes into a
//! [`Recorder`](crate::session::Recorder). [`DirectoryRecords`] keeps records on disk,
//! [`MemoryRecords`] in memory; both are a [`RecordStore`]: recorder, index and source for replay
//! in one.
//!
//! # Input
//! Output is always recorded; input only with the user's consent
//! ([`SessionOptions::with_input_recorded`](crate::session::SessionOptions::with_input_recorded)),
//! only on a terminal, and only as far as the terminal has shown it. No engine says whether a
//! terminal's ECHO is on (and shells turn it off to echo by themselves), so the output is the
//! witness: a line whose characters did not come back is recorded as "something was typed", without
//! its length. So a record of input never holds a text that the record of output does not hold.
//! This is careful rather than complete: lines that were typed ahead into a busy terminal may be
//! missing.
//!
//! Commands are [guesses](CommandGuess) from recorded lines. A line that was recalled, completed or
//! run by a script is not among them.

mod announced;
mod asciicast;
mod commands;
mod directory;
mod import;
mod ledger;
mod limits;
mod line;
pub mod log;
mod memory;
mod query;
pub mod rules;
mod store;
mod summary;
mod tape;
mod typescript;

pub use self::{
    announced::Announced,
    asciicast::{AsciicastVersion, AsciicastWriter, read_asciicast},
    commands::CommandGuess,
    directory::{DirectoryRecords, Recovered},
    import::{ImportLimits, Imported},
    limits::{RecordLimits, Retention, WhenFull},
    memory::MemoryRecords,
    query::{CommandQuery, SessionQuery},
    store::{EventStream, RecordStore, Verified, recorded_output},
    summary::{SessionStatus, SessionSummary},
    typescript::{TypescriptWriter, read_typescript},
};
