//! The gateway and its protocols, each by a client of its own, over scripted programs.
#![expect(clippy::unwrap_used, reason = "tests may be blunt")]

mod access;
mod cleanup;
mod company;
#[cfg(feature = "compression")]
mod compression;
mod continued;
mod endings;
mod granting;
mod history;
mod hostile;
mod interrupt;
#[cfg(feature = "jwt")]
mod jwt;
mod lain;
mod lent;
mod live;
mod page;
mod peers;
#[path = "../suites/programs.rs"]
mod programs;
mod raw;
mod rebinding;
mod record;
mod records;
mod replay;
mod resume;
mod scale;
mod server;
mod sign_on;
mod silence;
mod slow;
mod strangers;
mod suite;
mod told;
