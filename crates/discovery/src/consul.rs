use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{
    Error, ErrorKind, Expect, KvCapabilities, KvEntry, KvRange, KvStore, KvWatch, Lease, LeaseId,
    PutOptions, Result, Revision, TransactionOp,
};

use crate::{kv_step, store::StoreOptions};

mod client;
mod failure;
mod plan;
mod session;
mod snapshot;
mod watch;
mod wire;

use client::Client;

/// A [`KvStore`] on Consul 1.5 and later (tested with 1.8.7). Clones share its connections.
///
/// # Protocol
/// Consul's HTTP API: every write is one transaction (`/v1/txn`), so that a condition, the removal
/// of an old lock and the new value are one step; reads are `consistent`; watches are blocking
/// queries over the prefix.
///
/// # What it holds
/// A lease is a session with behaviour `delete`, tied to no health check and without lock delay. A
/// key is tied to it by the `lock` verb in the transaction that writes it, so it can never detach
/// from its session and live for ever (rule D7 of the specification). Consul ends a session after
/// twice its TTL, so half of what is asked for is requested; leases under twice Consul's
/// `session_ttl_min` (10 s) are lengthened to that. Several servers are asked in turn when one does
/// not answer.
///
/// Consul keeps no history: a watch tells the newest state of each key, and one that begins at a
/// revision behind which something changed begins with
/// [`KvEvent::Resync`](longshore_core::KvEvent::Resync). Values have at most 375 KiB: what fits,
/// as base64, into a transaction of Consul's usual `txn_max_req_len`; a whole prefix is one answer, so paging saves nothing.
#[derive(Clone, Debug)]
pub struct ConsulKv {
    client: Arc<Client>,
    shortest_lease: Duration,
}

impl ConsulKv {
    /// A client of this cluster. Nothing is connected yet.
    ///
    /// # Errors
    /// The credentials' password, used as the ACL token, has characters that no token has.
    pub fn new(options: &StoreOptions) -> Result<Self> {
        Ok(Self {
            client: Arc::new(Client::new(options)?),
            shortest_lease: Duration::from_secs(20),
        })
    }

    /// For servers with another `session_ttl_min`: the shortest lease is twice that.
    #[must_use]
    pub fn with_session_ttl_min(mut self, least: Duration) -> Self {
        self.shortest_lease = least * 2;
        self
    }

    /// The revision at which it was done.
    async fn apply(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        kv_step::check(&steps, &self.capabilities())?;
        let plan = plan::of(&steps)?;
        let written = match plan.operations.is_empty() {
            true => None,
            false => self.client.transact(&plan).await?,
        };
        match written {
            Some(revision) => Ok(revision),
            // Only deletions and checks: those have no index of their own in the answer.
            None => {
                let key = steps.last().map_or("", kv_step::key);
                Ok(self.client.list(key, None).await?.revision)
            }
        }
    }
}

#[async_trait]
impl KvStore for ConsulKv {
    fn capabilities(&self) -> KvCapabilities {
        KvCapabilities::durable(self.shortest_lease)
            .without_history()
            .with_largest_value(375 << 10)
            .with_most_steps(plan::MOST_STEPS)
    }

    fn describe(&self) -> String {
        self.client.describe().to_owned()
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        self.client.get(key).await
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        let step = TransactionOp::put(key, value, options);
        self.apply(vec![step]).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        // Consul does not say whether there was a key, so it is deleted as it was found.
        for _ in 0..TRIES {
            let expected = match expect {
                Expect::Any => match self.client.get(key).await? {
                    None => return Ok(false),
                    Some(entry) => Expect::Revision(entry.revision),
                },
                expect => expect,
            };
            let step = TransactionOp::delete(key, expected);
            let steps = vec![step];
            kv_step::check(&steps, &self.capabilities())?;
            let plan = plan::of(&steps)?;
            match self.client.transact(&plan).await {
                Ok(_) => return Ok(expected != Expect::Absent),
                Err(error) if error.kind() == ErrorKind::Conflict && expect == Expect::Any => {}
                Err(error) => return Err(error),
            }
        }
        let message = format!("the key changed {TRIES} times while it was to be deleted");
        Err(Error::new(ErrorKind::Conflict, message))
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        let snapshot = self.client.list(prefix, None).await?;
        let revision = snapshot.revision;
        let mut entries: Vec<_> = snapshot
            .entries
            .into_values()
            .filter(|entry| entry.key.as_str() > after || after.is_empty())
            .collect();
        let more = entries.len() > limit;
        entries.truncate(limit);
        Ok(KvRange::new(entries, revision, more))
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        self.apply(steps).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        if ttl.is_zero() {
            return Err(Error::invalid("a lease needs a time to live above zero"));
        }
        let ttl = ttl.max(self.shortest_lease);
        let id = self.client.create_session(ttl / 2).await?;
        Ok(Lease::new(id, ttl))
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.client.renew_session(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.client.destroy_session(lease).await
    }

    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        watch::stream(self.client.clone(), prefix.to_owned(), from)
    }
}

/// How often a key that others write is tried to be deleted.
const TRIES: usize = 32;
