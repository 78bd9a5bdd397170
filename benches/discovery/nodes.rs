//! Nodes by number, and a discovery backend on a store.

use std::{net::SocketAddr, sync::Arc};

use longshore::{
    Discovery,
    core::{Announcement, Endpoint, SystemClock},
    discovery::{DiscoveryOptions, open},
};

pub const NODES: usize = 10_000;

pub fn node(number: usize) -> Announcement {
    let host = format!(
        "10.{}.{}.{}",
        number >> 16,
        (number >> 8) & 255,
        number & 255
    );
    Announcement::new(Endpoint::new(host, 2375).expect("an address"))
}

pub fn discovery(address: SocketAddr, prefix: &str) -> Arc<dyn Discovery> {
    let options = DiscoveryOptions::new(Arc::new(SystemClock::new()));
    open(&format!("etcd://{address}/{prefix}"), &options).expect("a sound URL")
}
