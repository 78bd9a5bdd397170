//! The Docker-compatible endpoint, over a real unix socket, in front of a control plane over small
//! engines that speak enough of Docker's API.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod access;
mod browser;
mod client;
mod cluster;
mod containers;
mod create;
mod daemon;
mod daemon_api;
mod errors;
mod hijack;
mod hostile;
mod listing;
mod pending;
mod replica;
mod scheduler;
mod shutdown;
mod slots;
mod spread;
mod stacks;
mod system;
#[cfg(feature = "tls")]
mod tls;
