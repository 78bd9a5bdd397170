use std::{fmt::Debug, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use serde::{Deserialize, Serialize};

use crate::{BoxStream, Endpoint, Error, Labels, NodeName, Result, Timestamp};

/// One node as a discovery backend knows it. The endpoint is its key: two announcements with the
/// same endpoint are the same entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Announcement {
    /// Where the node's engine listens.
    pub endpoint: Endpoint,
    /// The node's name, where the backend carries it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NodeName>,
    /// Labels, where the backend carries them.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    pub labels: Labels,
}

impl Announcement {
    /// An address alone, as Swarm's backends carry it.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            name: None,
            labels: Labels::new(),
        }
    }

    /// Adds a name.
    #[must_use]
    pub fn with_name(mut self, name: NodeName) -> Self {
        self.name = Some(name);
        self
    }

    /// Adds labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }
}

/// A registration that lives until it expires or is taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registration {
    /// What was registered.
    pub announcement: Announcement,
    /// How long one renewal lasts.
    pub ttl: Duration,
    /// When it ends unless renewed.
    pub expires: Timestamp,
    /// The backend's handle (lease id, session id); empty where it has none.
    pub handle: String,
}

impl Registration {
    /// What a backend hands out.
    pub fn new(
        announcement: Announcement,
        ttl: Duration,
        expires: Timestamp,
        handle: impl Into<String>,
    ) -> Self {
        Self {
            announcement,
            ttl,
            expires,
            handle: handle.into(),
        }
    }
}

/// How a backend's watch learns of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WatchMode {
    /// The set never changes.
    Fixed,
    /// The backend is asked again after each such interval.
    Poll(Duration),
    /// The backend tells.
    Push,
}

/// What a backend can do, as data: suites and callers choose by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DiscoveryCapabilities {
    /// Whether nodes can register themselves.
    pub register: bool,
    /// How changes arrive.
    pub watch: WatchMode,
    /// Whether names and labels survive the way through the backend.
    pub metadata: bool,
}

impl DiscoveryCapabilities {
    /// A backend that only lists.
    pub fn read_only(watch: WatchMode) -> Self {
        Self {
            register: false,
            watch,
            metadata: false,
        }
    }

    /// A backend that takes registrations with a lease.
    pub fn registering(watch: WatchMode) -> Self {
        Self {
            register: true,
            watch,
            metadata: false,
        }
    }

    /// Says that names and labels are kept.
    #[must_use]
    pub fn with_metadata(mut self) -> Self {
        self.metadata = true;
        self
    }
}

/// The nodes known at one moment, and what could not be read.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Membership {
    /// The nodes, ordered by endpoint, without duplicates.
    pub nodes: Vec<Announcement>,
    /// Entries that were skipped, each with the line, key or value that is wrong.
    pub problems: Vec<Error>,
}

impl Membership {
    /// Sorts by endpoint and drops duplicates.
    pub fn new(mut nodes: Vec<Announcement>, problems: Vec<Error>) -> Self {
        nodes.sort_by(|a, b| a.endpoint.cmp(&b.endpoint));
        nodes.dedup_by(|a, b| a.endpoint == b.endpoint);
        Self { nodes, problems }
    }
}

/// One step of a watch.
#[derive(Debug)]
#[non_exhaustive]
pub enum MembershipEvent {
    /// The full set. The first event of every watch; later ones replace everything known. The first
    /// reading behind an outage is told by one, also when nothing changed.
    Reset(Vec<Announcement>),
    /// A node came, or its metadata changed.
    Added(Announcement),
    /// A node left.
    Removed(Endpoint),
    /// Something is wrong (a bad entry, an unreachable store). What is known stays in force. Behind a
    /// problem that [may pass](Error::is_retryable) a [`Reset`](Self::Reset) says that the backend is
    /// read again; a bad entry ends without a word.
    Problem(Error),
}

/// The stream of a watch. It never ends by itself before its backend is dropped, except that a
/// [`WatchMode::Fixed`] backend may end it after the first event.
pub type MembershipStream = BoxStream<MembershipEvent>;

/// Who is in the cluster.
///
/// Rules held by the conformance suite: a watch starts with [`MembershipEvent::Reset`]; applying
/// its events in order gives what [`list`](Self::list) gives; a registration is visible until it is
/// taken back or its lease ends, and gone afterwards; registering the same endpoint again replaces
/// the entry, and the registration replaced can't end the new one; renewing what has expired is
/// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound); a lease of no time is
/// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput); a backend that can't register
/// answers [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported); an unreachable backend removes
/// nothing, and when it is back a [`MembershipEvent::Reset`] tells what is there.
#[async_trait]
pub trait Discovery: Debug + Send + Sync + 'static {
    /// What this backend can do.
    fn capabilities(&self) -> DiscoveryCapabilities;

    /// The backend for people, as a URL without secrets.
    fn describe(&self) -> String;

    /// Announces a node for `ttl`.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may or may not have registered. The lease bounds the effect.
    async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration>;

    /// Extends a registration by its time to live, counted from now.
    ///
    /// # Cancel safety
    /// Safe: renewing again is harmless.
    async fn renew(&self, registration: &Registration) -> Result<Registration>;

    /// Takes a registration back. Taking it back twice is no error.
    ///
    /// # Cancel safety
    /// Not safe: a dropped call may or may not have removed the entry. The lease bounds the effect.
    async fn deregister(&self, registration: &Registration) -> Result<()>;

    /// The nodes known now.
    ///
    /// # Errors
    /// The backend can't be read at all; [retryable](Error::is_retryable), such as
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable), where it may come back. Single bad
    /// entries are in [`Membership::problems`].
    ///
    /// # Cancel safety
    /// Safe.
    async fn list(&self) -> Result<Membership>;

    /// Changes from now on, beginning with the full set. Dropping the stream ends the watch.
    fn watch(&self) -> MembershipStream;
}

/// Conveniences over any [`Discovery`].
#[async_trait]
pub trait DiscoveryExt: Discovery {
    /// The first full set that the watch gives: the cluster as `list` commands print it.
    ///
    /// # Errors
    /// The watch ended before it gave a set, or began with a problem.
    async fn first_set(&self) -> Result<Vec<Announcement>> {
        let mut watch = self.watch();
        while let Some(event) = watch.next().await {
            match event {
                MembershipEvent::Reset(nodes) => return Ok(nodes),
                MembershipEvent::Problem(error) => return Err(error),
                MembershipEvent::Added(_) | MembershipEvent::Removed(_) => {}
            }
        }
        Err(Error::closed(
            "the watch ended before it gave a set of nodes",
        ))
    }
}

impl<D: Discovery + ?Sized> DiscoveryExt for D {}
