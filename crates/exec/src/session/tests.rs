//! The machine by itself, and the hub over scripted programs.

mod hub;
mod machine;
mod property;
mod snapshot;
mod user;
