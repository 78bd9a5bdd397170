//! The control plane over fake engines, in virtual time.

mod cluster;
mod engine;
mod nodes;
mod placing;
mod scheduler;
mod stacks;
mod tunnels;
mod views;
