use longshore_core::{NodeHealth, NodeId, RestartPolicy, Timestamp, WorkloadId, WorkloadState};

use super::{Slot, labels};
use crate::ContainerView;

/// What is known of a node, for reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NodeCondition {
    /// It answers. `suspect`: not all its last probes were answered.
    Up {
        /// Not all its last probes were answered.
        suspect: bool,
    },
    /// It stopped answering at that time; what it runs is as it was last seen.
    Lost {
        /// When.
        since: Timestamp,
    },
    /// It was announced and never reached: nobody knows what it runs.
    Unknown,
}

/// A node, for reconciliation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObservedNode {
    /// Its identity, if it was ever reached.
    pub id: Option<NodeId>,
    /// Its name; its address while it was never reached.
    pub name: String,
    /// Its condition.
    pub condition: NodeCondition,
    /// When the last full listing of it began.
    pub listed_at: Option<Timestamp>,
}

impl ObservedNode {
    /// A node that answers, listed at that time.
    pub fn up(id: NodeId, name: impl Into<String>, listed_at: Timestamp) -> Self {
        Self {
            id: Some(id),
            name: name.into(),
            condition: NodeCondition::Up { suspect: false },
            listed_at: Some(listed_at),
        }
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self.condition, NodeCondition::Up { .. })
    }
}

/// An instance that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Instance {
    /// Its place.
    pub slot: Slot,
    /// Its epoch.
    pub epoch: u64,
    /// Hash of the specification that it was made from.
    pub fingerprint: String,
    /// Where it is.
    pub node: NodeId,
    /// The container.
    pub id: WorkloadId,
    /// Its state, as last seen.
    pub state: WorkloadState,
    /// Whether its own health check, if it has one, is content.
    pub healthy: bool,
    /// Whether it ended with code 0.
    pub succeeded: bool,
    /// What happens when it ends.
    pub restart: RestartPolicy,
}

impl Instance {
    /// An instance in a state, with no health check.
    pub fn new(
        slot: Slot,
        epoch: u64,
        fingerprint: impl Into<String>,
        node: NodeId,
        id: WorkloadId,
        state: WorkloadState,
    ) -> Self {
        Self {
            slot,
            epoch,
            fingerprint: fingerprint.into(),
            node,
            id,
            state,
            healthy: true,
            succeeded: false,
            restart: RestartPolicy::Never,
        }
    }

    pub(super) fn read(view: &ContainerView) -> Option<Self> {
        let workload = &view.workload;
        let (slot, epoch, fingerprint) = labels::read(&workload.labels)?;
        let detail = workload.detail.as_ref();
        Some(Self {
            slot,
            epoch,
            fingerprint,
            node: view.node.clone(),
            id: workload.id.clone(),
            state: workload.state,
            healthy: detail.is_none_or(|detail| matches!(&*detail.health, "" | "none" | "healthy")),
            succeeded: detail
                .and_then(|detail| detail.exit.as_ref())
                .is_some_and(longshore_core::ExitStatus::is_success),
            restart: detail.map(|detail| detail.restart).unwrap_or_default(),
        })
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(
            self.state,
            WorkloadState::Running | WorkloadState::Paused | WorkloadState::Restarting
        )
    }
}

/// The cluster at one moment, as far as stacks are concerned.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Observed {
    /// The nodes.
    pub nodes: Vec<ObservedNode>,
    /// The instances, those on lost nodes as they were last seen.
    pub instances: Vec<Instance>,
    /// Whether every announced node had its chance to be reached since the start. Before, what is
    /// not seen may still be there.
    pub settled: bool,
    /// Whether no node can be missing: every node that may run something is among `nodes`. Until
    /// then nothing is made that may run once only.
    pub complete: bool,
}

impl Observed {
    /// Nodes and instances, after the start is over.
    pub fn new(nodes: Vec<ObservedNode>, instances: Vec<Instance>) -> Self {
        Self {
            nodes,
            instances,
            settled: true,
            complete: true,
        }
    }
}

pub(super) fn condition(health: NodeHealth, since: Timestamp, indicator: u8) -> NodeCondition {
    match health {
        NodeHealth::Healthy => NodeCondition::Up {
            suspect: indicator < 100,
        },
        NodeHealth::Unhealthy | NodeHealth::Disconnected => NodeCondition::Lost { since },
        _ => NodeCondition::Unknown,
    }
}
