//! A control plane out of longshore's traits: node lifecycle, cluster view, placement with
//! reservations, a reconciler for stacks, audit, and a Docker-compatible endpoint.
//!
//! It knows no backend: discovery, scheduler, engines, tunnel and authorization come as trait
//! objects. Its view is rebuilt from the engines, so a restart leaves running containers alone. It
//! is not a store and not an election: without a [`KvStore`](longshore_core::KvStore) of yours
//! ([`ControlPlaneBuilder::state`]) what is desired of stacks lives as long as the process, and
//! without a [`LeaderElection`](longshore_core::LeaderElection) of yours one control plane is all
//! there may be. It takes no decision about where work goes, either: that is
//! the [`Scheduler`](longshore_core::Scheduler).
//!
//! # Compose one
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use longshore_control::{ControlPlane, PlaneOptions};
//! use longshore_core::{AllowAll, Discovery, EngineProvider, PlacementRequest, Scheduler};
//!
//! # async fn compose(
//! #     discovery: Arc<dyn Discovery>,
//! #     engines: Arc<dyn EngineProvider>,
//! #     scheduler: Box<dyn Scheduler>,
//! # ) -> longshore_core::Result<()> {
//! let plane = ControlPlane::builder()
//!     .discovery(discovery)
//!     .engines(engines)
//!     .scheduler(scheduler)
//!     .authorizer(Arc::new(AllowAll))
//!     .options(PlaneOptions::default().with_overcommit(0.0))
//!     .build()?;
//! plane.start();
//!
//! // Leave to create: room on a node and the name in the whole cluster, held until it is dropped.
//! let admission = plane.admit(&PlacementRequest::new("nginx"), Some("web")).await?;
//! let why = admission.placement().reason();
//! plane.stop().await;
//! # Ok(())
//! # }
//! ```
//!
//! # The parts are pure
//!
//! What decides is free of I/O and time, for example the [`Reconciler`]:
//!
//! ```
//! use longshore_control::{
//!     ActionKind, Observed, ObservedNode, PlaneOptions, Reconciler, ServiceSpec, StackSpec,
//! };
//! use longshore_core::{Timestamp, WorkloadSpec};
//!
//! # fn main() -> longshore_core::Result<()> {
//! let web = ServiceSpec::new("web".parse()?, WorkloadSpec::new("nginx")).with_replicas(2);
//! let mut reconciler = Reconciler::new((&PlaneOptions::default()).into());
//! reconciler.deploy(StackSpec::new("shop".parse()?, vec![web]))?;
//!
//! let now = Timestamp::from_secs(1_790_000_000);
//! let node = ObservedNode::up("N1".parse()?, "node-1", now);
//! let actions = reconciler.reconcile(&Observed::new(vec![node], vec![]), now);
//! assert_eq!(actions.len(), 2);
//! assert!(matches!(actions[0].kind, ActionKind::Create(_)));
//! # Ok(())
//! # }
//! ```

mod audit;
mod cluster;
mod devices;
#[cfg(feature = "endpoint")]
pub mod endpoint;
mod event;
mod hub;
mod node;
mod pending;
mod placement;
mod plane;
mod registry;
mod reservation;
mod stack;

pub use audit::{AuditRecord, FileAudit, MemoryAudit, verify_chain};
pub use cluster::{ContainerView, SWARM_ID_LABEL};
pub use event::{ClusterEvent, NodeEventKind};
pub use hub::{HubOptions, TunnelHub, TunnelSession};
pub use longshore_core::Availability;
pub use node::{ApiVersion, ClockSkew, ContainerCounts, NodeRef, NodeView};
pub use pending::{Pending, PendingView};
pub use placement::Accounting;
pub use plane::{ControlPlane, ControlPlaneBuilder, PlaneOptions};
pub use registry::{DockerConfigFiles, RegistrySource};
pub use reservation::{Admission, NameGuard};
pub use stack::{
    ActionKind, ActionOutcome, Instance, InstanceStatus, NodeCondition, Observed, ObservedNode,
    ReconcileAction, Reconciler, ServiceSpec, ServiceStatus, Slot, StackPolicy, StackSpec,
    StackStatus,
};
