//! The gateway and its protocols, each by a client of its own, over scripted programs.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

#[path = "../suites/programs.rs"]
mod programs;
mod record;
mod resume;
mod server;
mod suite;
