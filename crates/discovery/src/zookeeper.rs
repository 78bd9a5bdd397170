use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{
    Expect, KvCapabilities, KvEntry, KvRange, KvStore, KvWatch, Lease, LeaseId, PutOptions, Result,
    Revision, TransactionOp,
};

use crate::{kv_step, store::StoreOptions};

mod client;
mod connection;
mod failure;
mod frame;
mod lease;
mod node;
mod plan;
mod walk;
mod watch;
mod wire;

use client::Client;

/// A [`KvStore`] on ZooKeeper 3.6 and later. Clones share its sessions.
///
/// # Protocol
/// ZooKeeper's own ("jute" records over TCP), spoken here: the client crates renew sessions by
/// themselves, so that a lease would outlive whoever stopped renewing it, and each brings a runtime
/// layer of its own.
///
/// With [`StoreTls`](crate::StoreTls) it dials the server's `secureClientPort`, which needs
/// `serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory` and, with Debian's package,
/// `netty-codec.jar` and `netty-resolver.jar` on the class path. TLS 1.2 and 1.3.
///
/// # What it holds
/// Keys are znodes at the same path, so that Swarm's entries are found where Swarm put them; a znode
/// without data is a directory and no key (an empty value is stored as one NUL). Every write is one
/// `multi`. Reads are preceded by `sync`, so they see every acknowledged write. A conditional write
/// also checks the version of one guard znode that every creation raises: versions begin anew with
/// each znode, and alone would take a deleted and created key for the old one.
///
/// A lease is a session of its own, its keys are ephemeral, and it belongs to the client that it was
/// granted to. The server bounds session timeouts (2 to 20 of its ticks): a shorter lease is
/// lengthened, and the lease says so; a longer one is kept up by this process until its time is over
/// (rule D8 of the specification), and ends after the server's longest timeout when the process dies.
/// Ephemeral znodes have no children: a key under a lease has no keys below it.
///
/// ZooKeeper keeps no history: a watch tells the newest state of each key, and one that begins at a
/// revision behind which something changed begins with
/// [`KvEvent::Resync`](longshore_core::KvEvent::Resync).
#[derive(Clone, Debug)]
pub struct ZooKeeperKv {
    client: Arc<Client>,
}

impl ZooKeeperKv {
    /// A client of this ensemble. Nothing is connected yet.
    pub fn new(options: &StoreOptions) -> Self {
        Self {
            client: Arc::new(Client::new(options)),
        }
    }
}

#[async_trait]
impl KvStore for ZooKeeperKv {
    fn capabilities(&self) -> KvCapabilities {
        capabilities()
    }

    fn describe(&self) -> String {
        self.client.describe().to_owned()
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        self.client.get(key).await
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        let step = TransactionOp::put(key, value, options);
        self.transact(vec![step]).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        let steps = vec![TransactionOp::delete(key, expect)];
        kv_step::check(&steps, &capabilities())?;
        Ok(self.client.apply(&steps).await?.deleted > 0)
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        let tree = self.client.tree(prefix).await?;
        let mut entries: Vec<_> = tree
            .entries
            .into_values()
            .filter(|entry| entry.key.as_str() > after || after.is_empty())
            .collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(KvRange::new(entries, tree.revision, more))
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        kv_step::check(&steps, &capabilities())?;
        Ok(self.client.apply(&steps).await?.revision)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        lease::grant(&self.client, ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        lease::keep_alive(&self.client, lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        lease::revoke(&self.client, lease).await
    }

    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        watch::stream(self.client.clone(), prefix.to_owned(), from)
    }
}

/// A request has at most `jute.maxbuffer` bytes, 1 MiB unless configured, with everything in it.
fn capabilities() -> KvCapabilities {
    KvCapabilities::durable(Duration::from_secs(4))
        .without_history()
        .with_largest_value(1000 << 10)
        .with_most_steps(64)
}
