//! The gateway and its protocols, each by a client of its own, over scripted programs.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

mod access;
#[cfg(feature = "compression")]
mod compression;
mod continued;
mod endings;
mod history;
mod hostile;
#[cfg(feature = "jwt")]
mod jwt;
mod lain;
mod page;
mod peers;
#[path = "../suites/programs.rs"]
mod programs;
mod raw;
mod rebinding;
mod record;
mod resume;
mod scale;
mod server;
mod sign_on;
mod strangers;
mod suite;
mod told;
