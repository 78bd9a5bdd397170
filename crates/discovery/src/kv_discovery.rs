use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Announcement, Clock, Discovery, DiscoveryCapabilities, Error, ErrorKind, KvEntry, KvStore,
    LeaseId, Membership, MembershipStream, OsRandom, PutOptions, Random, Registration, Result,
    Revision, WatchMode,
};

mod read;
mod value;
mod view;
mod watch;

/// How nodes are kept in a key-value store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KvDiscoveryOptions {
    /// What comes before the path: the `prefix` of `etcd://host:2379/prefix`; may be empty.
    pub prefix: String,
    /// The directory of the nodes. Swarm's `kv.path`.
    pub path: String,
    /// How long the departure of more than half of the nodes is held before it counts.
    pub grace: Duration,
    /// Where the jitter of retries comes from.
    pub random: Arc<dyn Random>,
}

impl Default for KvDiscoveryOptions {
    /// No prefix, `docker/swarm/nodes` and 60 s, as in Swarm.
    fn default() -> Self {
        Self {
            prefix: String::new(),
            path: "docker/swarm/nodes".to_owned(),
            grace: Duration::from_secs(60),
            random: Arc::new(OsRandom),
        }
    }
}

impl KvDiscoveryOptions {
    /// Sets what comes before the path.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the directory of the nodes.
    #[must_use]
    pub fn with_path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// Sets how long a mass departure is held; zero for not at all.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Sets where jitter comes from.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }
}

/// Nodes in a key-value store, one key each, as Swarm lays them out:
/// `<prefix>/docker/swarm/nodes/<addr>` with the value `<addr>`.
///
/// A node with a name or labels has a JSON value instead
/// (`{"endpoint":"10.0.0.1:2375","name":"a","labels":{"zone":"eu"}}`); both forms are read. A
/// registration is a key tied to a lease of its own: one request of the store to renew, two to
/// register.
///
/// A value that stands for no node is reported with its key and skipped; where a node was known
/// under that key before, it stays. Removal needs evidence (rule D6 of the specification): a store
/// that can't be read removes nothing, and when more than half of the nodes go within the grace
/// period, the rest of the departures is held for that time and read again before it counts.
/// [`list`](Discovery::list) tells what the store says now, held or not.
#[derive(Clone, Debug)]
pub struct KvDiscovery {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn KvStore>,
    clock: Arc<dyn Clock>,
    options: KvDiscoveryOptions,
    /// With a slash behind.
    directory: String,
}

impl KvDiscovery {
    /// Nodes in this store. Nothing is read yet.
    ///
    /// # Errors
    /// Prefix and path together are no directory, or too long for a key.
    pub fn new(
        store: Arc<dyn KvStore>,
        clock: Arc<dyn Clock>,
        options: KvDiscoveryOptions,
    ) -> Result<Self> {
        let parts = [
            options.prefix.trim_matches('/'),
            options.path.trim_matches('/'),
        ];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let directory = format!("{}/", parts.join("/"));
        let named = directory
            .trim_end_matches('/')
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..");
        if !named || directory.contains('\0') || directory.len() > LONGEST {
            let shown: String = directory.chars().take(80).collect();
            return Err(Error::invalid(format!(
                "kv.path names no directory of at most {LONGEST} bytes"
            ))
            .with_context("path", shown.escape_debug()));
        }
        Ok(Self {
            shared: Arc::new(Shared {
                store,
                clock,
                options,
                directory,
            }),
        })
    }

    /// The directory of the nodes, with a slash behind.
    pub fn directory(&self) -> &str {
        &self.shared.directory
    }

    /// The store below.
    pub fn store(&self) -> &Arc<dyn KvStore> {
        &self.shared.store
    }
}

#[async_trait]
impl Discovery for KvDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::registering(WatchMode::Push).with_metadata()
    }

    fn describe(&self) -> String {
        let shared = &self.shared;
        let store = shared.store.describe();
        format!("{store}/{}", shared.directory.trim_end_matches('/'))
    }

    async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration> {
        let shared = &self.shared;
        if ttl.is_zero() {
            return Err(
                Error::invalid("a registration needs a time to live above zero")
                    .with_context("endpoint", &node.endpoint),
            );
        }
        let key = format!("{}{}", shared.directory, node.endpoint);
        let value = value::write(node)?;
        let now = shared.clock.now();
        let lease = shared.store.grant(ttl).await?;
        let options = PutOptions::default().with_lease(lease.id);
        if let Err(error) = shared.store.put(&key, value, options).await {
            // Whether or not it was written: nobody would renew it.
            let _ = shared.store.revoke(lease.id).await;
            return Err(error.with_context("endpoint", &node.endpoint));
        }
        Ok(Registration::new(
            node.clone(),
            lease.ttl,
            now.after(lease.ttl),
            lease.id.0.to_string(),
        ))
    }

    async fn renew(&self, registration: &Registration) -> Result<Registration> {
        let endpoint = &registration.announcement.endpoint;
        let now = self.shared.clock.now();
        let kept = match lease(registration) {
            Some(lease) => self.shared.store.keep_alive(lease).await,
            None => Err(Error::not_found("")),
        };
        match kept {
            Ok(()) => {
                let mut renewed = registration.clone();
                renewed.expires = now.after(registration.ttl);
                Ok(renewed)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::not_found(
                "the registration has ended; register again",
            )
            .with_context("endpoint", endpoint)
            .with_source(error)),
            Err(error) => Err(error.with_context("endpoint", endpoint)),
        }
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        match lease(registration) {
            // Takes along what is still tied to it, so not the entry of a newer registration.
            Some(lease) => self.shared.store.revoke(lease).await,
            None => Ok(()),
        }
    }

    async fn list(&self) -> Result<Membership> {
        let found = read::all(&*self.shared.store, &self.shared.directory).await?;
        let (mut nodes, mut problems) = (Vec::new(), Vec::new());
        for entry in &found.entries {
            match value::read(entry) {
                Ok(node) => nodes.push(node),
                Err(error) if problems.len() < MOST_PROBLEMS => problems.push(error),
                Err(_) => {}
            }
        }
        Ok(Membership::new(nodes, problems))
    }

    fn watch(&self) -> MembershipStream {
        watch::stream(self.shared.clone())
    }
}

fn lease(registration: &Registration) -> Option<LeaseId> {
    registration.handle.parse().ok().map(LeaseId)
}

/// All entries of a directory, as of one revision or later.
struct Listing {
    entries: Vec<KvEntry>,
    revision: Revision,
}

/// Leaves room for the longest address in a key of 1 KiB.
const LONGEST: usize = 700;

/// How many bad values one list reports.
const MOST_PROBLEMS: usize = 100;
