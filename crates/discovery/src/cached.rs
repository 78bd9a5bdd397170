#![deny(clippy::missing_trait_methods)]

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    Announcement, Clock, ClockExt, Discovery, DiscoveryCapabilities, Error, Membership,
    MembershipEvent, MembershipStream, Registration, Result, Timestamp,
};
use tokio::sync::watch;

use crate::{
    diff::{Nodes, by_endpoint},
    outlet::{Outlet, View, apply, retell},
};

/// The last good view of a [`CachedDiscovery`], and how good it still is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Staleness {
    /// How many nodes the view has; `None` before the first one.
    pub nodes: Option<usize>,
    /// When the backend was last read.
    pub last_success: Option<Timestamp>,
    /// Since when it can't be read; `None` while the view is fresh.
    pub stale_since: Option<Timestamp>,
    /// Why reading last failed, and when.
    pub last_error: Option<(String, Timestamp)>,
}

impl Staleness {
    /// How long the view has been stale; zero while it is fresh.
    pub fn age(&self, now: Timestamp) -> Duration {
        self.stale_since
            .map_or(Duration::ZERO, |since| now.since(since))
    }
}

/// Keeps the last good view of a backend for the time when it can't be read, and says how old it
/// is.
///
/// While the backend is out of reach, [`list`](Discovery::list) answers with that view for up to
/// `serve_stale`, with a problem that tells its age; afterwards it fails as the backend does. A
/// watch goes on as the backend's does: nobody is removed. Reading is tried again every `recheck`,
/// so [`staleness`](Self::staleness) also ends when nothing changed meanwhile.
#[derive(Clone)]
pub struct CachedDiscovery {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    outlet: Outlet,
    serve_stale: Duration,
    recheck: Duration,
}

/// What the task shares.
struct Core {
    inner: Arc<dyn Discovery>,
    clock: Arc<dyn Clock>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    nodes: Option<Nodes>,
    state: Staleness,
}

impl CachedDiscovery {
    /// Around a backend; a view serves for an hour after its backend was lost, and the backend is
    /// tried again every 10 s.
    pub fn new(inner: Arc<dyn Discovery>, clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(
            inner,
            clock,
            Duration::from_secs(3600),
            Duration::from_secs(10),
        )
    }

    /// With other times; no `serve_stale` makes lists fail at once.
    pub fn with_limits(
        inner: Arc<dyn Discovery>,
        clock: Arc<dyn Clock>,
        serve_stale: Duration,
        recheck: Duration,
    ) -> Self {
        let kept = Mutex::new(Kept::default());
        Self {
            shared: Arc::new(Shared {
                core: Arc::new(Core { inner, clock, kept }),
                outlet: Outlet::default(),
                serve_stale,
                recheck: recheck.max(Duration::from_millis(10)),
            }),
        }
    }

    /// How good the view is. It follows the backend while something watches, and every list.
    pub fn staleness(&self) -> Staleness {
        self.shared.core.lock().state.clone()
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads once and takes the result in.
    async fn read(&self) -> Result<Membership> {
        let found = self.inner.list().await;
        match &found {
            Ok(found) => self.good(by_endpoint(found.nodes.iter().cloned())),
            Err(error) => self.bad(error),
        }
        found
    }

    fn good(&self, nodes: Nodes) {
        let now = self.clock.now();
        let mut kept = self.lock();
        kept.state.nodes = Some(nodes.len());
        kept.nodes = Some(nodes);
        kept.state.last_success = Some(now);
        if let Some(since) = kept.state.stale_since.take() {
            let away = now.since(since);
            tracing::info!(
                ?away,
                discovery = self.inner.describe(),
                "discovery is read again"
            );
        }
    }

    fn bad(&self, error: &Error) {
        let now = self.clock.now();
        let mut kept = self.lock();
        kept.state.last_error = Some((error.chain(), now));
        if kept.state.stale_since.is_none() {
            kept.state.stale_since = Some(now);
            let error = error.chain();
            tracing::error!(
                error,
                discovery = self.inner.describe(),
                "discovery can't be read"
            );
        }
    }

    fn is_stale(&self) -> bool {
        self.lock().state.stale_since.is_some()
    }
}

#[async_trait]
impl Discovery for CachedDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        self.shared.core.inner.capabilities()
    }

    fn describe(&self) -> String {
        self.shared.core.inner.describe()
    }

    async fn register(&self, node: &Announcement, ttl: Duration) -> Result<Registration> {
        self.shared.core.inner.register(node, ttl).await
    }

    async fn renew(&self, registration: &Registration) -> Result<Registration> {
        self.shared.core.inner.renew(registration).await
    }

    async fn deregister(&self, registration: &Registration) -> Result<()> {
        self.shared.core.inner.deregister(registration).await
    }

    async fn list(&self) -> Result<Membership> {
        let core = &self.shared.core;
        let error = match core.read().await {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let kept = core.lock();
        let age = kept.state.age(core.clock.now());
        match &kept.nodes {
            Some(nodes) if !self.shared.serve_stale.is_zero() && age <= self.shared.serve_stale => {
                let problem = retell(&error).with_context("stale for", format!("{age:?}"));
                let nodes = nodes.values().cloned().collect();
                Ok(Membership::new(nodes, vec![problem]))
            }
            _ => Err(error),
        }
    }

    fn watch(&self) -> MembershipStream {
        let (core, recheck) = (self.shared.core.clone(), self.shared.recheck);
        let task = move |view| follow(core, recheck, view);
        let keep = self.shared.clone();
        self.shared
            .outlet
            .watch(keep, |shared| &shared.outlet, task)
    }
}

impl fmt::Debug for CachedDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedDiscovery")
            .field("inner", &self.shared.core.inner)
            .field("staleness", &self.staleness())
            .finish()
    }
}

async fn follow(core: Arc<Core>, recheck: Duration, view: watch::Sender<View>) {
    let mut events = core.inner.watch();
    let mut known = None;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = core.clock.sleep(recheck), if core.is_stale() => {
                // The watch tells what changed; this is to learn that nothing did.
                let _ = core.read().await;
                continue;
            }
        };
        let Some(event) = event else {
            return std::future::pending().await;
        };
        let whole = matches!(event, MembershipEvent::Reset(_));
        match apply(&mut known, event) {
            None => {
                if let Some(nodes) = &known {
                    core.good(nodes.clone());
                    view.send_modify(|view| match whole {
                        true => view.reset(nodes.clone()),
                        false => view.set(nodes.clone()),
                    });
                }
            }
            Some(problem) => {
                // A bad entry is a problem too; only reading tells whether it is more.
                if problem.is_retryable() {
                    core.bad(&problem);
                }
                view.send_modify(|view| view.add_problem(problem));
            }
        }
    }
}

#[cfg(test)]
mod tests;
