//! A Docker-compatible API over any engine.

mod attach;
mod containers;
mod create;
mod devices;
mod events;
mod exec;
mod filters;
mod hijack;
mod images;
mod inspect;
mod lifecycle;
mod listing;
mod logs;
mod lookup;
mod notes;
mod prune;
mod query;
mod reply;
mod router;
mod server;
mod shape;
mod stats;
mod system;
mod top;
mod wait;
mod words;

pub use server::EngineApi;
