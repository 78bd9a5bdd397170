//! The nodes of the cluster: one for each manager, and some that stay.

use std::{net::SocketAddr, time::Duration};

use longshore_core::{Announcement, Discovery, Endpoint};
use longshore_discovery::{KvDiscovery, KvDiscoveryOptions};

use crate::servers::{Subject, clock};

pub const GRACE: Duration = Duration::from_millis(1500);

pub const THAT_STAY: [u16; 3] = [11, 12, 13];

pub fn node(number: u16) -> Announcement {
    Announcement::new(Endpoint::new("10.0.0.1", number).unwrap())
}

/// Registers the nodes that stay.
pub fn register(subject: Subject, store: &[SocketAddr]) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let kv = (subject.connect)(store);
        // Without a lease: they outlive this client, on every store.
        let discovery = KvDiscovery::new(kv.clone(), clock(), KvDiscoveryOptions::default());
        let discovery = discovery.unwrap();
        for number in THAT_STAY {
            let node = node(number);
            let key = format!("{}{}", discovery.directory(), node.endpoint);
            let value = node.endpoint.to_string();
            kv.put(&key, value.into(), Default::default())
                .await
                .unwrap();
        }
        assert_eq!(discovery.list().await.unwrap().nodes.len(), THAT_STAY.len());
    });
}
