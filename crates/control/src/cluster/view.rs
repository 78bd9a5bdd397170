use std::sync::Arc;

use longshore_core::{NodeHealth, NodeId, NodeName, Workload};

/// A container and the node it is on, as the control plane last saw them. Shared, never cloned
/// deeply; a change makes a new one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContainerView {
    /// The container; its detail is there once it was inspected.
    pub workload: Arc<Workload>,
    /// Its node.
    pub node: NodeId,
    /// Its node's name.
    pub node_name: NodeName,
    /// The host part of its node's address; empty where unknown.
    pub node_ip: String,
    /// Its node's health.
    pub node_health: NodeHealth,
    /// The identity that survives rescheduling (label `com.docker.swarm.id`).
    pub swarm_id: Option<String>,
    /// Whether its node is only held in the cluster: discovery may have lost it.
    pub stale: bool,
}

impl ContainerView {
    /// `<node>/<name>`, or `<node>/<short id>` without a name.
    pub fn display_name(&self) -> String {
        let name = self.workload.name();
        if name.is_empty() {
            let id = self.workload.id.as_str();
            format!("{}/{}", self.node_name, &id[..id.len().min(SHORT_ID)])
        } else {
            format!("{}/{name}", self.node_name)
        }
    }
}

/// Length of the short form of an id.
pub(crate) const SHORT_ID: usize = 12;

/// The label of the identity that survives rescheduling.
pub const SWARM_ID_LABEL: &str = "com.docker.swarm.id";
