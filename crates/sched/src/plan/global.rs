use longshore_core::{
    Availability, Error, NodeId, NodeVerdict, PlacementRequest, Result, WorkloadId,
};

use crate::{
    fact::Case,
    filter::{Beyond, FilterName, Stage},
    index::Node,
    scheduler::ClusterScheduler,
};

/// What is to do so that a global service runs once on every node that takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GlobalPlan {
    /// Nodes that take it and lack it, by name.
    pub missing: Vec<NodeId>,
    /// Nodes that have it and may keep it.
    pub present: Vec<NodeId>,
    /// What is too much: a second replica on a node, or one where the service does not belong any
    /// more (a constraint, a whitelist, platform, tenant, or because the node is drained).
    pub surplus: Vec<(NodeId, WorkloadId)>,
    /// Nodes that do not take it, and why.
    pub refused: Vec<NodeVerdict>,
}

impl ClusterScheduler {
    /// Compares where a global service is with where it belongs: one on every node that takes it
    /// (Swarm issues #601 and #677; SwarmKit's global services). The request names the service.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) without a service, or
    /// if the request itself is wrong.
    pub fn plan_global(&self, request: &PlacementRequest) -> Result<GlobalPlan> {
        let Some(service) = &request.service else {
            return Err(Error::invalid(
                "a request without a service can't be placed everywhere",
            ));
        };
        let demand = self.compile(request).map_err(Error::invalid)?;
        let case = Case::of(&demand, self.pipeline());
        let mut plan = GlobalPlan::default();
        for node in self.index().in_order() {
            let mut here: Vec<&WorkloadId> = node
                .workloads()
                .iter()
                .filter(|workload| {
                    workload.load.profile.service.as_deref() == Some(service.as_str())
                })
                .map(|workload| &workload.id)
                .collect();
            here.sort();
            let id = node.state.id.clone();
            if here.is_empty() && node.replicas(service.as_str()) == 0 {
                match self.admits(&demand, node) {
                    true => plan.missing.push(id),
                    false => plan.refused.push(self.verdict(&case, &demand, node)),
                }
                continue;
            }
            let belongs = node.state.availability != Availability::Draining
                && !self
                    .refusing(&demand, node)
                    .iter()
                    .any(|stage| says_where(*stage));
            let mut extra = here.into_iter();
            if belongs {
                extra.next();
                plan.present.push(id);
            } else {
                plan.refused.push(self.verdict(&case, &demand, node));
            }
            plan.surplus
                .extend(extra.map(|workload| (node.state.id.clone(), workload.clone())));
        }
        Ok(plan)
    }

    fn refusing(&self, demand: &crate::demand::Demand<'_>, node: &Node) -> Vec<Stage> {
        let mut refusing = Vec::new();
        self.pipeline().refusals(demand, node, |at, _| {
            refusing.push(self.pipeline().stages()[at]);
        });
        refusing
    }
}

/// Whether a filter is about where work belongs, not about what is free.
fn says_where(stage: Stage) -> bool {
    matches!(
        stage,
        Stage::Filter(FilterName::Constraint | FilterName::Whitelist)
            | Stage::Beyond(Beyond::Platform | Beyond::Tenant)
    )
}
