//! Consensus among the managers themselves: a key-value store without a store server.
//!
//! From the inside out: [`core`] is Raft, [`machine`] what is agreed on, [`node`] both with the calls
//! of one member; all three are pure, and [`sim`] runs them through thousands of failures.
//! [`driver`] gives them a disk, a network and time.

mod client;
mod codec;
mod command;
mod connection;
mod core;
mod disk;
mod driver;
mod frame;
mod greeting;
mod identity;
mod inbound;
mod kv;
mod log;
mod machine;
mod memory_network;
mod message;
mod network;
mod node;
mod open;
mod operation;
mod options;
mod outbound;
mod served;
#[cfg(test)]
mod sim;
mod tcp;
mod times;
mod tls;
mod url;
mod watch;
mod wire;

pub use client::RaftClient;
pub use kv::RaftKv;
pub use memory_network::RaftMemoryNetwork;
pub use network::{RaftAccess, RaftIncoming, RaftNetwork, RaftPeer};
pub(crate) use open::{PLAINTEXT, open};
pub use options::RaftOptions;
pub use tcp::{RaftPlaintext, RaftTcp};
pub use times::RaftTimes;
pub use tls::RaftTls;
