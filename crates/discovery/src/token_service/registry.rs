//! Clusters and their nodes in a store.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use longshore_core::{
    Clock, Endpoint, Error, ErrorKind, Expect, KvEntry, KvStore, PutOptions, Random, Result,
    Revision, Timestamp,
};

use super::TokenLimits;

#[derive(Debug)]
pub(super) struct Registry {
    store: Arc<dyn KvStore>,
    prefix: String,
    limits: TokenLimits,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    /// How many keys there were under a prefix, and when that was counted: a full count with each
    /// registration would make filling a cluster quadratic.
    counts: Mutex<HashMap<String, (usize, Timestamp)>>,
}

#[derive(Debug)]
pub(super) struct Listing {
    pub(super) addresses: Vec<String>,
    pub(super) index: u64,
}

impl Registry {
    pub(super) fn new(
        store: Arc<dyn KvStore>,
        prefix: &str,
        limits: TokenLimits,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Self {
            store,
            prefix,
            limits,
            clock,
            random,
            counts: Mutex::default(),
        }
    }

    pub(super) async fn create(&self) -> Result<String> {
        let all = format!("{}clusters/", self.prefix);
        self.make_room(&all, self.limits.clusters, "clusters")
            .await?;
        let token = self.random.hex(16);
        let how = PutOptions::default().with_expect(Expect::Absent);
        let key = format!("{all}{token}");
        self.store.put(&key, Bytes::from_static(b"1"), how).await?;
        Ok(token)
    }

    /// # Errors
    /// There is no such cluster.
    pub(super) async fn check(&self, token: &str) -> Result<()> {
        let key = format!("{}clusters/{token}", self.prefix);
        match self.store.get(&key).await? {
            Some(_) => Ok(()),
            None => Err(Error::not_found(
                "there is no such cluster: make one with POST …/clusters",
            )),
        }
    }

    pub(super) async fn register(
        &self,
        token: &str,
        address: &str,
        ttl: Duration,
    ) -> Result<String> {
        let key = self.key(token, address)?;
        if ttl.is_zero() || ttl > self.limits.ttl {
            let most = self.limits.ttl.as_secs();
            return Err(Error::invalid(format!("ttl is from 1 to {most} seconds")));
        }
        self.check(token).await?;
        let before = self.store.get(&key).await?;
        if before.is_none() {
            let nodes = self.nodes(token);
            self.make_room(&nodes, self.limits.nodes, "nodes in the cluster")
                .await?;
        }
        let lease = self.store.grant(ttl).await?;
        let handle = self.random.hex(16);
        let how = PutOptions::default().with_lease(lease.id);
        self.store
            .put(&key, Bytes::from(handle.clone()), how)
            .await?;
        // The key lives by the new lease now; the old one would end unused, later.
        if let Some(old) = before.and_then(|entry| entry.lease) {
            let _ = self.store.revoke(old).await;
        }
        Ok(handle)
    }

    pub(super) async fn renew(&self, token: &str, address: &str, handle: &str) -> Result<()> {
        let entry = self.registration(token, address, handle).await?;
        match entry.and_then(|entry| entry.lease) {
            Some(lease) => self.store.keep_alive(lease).await,
            None => Err(Error::not_found(
                "the registration has ended; register again",
            )),
        }
    }

    pub(super) async fn deregister(&self, token: &str, address: &str, handle: &str) -> Result<()> {
        let Some(entry) = self.registration(token, address, handle).await? else {
            return Ok(());
        };
        let deleted = self
            .store
            .delete(&entry.key, Expect::Revision(entry.revision))
            .await;
        match deleted {
            // Registered anew meanwhile: that one stays.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
            Err(error) => Err(error),
            Ok(_) => match entry.lease {
                Some(lease) => self.store.revoke(lease).await,
                None => Ok(()),
            },
        }
    }

    pub(super) async fn list(&self, token: &str) -> Result<Listing> {
        let prefix = self.nodes(token);
        let (mut addresses, mut after, mut index) = (Vec::new(), String::new(), None);
        loop {
            let page = self.store.range(&prefix, &after, PAGE).await?;
            // What changes between pages is told to who waits from the first one's revision on.
            index = index.or(Some(page.revision.0));
            let keys = page
                .entries
                .iter()
                .filter_map(|entry| entry.key.strip_prefix(&prefix));
            addresses.extend(keys.map(str::to_owned));
            match page.entries.last() {
                Some(last) if page.more && addresses.len() <= self.limits.nodes => {
                    after.clone_from(&last.key);
                }
                _ => break,
            }
        }
        Ok(Listing {
            addresses,
            index: index.unwrap_or_default(),
        })
    }

    /// Ends with the first change behind the index. Cancel safe.
    pub(super) async fn changed(&self, token: &str, index: u64) {
        let mut watch = self.store.watch(&self.nodes(token), Some(Revision(index)));
        watch.next().await;
    }

    async fn registration(
        &self,
        token: &str,
        address: &str,
        handle: &str,
    ) -> Result<Option<KvEntry>> {
        let key = self.key(token, address)?;
        self.check(token).await?;
        let entry = self.store.get(&key).await?;
        Ok(entry.filter(|entry| same(&entry.value, handle.as_bytes())))
    }

    fn nodes(&self, token: &str) -> String {
        format!("{}nodes/{token}/", self.prefix)
    }

    fn key(&self, token: &str, address: &str) -> Result<String> {
        let endpoint: Endpoint = address.parse()?;
        if endpoint.port() == 0 || endpoint.host().is_empty() {
            return Err(Error::invalid(
                "an address is host:port, the port from 1 to 65535",
            ));
        }
        Ok(format!("{}{endpoint}", self.nodes(token)))
    }

    /// Refuses one more where there are as many as may be.
    async fn make_room(&self, prefix: &str, most: usize, what: &str) -> Result<()> {
        let now = self.clock.now();
        let known = self.lock().get(prefix).copied();
        let known = known.filter(|(count, at)| *count < most && now.since(*at) < COUNT_AGAIN);
        let count = match known {
            Some((count, _)) => count,
            None => self.count(prefix, most).await?,
        };
        if count >= most {
            let message = format!("there are {most} {what} already");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        let at = known.map_or(now, |(_, at)| at);
        let mut counts = self.lock();
        if counts.len() > MOST_COUNTS {
            counts.clear();
        }
        counts.insert(prefix.to_owned(), (count + 1, at));
        Ok(())
    }

    async fn count(&self, prefix: &str, most: usize) -> Result<usize> {
        let (mut count, mut after) = (0, String::new());
        loop {
            let page = self.store.range(prefix, &after, PAGE).await?;
            count += page.entries.len();
            match page.entries.last() {
                Some(last) if page.more && count < most => after.clone_from(&last.key),
                _ => return Ok(count),
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (usize, Timestamp)>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the same time wherever they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

const PAGE: usize = 1000;
const COUNT_AGAIN: Duration = Duration::from_secs(10);
const MOST_COUNTS: usize = 10_000;
