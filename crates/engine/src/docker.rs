//! Docker engines.

mod client;
mod create;
mod devices;
mod engine;
mod error;
mod events;
mod id;
mod images;
mod info;
mod inspect;
mod lines;
mod list;
mod logs;
mod native;
mod ports;
mod provider;
mod pull;
mod stats;
mod version;

pub use engine::DockerEngine;
pub use provider::DockerProvider;
