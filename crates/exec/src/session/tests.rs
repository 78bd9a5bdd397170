//! The machine by itself, and the hub over scripted programs.

mod hub;
mod machine;
mod property;
mod rights;
mod snapshot;
mod user;
