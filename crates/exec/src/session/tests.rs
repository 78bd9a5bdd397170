//! The machine by itself, and the hub over scripted programs.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

mod hub;
mod machine;
mod property;
