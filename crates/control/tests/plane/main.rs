//! The control plane over fake engines, in virtual time.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod cluster;
mod engine;
mod foreign_state;
mod hostile_agents;
mod leading;
mod nodes;
mod pending;
mod placing;
mod scheduler;
mod stacks;
mod tunnels;
mod views;
