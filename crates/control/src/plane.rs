mod builder;
mod leading;
mod members;
mod options;
mod queue;
mod run;
mod stacks;

pub(crate) use self::leading::Leadership;
pub use self::{builder::ControlPlaneBuilder, options::PlaneOptions};

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use longshore_core::{
    AuditSink, Authorizer, Availability, BoxStream, Change, Clock, Discovery, Engine,
    EngineProvider, Error, Explanation, LeaderElection, NodeId, PlacementRequest, Random, Result,
    Shutdown, Timestamp, TunnelListener, WorkloadId,
};

use tokio::sync::Notify;

use crate::{
    Admission, ClusterEvent, ContainerView, NameGuard, NodeView, Reconciler, TunnelHub,
    cluster::{Cluster, SlotId},
    event::EventLog,
    node::{self, Note},
    placement,
    registry::RegistrySource,
    stack::Desired,
};

/// A control plane: a cheap handle, clones share one state.
///
/// It holds nodes (from discovery and through the tunnel), watches their engines, answers what is
/// where, and gives leave to create work. Make one with [`builder`](Self::builder), then
/// [`start`](Self::start) it.
#[derive(Clone)]
pub struct ControlPlane {
    pub(crate) inner: Arc<Inner>,
    /// Tasks hold `Inner`, never this: with the last handle they end.
    _alive: Arc<Alive>,
}

struct Alive(Shutdown);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.trigger();
    }
}

pub(crate) struct Inner {
    pub(crate) options: PlaneOptions,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) audit: Arc<dyn AuditSink>,
    /// Where stacks get credentials for registries from, if anywhere.
    pub(crate) registries: Option<Arc<dyn RegistrySource>>,
    pub(crate) engines: Arc<dyn EngineProvider>,
    pub(crate) election: Option<Arc<dyn LeaderElection>>,
    pub(crate) discoveries: Vec<Arc<dyn Discovery>>,
    pub(crate) listeners: Vec<Arc<dyn TunnelListener>>,
    /// Whether nodes may dial in.
    pub(crate) dialling: bool,
    pub(crate) shutdown: Shutdown,
    pub(crate) parent: Option<Shutdown>,
    pub(crate) started: AtomicBool,
    pub(crate) cluster: Cluster,
    pub(crate) events: EventLog,
    pub(crate) hub: TunnelHub,
    /// Told when a node's driver has ended.
    pub(crate) left: Notify,
    /// Told of every change of the cluster and of what is desired.
    pub(crate) changed: Arc<Notify>,
    pub(crate) stacks: Mutex<Reconciler>,
    /// Where the stacks are kept, if not only here.
    pub(crate) desired: Option<Desired>,
    /// When the tasks were started.
    pub(crate) started_at: OnceLock<Timestamp>,
    /// How many discovery backends have not yet given their first set.
    pub(crate) silent_sources: AtomicUsize,
}

impl Inner {
    pub(crate) fn stacks(&self) -> MutexGuard<'_, Reconciler> {
        self.stacks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn started_at(&self) -> Timestamp {
        *self.started_at.get_or_init(|| self.clock.now())
    }

    /// Whether every discovery backend has told who is there.
    pub(crate) fn membership_known(&self) -> bool {
        self.silent_sources.load(Ordering::Relaxed) == 0
    }
}

impl ControlPlane {
    /// Begins to compose one.
    pub fn builder() -> ControlPlaneBuilder {
        ControlPlaneBuilder::default()
    }

    /// Starts its tasks: discovery watches, tunnel listeners, node drivers, the reconciler. Must be
    /// called within a tokio runtime; calling it again changes nothing.
    pub fn start(&self) {
        let inner = &self.inner;
        if inner.started.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(parent) = &inner.parent {
            let (requested, own) = (parent.requested(), inner.shutdown.clone());
            let (clock, limit) = (Arc::clone(&inner.clock), inner.options.shutdown_limit);
            parent.spawn(async move {
                tokio::select! {
                    () = requested => {}
                    () = own.requested() => {}
                }
                own.finish(&*clock, limit).await;
            });
        }
        let _ = inner.started_at();
        inner.start();
    }

    /// Asks all tasks to end and waits for them, at most for
    /// [`shutdown_limit`](PlaneOptions::shutdown_limit). Says whether all ended. Running containers
    /// are not touched.
    pub async fn stop(&self) -> bool {
        let inner = &self.inner;
        inner
            .shutdown
            .finish(&*inner.clock, inner.options.shutdown_limit)
            .await
    }

    /// All nodes in natural order of their names, pending ones included.
    pub fn nodes(&self) -> Vec<NodeView> {
        self.inner.cluster.lock().views()
    }

    /// A node by id, name or address. A name that several nodes hold finds none.
    pub fn node(&self, reference: &str) -> Option<NodeView> {
        let state = self.inner.cluster.lock();
        state.view(state.find_node(reference)?)
    }

    /// All containers, newest first. As long as nothing changes, each call gives the same
    /// allocation, so callers may cache what they derive from it ([`Arc::ptr_eq`]).
    pub fn containers(&self) -> Arc<[Arc<ContainerView>]> {
        self.inner.cluster.lock().listing()
    }

    /// A container by full or 12-character id or swarm id, by name (`name`, `/name`,
    /// `<engine id>/name`, `<engine name>/name`), or by a unique prefix of an id or swarm id.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound), or
    /// [`ErrorKind::Ambiguous`](longshore_core::ErrorKind::Ambiguous) with the candidates.
    pub fn container(&self, reference: &str) -> Result<Arc<ContainerView>> {
        self.inner.cluster.lock().find(reference)
    }

    /// Finds a node for a new workload and holds room on it and the name in the whole cluster, in
    /// one step. `name` wins over the request's own.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](longshore_core::ErrorKind::AlreadyExists) in Swarm's words when
    /// the name is taken; [`ErrorKind::Unplaceable`](longshore_core::ErrorKind::Unplaceable) when no
    /// node can take it; [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) when
    /// the request is wrong.
    ///
    /// # Cancel safety
    /// Safe: what was held is released.
    #[expect(clippy::unused_async, reason = "a replicated store will be asked here")]
    pub async fn admit(&self, request: &PlacementRequest, name: Option<&str>) -> Result<Admission> {
        Admission::take(&self.inner, queue::named(request, name))
    }

    /// Holds a container name for the whole cluster, for a rename.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`](longshore_core::ErrorKind::AlreadyExists) in Swarm's words.
    pub fn reserve_name(&self, name: &str) -> Result<NameGuard> {
        NameGuard::take(&self.inner, name)
    }

    /// What [`admit`](Self::admit) would do now, node by node, without holding anything.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) when the request is
    /// wrong.
    pub fn explain(&self, request: &PlacementRequest) -> Result<Explanation> {
        let inner = &self.inner;
        let (now, seed) = (inner.clock.now(), inner.random.next_u64());
        inner.cluster.lock().explain(request, now, seed)
    }

    /// As [`explain`](Self::explain), as if these changes had happened: a node more, say. Nothing
    /// changes.
    ///
    /// # Errors
    /// As for [`explain`](Self::explain), for the changes themselves, and
    /// [`ErrorKind::Unsupported`](longshore_core::ErrorKind::Unsupported) if the scheduler answers
    /// no what-if.
    pub fn explain_after(
        &self,
        changes: Vec<Change>,
        request: &PlacementRequest,
    ) -> Result<Explanation> {
        let inner = &self.inner;
        let (now, seed) = (inner.clock.now(), inner.random.next_u64());
        let mut state = inner.cluster.lock();
        state.explain_after(changes, request, now, seed)
    }

    /// Why a container is where it is: kept from the time of its placement, or, for one that was
    /// not placed by this control plane, what would be decided for it now.
    ///
    /// # Errors
    /// As for [`container`](Self::container).
    pub fn explain_container(&self, reference: &str) -> Result<Explanation> {
        let inner = &self.inner;
        let (now, seed) = (inner.clock.now(), inner.random.next_u64());
        let mut state = inner.cluster.lock();
        let view = state.find(reference)?;
        if let Some(kept) = state.kept_explanation(&view.workload.id) {
            return Ok(kept);
        }
        let request = placement::request_of(&view.workload, &view.node);
        let mut explanation = state.explain_anew(&view, &request, now, seed)?;
        explanation.summary = format!(
            "{} was not placed by this control plane; placed now: {}",
            view.display_name(),
            explanation.summary
        );
        Ok(explanation)
    }

    /// Looks at one container now, after a call that changed it. `None`: it is gone.
    ///
    /// # Errors
    /// The node is unknown or its engine can't be asked.
    ///
    /// # Cancel safety
    /// Safe: the view stays as it was.
    pub async fn observe_now(
        &self,
        node: &NodeId,
        id: &WorkloadId,
    ) -> Result<Option<Arc<ContainerView>>> {
        let inner = &self.inner;
        let (slot, engine) = self.reach(node)?;
        let started = inner.clock.now();
        let outcome = node::observe(inner, slot, &*engine, id).await;
        self.report(node, started, outcome.as_ref().copied());
        outcome?;
        Ok(inner.cluster.lock().container_on(slot, id))
    }

    /// Lists all containers and images of a node now.
    ///
    /// # Errors
    /// The node is unknown or its engine can't be asked.
    ///
    /// # Cancel safety
    /// Safe: the view stays as it was.
    pub async fn refresh_node(&self, node: &NodeId) -> Result<()> {
        let (slot, engine) = self.reach(node)?;
        let started = self.inner.clock.now();
        let outcome = node::refresh(&self.inner, slot, &*engine).await;
        self.report(node, started, outcome.as_ref().copied());
        outcome
    }

    /// Tells of a call to a node that was made past the control plane's own tasks (a proxied
    /// request): a failed connection counts for the node's health, an answer (of any status)
    /// speaks for it. `started` is when the call began.
    pub fn report(&self, node: &NodeId, started: Timestamp, outcome: Result<(), &Error>) {
        let note = match outcome {
            Err(error) if node::is_connection_failure(error) => Note::Failed {
                started,
                error: error.chain(),
            },
            _ => Note::Answered,
        };
        let inbox = {
            let state = self.inner.cluster.lock();
            let known = matches!(note, Note::Answered).then(|| self.inner.clock.now());
            let slot = state.slot_of(node);
            // One good answer after the other is no news.
            slot.filter(|slot| known.is_none_or(|now| !state.is_known_sound(*slot, now)))
                .and_then(|slot| state.inbox(slot))
        };
        let Some(inbox) = inbox else {
            return;
        };
        // A full inbox means that it is told of plenty already.
        let _ = inbox.try_send(note);
    }

    fn reach(&self, node: &NodeId) -> Result<(SlotId, Arc<dyn Engine>)> {
        let state = self.inner.cluster.lock();
        let slot = state
            .slot_of(node)
            .ok_or_else(|| Error::not_found(format!("No such node: {node}")))?;
        let engine = state
            .view(slot)
            .and_then(|view| view.engine)
            .ok_or_else(|| Error::unavailable(format!("node {node} has no engine yet")))?;
        Ok((slot, engine))
    }

    /// Says whether a node takes new work.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) for an unknown node.
    pub fn set_availability(&self, reference: &str, availability: Availability) -> Result<()> {
        let mut state = self.inner.cluster.lock();
        let id = state
            .find_node(reference)
            .and_then(|slot| state.view(slot)?.id)
            .ok_or_else(|| Error::not_found(format!("No such node: {reference}")))?;
        state.set_availability(&id, availability);
        Ok(())
    }

    /// Events since a time of this control plane's clock, as far back as they are kept, then new
    /// ones; `None`: new ones only. A slow reader finds [`ClusterEvent::Lost`] in its stream, and
    /// holds up nobody.
    pub fn events(&self, since: Option<Timestamp>) -> BoxStream<ClusterEvent> {
        self.inner.events.read(since)
    }

    /// The strategy's name and the filters' names, for `docker info`.
    pub fn scheduler_info(&self) -> (String, Vec<String>) {
        let state = self.inner.cluster.lock();
        let scheduler = state.scheduler();
        (scheduler.strategy().to_owned(), scheduler.filters())
    }

    /// The nodes that dialled in.
    pub fn hub(&self) -> &TunnelHub {
        &self.inner.hub
    }

    /// Its options.
    pub fn options(&self) -> &PlaneOptions {
        &self.inner.options
    }

    /// Its clock.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    /// Its randomness.
    pub fn random(&self) -> &Arc<dyn Random> {
        &self.inner.random
    }

    /// Who says who may do what.
    pub fn authorizer(&self) -> &Arc<dyn Authorizer> {
        &self.inner.authorizer
    }

    /// Where mutating calls and sessions are recorded.
    pub fn audit(&self) -> &Arc<dyn AuditSink> {
        &self.inner.audit
    }

    /// The tree of its tasks; an endpoint runs in a child of it.
    pub fn shutdown(&self) -> &Shutdown {
        &self.inner.shutdown
    }
}

impl fmt::Debug for ControlPlane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlPlane")
            .field("cluster", &*self.inner.cluster.lock())
            .finish_non_exhaustive()
    }
}
