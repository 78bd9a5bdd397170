//! A control plane out of longshore's traits: node lifecycle, cluster view, placement with
//! reservations, a reconciler for stacks, audit, and a Docker-compatible endpoint.
//!
//! It knows no backend: discovery, scheduler, engines, tunnel and authorization come as trait
//! objects. It keeps no state of its own that a restart could lose: the view is rebuilt from the
//! engines, and running containers are left alone. It is not a store, not an election, and it
//! takes no decision about where work goes: that is the [`Scheduler`](longshore_core::Scheduler).

mod audit;
mod cluster;
#[cfg(feature = "endpoint")]
pub mod endpoint;
mod event;
mod hub;
mod node;
mod placement;
mod plane;
mod reservation;
mod stack;

pub use audit::{AuditRecord, FileAudit, MemoryAudit, verify_chain};
pub use cluster::{ContainerView, SWARM_ID_LABEL};
pub use event::{ClusterEvent, NodeEventKind};
pub use hub::{HubOptions, TunnelHub, TunnelSession};
pub use longshore_core::Availability;
pub use node::{ApiVersion, ClockSkew, ContainerCounts, NodeRef, NodeView};
pub use plane::{ControlPlane, ControlPlaneBuilder, PlaneOptions};
pub use reservation::{Admission, NameGuard};
pub use stack::{
    ActionKind, ActionOutcome, Instance, InstanceStatus, NodeCondition, Observed, ObservedNode,
    ReconcileAction, Reconciler, ServiceSpec, ServiceStatus, Slot, StackPolicy, StackSpec,
    StackStatus,
};
