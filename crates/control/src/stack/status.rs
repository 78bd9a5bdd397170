use longshore_core::{NodeId, Result, ServiceName, Timestamp, WorkloadId, WorkloadState};
use serde::Serialize;

use super::{Observed, Reconciler, Slot, machine::SlotStatus, machine::no_stack};

/// How a stack is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StackStatus {
    /// Its name.
    pub name: ServiceName,
    /// Whether it is being removed.
    pub removing: bool,
    /// Its services, in order of dependency.
    pub services: Vec<ServiceStatus>,
    /// Nodes whose work is not replaced because too many were lost at once.
    pub held_nodes: Vec<String>,
}

impl StackStatus {
    /// Whether all instances are ready.
    pub fn is_ready(&self) -> bool {
        !self.removing
            && self
                .services
                .iter()
                .all(|service| service.ready == service.replicas)
    }
}

/// How a service is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ServiceStatus {
    /// Its name.
    pub name: ServiceName,
    /// How many instances are desired.
    pub replicas: u32,
    /// How many are ready.
    pub ready: u32,
    /// Its instances, in order.
    pub instances: Vec<InstanceStatus>,
}

/// How an instance is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InstanceStatus {
    /// From 1.
    pub index: u32,
    /// Its epoch: 1 for the first, one more after every move.
    pub epoch: u64,
    /// The node that it is on.
    pub node: Option<NodeId>,
    /// That node's name.
    pub node_name: Option<String>,
    /// The container.
    pub workload: Option<WorkloadId>,
    /// Its state, as last seen.
    pub state: Option<WorkloadState>,
    /// Whether it is ready.
    pub ready: bool,
    /// What goes on with it, or what it waits for; empty if nothing.
    pub note: String,
    /// Why it is where it is.
    pub placement: Option<String>,
}

impl Reconciler {
    /// How a stack is doing.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](longshore_core::ErrorKind::NotFound) if there is no such stack.
    pub fn status(&self, name: &str, observed: &Observed, now: Timestamp) -> Result<StackStatus> {
        let (stack, removing) = self.stack(name).ok_or_else(|| no_stack(name))?;
        let mut services = Vec::new();
        for service in &stack.ordered {
            let slots = (1..=service.replicas).map(|index| Slot::new(&stack.name, service, index));
            let instances: Vec<InstanceStatus> = self
                .slot_statuses(slots, observed, now)
                .into_iter()
                .map(|status| self.instance_status(status, observed))
                .collect();
            let ready = instances.iter().filter(|instance| instance.ready).count();
            services.push(ServiceStatus {
                name: service.name.clone(),
                replicas: service.replicas,
                ready: u32::try_from(ready).unwrap_or(u32::MAX),
                instances,
            });
        }
        Ok(StackStatus {
            name: stack.name.clone(),
            removing,
            services,
            held_nodes: self.held_nodes(),
        })
    }

    fn instance_status(&self, status: SlotStatus, observed: &Observed) -> InstanceStatus {
        let SlotStatus {
            slot,
            epoch,
            instance,
            ready,
            note,
        } = status;
        let node_name = instance.as_ref().map(|instance| {
            observed
                .nodes
                .iter()
                .find(|node| node.id.as_ref() == Some(&instance.node))
                .map_or_else(|| instance.node.to_string(), |node| node.name.clone())
        });
        InstanceStatus {
            index: slot.index,
            epoch,
            node_name,
            node: instance.as_ref().map(|instance| instance.node.clone()),
            workload: instance.as_ref().map(|instance| instance.id.clone()),
            state: instance.as_ref().map(|instance| instance.state),
            ready,
            note,
            placement: None,
        }
    }
}
