//! Who is in the cluster: discovery backends for longshore.
//!
//! A backend lists the nodes of a cluster and tells when they come and go; some let nodes register
//! themselves. It is found by a URL, as in Swarm:
//!
//! | URL | backend | nodes register | changes |
//! | --- | --- | --- | --- |
//! | `nodes://10.0.0.1:2375,10.0.0.[5:9]:2375` (or without `nodes://`) | [`StaticDiscovery`] | no | never |
//! | `file:///etc/cluster/nodes` | [`FileDiscovery`] | no | when the file does |
//! | `etcd://10.0.0.1:2379,10.0.0.2:2379/prefix` | [`KvDiscovery`] over `EtcdKv` | yes | at once |
//! | `consul://10.0.0.1:8500/prefix` | [`KvDiscovery`] over `ConsulKv` | yes | at once |
//! | `zk://10.0.0.1:2181/prefix` | [`KvDiscovery`] over `ZooKeeperKv` | yes | at once |
//! | `dns://_docker._tcp.example.com`, `dns://nodes.lan:2375` | `DnsDiscovery` | no | when records' time is over |
//! | `gossip://10.0.0.1:7946,10.0.0.2:7946` | `GossipDiscovery` | yes | at once |
//! | `token://host/path/<token>` | `TokenDiscovery`, hosted by `token_service` (feature `token-server`) | yes | at once |
//! | `raft://a=10.0.0.1:7300,b=10.0.0.2:7300,c=10.0.0.3:7300/prefix?self=a&dir=/var/lib/raft` | [`KvDiscovery`] over `RaftKv` | yes | at once |
//! | none, in one process | [`MemoryDiscovery`] | yes | at once |
//!
//! All but the first two stand behind features: `etcd`, `consul`, `zookeeper`, `dns`, `gossip`,
//! `token`, `raft`. Which one to take, and how to write one: [`guide`].
//!
//! Around any of them: [`MergedDiscovery`], [`CachedDiscovery`], [`DampedDiscovery`]. A
//! [`Registrar`] keeps nodes registered, an [`Election`] finds one leader.
//!
//! The stores are key-value stores first: the abstraction under key-value discovery, leader election
//! and the control plane's state. `RaftKv` (feature `raft`) is one that three or five managers
//! replicate among themselves, `RedbKv` (feature `redb`) one in a file of one process;
//! [`MemoryKv`] is their twin in memory.
//!
//! It does not connect to nodes and does not judge their health: an entry says where a node is said
//! to be, no more.
//!
//! # Example
//!
//! ```
//! use std::sync::Arc;
//!
//! use longshore_core::{DiscoveryExt, SystemClock};
//! use longshore_discovery::{DiscoveryOptions, open};
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let options = DiscoveryOptions::new(Arc::new(SystemClock::new()));
//! let discovery = open("nodes://node-[01:03]:2375", &options)?;
//! let nodes = discovery.first_set().await?;
//! assert_eq!(nodes[0].endpoint.to_string(), "node-01:2375");
//! # Ok::<(), longshore_core::Error>(())
//! # }).unwrap();
//! ```
//!
//! # Removal needs evidence
//!
//! A backend that can't be read removes nothing: what was known stays in force, and watchers are
//! told about the problem. A bad line of a file loses no other line, and while there is one nobody
//! is removed, so a typo drains no node. If more than half of the nodes vanish within a grace period
//! the rest of them is held for one, read again, and only then removed.

mod abort_on_drop;
#[cfg(test)]
mod agenda;
mod cached;
#[cfg(feature = "consul")]
mod consul;
#[cfg(feature = "file")]
mod content;
mod damped;
mod diff;
#[cfg(feature = "dns")]
mod dns;
mod election;
mod entry;
#[cfg(feature = "etcd")]
mod etcd;
#[cfg(any(
    feature = "file",
    feature = "token",
    feature = "gossip",
    feature = "dns"
))]
mod evidence;
#[cfg(feature = "file")]
mod file;
#[cfg(feature = "gossip")]
mod gossip;
pub mod guide;
mod kv_discovery;
mod kv_step;
mod memory;
mod memory_kv;
mod merged;
mod open;
#[cfg(feature = "stores")]
mod open_store;
mod options;
mod outlet;
#[cfg(any(feature = "token", feature = "dns"))]
mod polled;
#[cfg(feature = "raft")]
mod raft;
pub mod range;
#[cfg(feature = "redb")]
mod redb_kv;
mod registrar;
mod static_list;
#[cfg(feature = "stores")]
#[cfg_attr(
    not(any(feature = "consul", feature = "etcd", feature = "zookeeper")),
    expect(dead_code, reason = "what only clients of servers need")
)]
mod store;
#[cfg(feature = "stores")]
mod store_url;
#[cfg(any(feature = "stores", feature = "token"))]
mod tls_failure;
#[cfg(feature = "token")]
mod token;
#[cfg(feature = "token-server")]
pub mod token_service;
mod url;
#[cfg(feature = "zookeeper")]
mod zookeeper;

pub use cached::{CachedDiscovery, Staleness};
#[cfg(feature = "consul")]
pub use consul::ConsulKv;
pub use damped::{DampedDiscovery, DampingPolicy};
#[cfg(feature = "dns")]
pub use dns::DnsDiscovery;
pub use election::{
    Election, ElectionOptions, ElectionState, Fence, FencingToken, Leadership, NewStore,
};
#[cfg(feature = "etcd")]
pub use etcd::EtcdKv;
#[cfg(feature = "file")]
pub use file::{FileDiscovery, FileOptions, FileWatch};
#[cfg(feature = "gossip")]
pub use gossip::{GossipDiscovery, GossipKey, GossipOptions, GossipTimes};
pub use kv_discovery::{KvDiscovery, KvDiscoveryOptions};
pub use memory::MemoryDiscovery;
pub use memory_kv::{KvLimits, MemoryKv};
pub use merged::MergedDiscovery;
pub use open::open;
#[cfg(feature = "stores")]
pub use open_store::{open_kv, open_over};
pub use options::DiscoveryOptions;
#[cfg(feature = "raft")]
pub use raft::{
    RaftAccess, RaftClient, RaftIncoming, RaftKv, RaftMemoryNetwork, RaftNetwork, RaftOptions,
    RaftPeer, RaftPlaintext, RaftTcp, RaftTimes, RaftTls,
};
#[cfg(feature = "redb")]
pub use redb_kv::RedbKv;
pub use registrar::{HeartbeatState, Registrar, RegistrarOptions, RegistrarState};
pub use static_list::StaticDiscovery;
#[cfg(feature = "stores")]
pub use store::{StoreCredentials, StoreOptions, StoreTls};
#[cfg(feature = "token")]
pub use token::{TokenBase, TokenDiscovery};
pub use url::{DiscoveryUrl, Scheme};
#[cfg(feature = "zookeeper")]
pub use zookeeper::ZooKeeperKv;

use longshore_core::Error;

/// What a backend that only lists answers to a registration, in Swarm's words.
fn not_implemented(backend: &'static str) -> Error {
    Error::unsupported("not implemented in this discovery service").with_backend(backend)
}
