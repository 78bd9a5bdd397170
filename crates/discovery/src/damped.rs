#![deny(clippy::missing_trait_methods)]

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    Announcement, Clock, Discovery, DiscoveryCapabilities, Error, ErrorKind, Membership,
    MembershipEvent, MembershipStream, Registration, Result,
};
use tokio::sync::watch;

use crate::outlet::{Outlet, View, apply};

mod damper;

use damper::Damper;

/// When a node counts as flapping, after the route flap damping of BGP (RFC 2439): each departure
/// adds a penalty of 1, penalties halve with time, and a node above a threshold is left out until
/// it has decayed below another one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DampingPolicy {
    /// In which a penalty halves. 5 minutes.
    pub half_life: Duration,
    /// Above which a node is held back. 3: the fourth departure within a few minutes.
    pub suppress: f64,
    /// Below which it is let in again. 1.
    pub reuse: f64,
    /// Nobody is held back longer, however often it left. 1 hour.
    pub longest: Duration,
}

impl Default for DampingPolicy {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(300),
            suppress: 3.0,
            reuse: 1.0,
            longest: Duration::from_secs(3600),
        }
    }
}

impl DampingPolicy {
    /// Sets in which time a penalty halves, and the longest time out.
    #[must_use]
    pub fn with_times(mut self, half_life: Duration, longest: Duration) -> Self {
        (self.half_life, self.longest) = (half_life, longest);
        self
    }

    /// Sets above which penalty a node is held back and below which it is let in.
    #[must_use]
    pub fn with_thresholds(mut self, suppress: f64, reuse: f64) -> Self {
        (self.suppress, self.reuse) = (suppress, reuse);
        self
    }

    fn check(&self) -> Result<()> {
        let sound = self.reuse >= 0.1 && self.reuse < self.suppress && self.suppress.is_finite();
        if !sound || self.half_life < Duration::from_millis(1) || self.longest < self.half_life {
            return Err(Error::invalid(
                "damping needs 0.1 <= reuse < suppress and 1 ms <= half life <= longest",
            )
            .with_context("policy", format!("{self:?}")));
        }
        Ok(())
    }
}

/// Leaves out nodes that come and go again and again, until they are calm, so that their work is
/// not moved with every turn. Which those are, is told as a problem once for each.
///
/// Only departures that are seen count, so it learns while something watches.
#[derive(Clone)]
pub struct DampedDiscovery {
    shared: Arc<Shared>,
}

struct Shared {
    core: Arc<Core>,
    outlet: Outlet,
}

struct Core {
    inner: Arc<dyn Discovery>,
    clock: Arc<dyn Clock>,
    damper: Mutex<Damper>,
}

impl DampedDiscovery {
    /// Around a backend.
    ///
    /// # Errors
    /// The policy makes no sense, named.
    pub fn new(
        inner: Arc<dyn Discovery>,
        policy: DampingPolicy,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        policy.check()?;
        let damper = Mutex::new(Damper::new(policy));
        Ok(Self {
            shared: Arc::new(Shared {
                core: Arc::new(Core {
                    inner,
                    clock,
                    damper,
                }),
                outlet: Outlet::default(),
            }),
        })
    }
}

impl Core {
    fn lock(&self) -> MutexGuard<'_, Damper> {
        self.damper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn flapping(endpoint: impl fmt::Display) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "a node comes and goes too often and is left out until it is calm",
    )
    .with_context("endpoint", endpoint)
}

#[async_trait]
impl Discovery for DampedDiscovery {
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
        let Membership {
            nodes,
            mut problems,
            ..
        } = core.inner.list().await?;
        let mut damper = core.lock();
        damper.calm_down(core.clock.now());
        let (held_back, nodes): (Vec<_>, Vec<_>) = nodes
            .into_iter()
            .partition(|node| damper.holds_back(&node.endpoint));
        problems.extend(held_back.iter().map(|node| flapping(&node.endpoint)));
        Ok(Membership::new(nodes, problems))
    }

    fn watch(&self) -> MembershipStream {
        let core = self.shared.core.clone();
        let task = move |view| follow(core, view);
        let keep = self.shared.clone();
        self.shared
            .outlet
            .watch(keep, |shared| &shared.outlet, task)
    }
}

impl fmt::Debug for DampedDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DampedDiscovery")
            .field(&self.shared.core.inner)
            .finish()
    }
}

async fn follow(core: Arc<Core>, view: watch::Sender<View>) {
    let mut events = core.inner.watch();
    let mut known = None;
    loop {
        let deadline = core.lock().next_deadline();
        let calm = async {
            match deadline {
                Some(at) => core.clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut problems = Vec::new();
        let event = tokio::select! {
            event = events.next() => Some(event),
            () = calm => None,
        };
        let now = core.clock.now();
        let whole = matches!(event, Some(Some(MembershipEvent::Reset(_))));
        match event {
            Some(None) => return std::future::pending().await,
            Some(Some(event)) => match apply(&mut known, event) {
                Some(problem) => problems.push(problem),
                None => {
                    let listed = known.clone().unwrap_or_default();
                    let held_back = core.lock().observe(listed, now);
                    problems.extend(held_back.iter().map(|(endpoint, wait)| {
                        flapping(endpoint).with_context("for about", format!("{wait:.0?}"))
                    }));
                }
            },
            None => core.lock().calm_down(now),
        }
        let nodes = known.is_some().then(|| core.lock().view());
        view.send_modify(|view| {
            match nodes {
                Some(nodes) if whole => view.reset(nodes),
                Some(nodes) if view.nodes.as_deref() != Some(&nodes) => view.set(nodes),
                _ => {}
            }
            for problem in problems {
                view.add_problem(problem);
            }
        });
    }
}

#[cfg(test)]
mod tests;
