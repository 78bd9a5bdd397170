use std::sync::{Arc, OnceLock};

use longshore_core::{
    AuditSink, Authorizer, Clock, DenyAll, Discovery, EngineProvider, Error, KvStore,
    LeaderElection, OsRandom, Random, Result, Scheduler, Shutdown, SystemClock, TunnelListener,
};

use super::{ControlPlane, Inner, PlaneOptions};
use crate::{
    MemoryAudit, Reconciler, TunnelHub,
    cluster::{Cluster, State},
    event::EventLog,
    pending::{Shares, Waiting},
    registry::RegistrySource,
    stack::Desired,
};

/// Composes a [`ControlPlane`]. A scheduler and an engine provider are needed; discovery backends
/// and tunnel listeners say where nodes come from. The default authorizer refuses everything.
#[derive(Debug, Default)]
pub struct ControlPlaneBuilder {
    discoveries: Vec<Arc<dyn Discovery>>,
    listeners: Vec<Arc<dyn TunnelListener>>,
    hub: Option<TunnelHub>,
    scheduler: Option<Box<dyn Scheduler>>,
    engines: Option<Arc<dyn EngineProvider>>,
    election: Option<Arc<dyn LeaderElection>>,
    state: Option<(Arc<dyn KvStore>, String)>,
    authorizer: Option<Arc<dyn Authorizer>>,
    audit: Option<Arc<dyn AuditSink>>,
    registries: Option<Arc<dyn RegistrySource>>,
    clock: Option<Arc<dyn Clock>>,
    random: Option<Arc<dyn Random>>,
    shutdown: Option<Shutdown>,
    options: PlaneOptions,
}

impl ControlPlaneBuilder {
    /// Adds a discovery backend; a node is a member while any backend has it.
    #[must_use]
    pub fn discovery(mut self, discovery: Arc<dyn Discovery>) -> Self {
        self.discoveries.push(discovery);
        self
    }

    /// Adds a listener for nodes that dial in.
    #[must_use]
    pub fn tunnel(mut self, listener: Arc<dyn TunnelListener>) -> Self {
        self.listeners.push(listener);
        self
    }

    /// Uses this hub instead of one of its own, for embedders that accept carriers themselves.
    #[must_use]
    pub fn hub(mut self, hub: TunnelHub) -> Self {
        self.hub = Some(hub);
        self
    }

    /// Sets who decides where work goes.
    #[must_use]
    pub fn scheduler(mut self, scheduler: Box<dyn Scheduler>) -> Self {
        self.scheduler = Some(scheduler);
        self
    }

    /// Sets who makes engines out of addresses and streams.
    #[must_use]
    pub fn engines(mut self, engines: Arc<dyn EngineProvider>) -> Self {
        self.engines = Some(engines);
        self
    }

    /// Makes it one of several managers: only the one that leads acts by itself (stacks), and the
    /// endpoints of the others pass calls on to it. Each keeps a full view of the cluster. The
    /// election is run by whoever made it.
    #[must_use]
    pub fn election(mut self, election: Arc<dyn LeaderElection>) -> Self {
        self.election = Some(election);
        self
    }

    /// Keeps the desired stacks in a store, under `prefix` (for example `longshore/production`), so
    /// that they outlive this process and all managers over the same store know them. Whoever can
    /// write there commands the cluster, and whoever can read there sees the stacks' environment
    /// variables. While the store is out of reach, what is known still holds, and changes are
    /// refused.
    ///
    /// With an [`election`](Self::election) only the manager that leads writes, and the store refuses
    /// it once a leader with a higher fencing token has been there: the highest one is kept in it
    /// (`<prefix>/stacks-token`) and checked in one transaction with each write.
    #[must_use]
    pub fn state(mut self, store: Arc<dyn KvStore>, prefix: impl Into<String>) -> Self {
        self.state = Some((store, prefix.into()));
        self
    }

    /// Sets who may do what. Without, nothing is allowed.
    #[must_use]
    pub fn authorizer(mut self, authorizer: Arc<dyn Authorizer>) -> Self {
        self.authorizer = Some(authorizer);
        self
    }

    /// Sets where mutating calls and sessions are recorded. Without, in memory.
    #[must_use]
    pub fn audit(mut self, audit: Arc<dyn AuditSink>) -> Self {
        self.audit = Some(audit);
        self
    }

    /// Sets where stacks get credentials for registries from. Without, services that name some are
    /// not made on nodes that lack the image.
    #[must_use]
    pub fn registries(mut self, registries: Arc<dyn RegistrySource>) -> Self {
        self.registries = Some(registries);
        self
    }

    /// Sets the clock. Without, the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the randomness. Without, the operating system's.
    #[must_use]
    pub fn random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = Some(random);
        self
    }

    /// Ends it with a larger tree, which then waits for its tasks.
    #[must_use]
    pub fn shutdown(mut self, shutdown: Shutdown) -> Self {
        self.shutdown = Some(shutdown);
        self
    }

    /// Sets the options.
    #[must_use]
    pub fn options(mut self, options: PlaneOptions) -> Self {
        self.options = options;
        self
    }

    /// Makes the control plane. Nothing runs before [`ControlPlane::start`].
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) when the scheduler or
    /// the engine provider is missing or an option is wrong;
    /// [`ErrorKind::Unsupported`](longshore_core::ErrorKind::Unsupported) when several managers are to
    /// share a store without transactions.
    pub fn build(self) -> Result<ControlPlane> {
        self.options.validate()?;
        let scheduler = self
            .scheduler
            .ok_or_else(|| Error::invalid("a control plane needs a scheduler"))?;
        let engines = self
            .engines
            .ok_or_else(|| Error::invalid("a control plane needs an engine provider"))?;
        let clock = self.clock.unwrap_or_else(|| Arc::new(SystemClock::new()));
        let random = self.random.unwrap_or_else(|| Arc::new(OsRandom));
        let dialling = self.hub.is_some() || !self.listeners.is_empty();
        let hub = self
            .hub
            .unwrap_or_else(|| TunnelHub::new(Arc::clone(&clock)));
        let changed = Arc::new(tokio::sync::Notify::new());
        let state = State::new(
            scheduler,
            self.options.overcommit,
            self.options.accounting,
            self.options.explanation_capacity,
            Arc::clone(&changed),
            Waiting::new(Shares::new(
                "places",
                self.options.pending_capacity,
                self.options.pending_per_owner,
            )),
        );
        let own = Shutdown::new();
        let mut stacks = Reconciler::new((&self.options).into());
        let desired = self
            .state
            .map(|(store, prefix)| Desired::new(store, &prefix));
        if let Some(desired) = &desired {
            stacks = stacks.keep_removed();
            if self.election.is_some() {
                desired.can_fence()?;
            }
        }
        let silent_sources = self.discoveries.len().into();
        Ok(ControlPlane {
            _alive: Arc::new(super::Alive(own.clone())),
            inner: Arc::new(Inner {
                events: EventLog::new(
                    Arc::clone(&clock),
                    self.options.event_capacity,
                    self.options.event_bytes,
                ),
                cluster: Cluster::new(state),
                authorizer: self.authorizer.unwrap_or_else(|| Arc::new(DenyAll)),
                audit: self.audit.unwrap_or_else(|| Arc::new(MemoryAudit::new())),
                registries: self.registries,
                shutdown: own,
                parent: self.shutdown,
                started: false.into(),
                discoveries: self.discoveries,
                listeners: self.listeners,
                dialling,
                options: self.options,
                clock,
                random,
                engines,
                election: self.election,
                hub,
                left: tokio::sync::Notify::new(),
                stacks: stacks.into(),
                desired,
                started_at: OnceLock::new(),
                silent_sources,
                changed,
            }),
        })
    }
}
