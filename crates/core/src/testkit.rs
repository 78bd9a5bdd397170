//! Conformance suites, one per trait, and the tools to run them.
//!
//! A suite is a module of async functions, one per rule of the trait, each named after the rule,
//! and a macro that turns them into tests of your implementation:
//!
//! ```ignore
//! use longshore_core::testkit::discovery::Harness;
//!
//! longshore_core::discovery_suite!(paused, MyHarness::new());
//! ```
//!
//! The first argument chooses the arm: `paused` runs on tokio's paused time (for implementations
//! without real I/O), `live` on real time with a multi-threaded runtime (for real servers).
//! Fakes and real implementations pass the same rules.

pub mod access;
pub mod audit;
pub mod clock;
pub mod connector;
pub mod discovery;
pub mod engine;
pub mod exec;
pub mod kv;
pub mod link;
pub mod manual_clock;
mod manual_election;
pub mod mocks;
pub mod overlay;
pub mod programs;
pub mod scheduler;
mod suite;
pub mod tunnel;

pub use manual_clock::ManualClock;
pub use manual_election::ManualElection;
