//! A scheduler of a few lines: fewest containers first, whole capacity respected, `node==…`
//! understood. Enough to test what stands around it.

use std::collections::BTreeMap;

use longshore_core::{
    Availability, Change, Error, ErrorKind, Explanation, FilterFailure, NodeHealth, NodeId,
    NodeState, NodeVerdict, Operator, PlacedWorkload, Placement, PlacementRequest, Refusal,
    Reservation, ReservationId, Resources, Result, Scheduler, ScorePart, Scored, Timestamp,
    WorkloadId,
};

#[derive(Debug, Default)]
pub(crate) struct FewestFirst {
    nodes: BTreeMap<NodeId, NodeState>,
    placed: BTreeMap<(NodeId, WorkloadId), PlacedWorkload>,
    reserved: BTreeMap<ReservationId, Reservation>,
}

impl FewestFirst {
    fn used(&self, node: &NodeId) -> (usize, Resources) {
        let mut used = Resources::default();
        let mut count = 0;
        for ((on, _), workload) in &self.placed {
            if on == node {
                used.add(&workload.resources);
                count += 1;
            }
        }
        for held in self.reserved.values().filter(|held| held.node == *node) {
            used.add(&held.request.resources);
            count += 1;
        }
        (count, used)
    }

    fn failures(&self, node: &NodeState, request: &PlacementRequest) -> Vec<FilterFailure> {
        let mut failures = Vec::new();
        if node.health != NodeHealth::Healthy || node.health_indicator == 0 {
            failures.push(FilterFailure::new(
                "health",
                format!("it is {}", node.health),
            ));
        }
        if node.availability != Availability::Active {
            failures.push(FilterFailure::new("availability", "it takes no work"));
        }
        let (_, mut wanted) = self.used(&node.id);
        wanted.add(&request.resources);
        if wanted.cpu > node.capacity.cpu || wanted.memory > node.capacity.memory {
            failures.push(FilterFailure::new("resources", "it is full"));
        }
        for term in request.constraints.iter().filter(|t| t.key() == "node") {
            let here = [node.id.as_str(), node.name.as_str()]
                .iter()
                .any(|name| term.to_string().ends_with(name));
            if here != (term.operator() == Operator::Equal) {
                failures.push(FilterFailure::new("constraint", term.to_string()));
            }
        }
        failures
    }
}

impl Scheduler for FewestFirst {
    fn observe(&mut self, change: Change) -> Result<()> {
        let unknown = |node: &NodeId| Error::not_found(format!("no node {node}"));
        match change {
            Change::Node(node) => {
                self.nodes.insert(node.id.clone(), node);
            }
            Change::NodeGone(id) => {
                self.nodes.remove(&id);
                self.placed.retain(|(node, _), _| *node != id);
                self.reserved.retain(|_, held| held.node != id);
            }
            Change::Workload(workload) => {
                if !self.nodes.contains_key(&workload.node) {
                    return Err(unknown(&workload.node));
                }
                let key = (workload.node.clone(), workload.id.clone());
                self.placed.insert(key, workload);
            }
            Change::WorkloadGone(node, id) => {
                self.placed.remove(&(node, id));
            }
            Change::Reserve(held) => {
                let node = self
                    .nodes
                    .get(&held.node)
                    .ok_or_else(|| unknown(&held.node))?;
                if !self.failures(node, &held.request).is_empty() {
                    return Err(Error::new(ErrorKind::Conflict, "it no longer fits"));
                }
                self.reserved.insert(held.id.clone(), held);
            }
            Change::Release(id) => {
                self.reserved.remove(&id);
            }
            Change::Fulfil(id, workload) => {
                if self.reserved.remove(&id).is_none() {
                    return Err(Error::not_found("no such reservation"));
                }
                let key = (workload.node.clone(), workload.id.clone());
                self.placed.insert(key, workload);
            }
            Change::Tick(now) => self.reserved.retain(|_, held| held.expires > now),
            _ => {}
        }
        Ok(())
    }

    fn place(
        &self,
        request: &PlacementRequest,
        _: Timestamp,
        _: u64,
    ) -> Result<Placement, Refusal> {
        let mut ranked: Vec<Scored> = self
            .nodes
            .values()
            .filter(|node| self.failures(node, request).is_empty())
            .map(|node| {
                let (count, _) = self.used(&node.id);
                let part = ScorePart::new("containers", -(count as i64), format!("{count} there"));
                Scored::new(node.id.clone(), node.name.clone(), vec![part])
            })
            .collect();
        ranked.sort_by_key(|scored| (-scored.parts[0].points, scored.name.clone()));
        let feasible = ranked.len();
        let mut ranked = ranked.into_iter();
        let Some(first) = ranked.next() else {
            let first = |node| {
                let failures: Vec<FilterFailure> = self.failures(node, request);
                failures.into_iter().next().map(|failure| failure.filter)
            };
            let mut filters: Vec<String> = self.nodes.values().filter_map(first).collect();
            filters.sort_unstable();
            filters.dedup();
            return Err(Refusal::Unplaceable {
                message: "no resources available to schedule container".to_owned(),
                summary: String::new(),
                filters,
            });
        };
        let mut placement = Placement::new(first, self.strategy());
        placement.runners_up = ranked.collect();
        placement.feasible = feasible;
        placement.considered = self.nodes.len();
        Ok(placement)
    }

    fn explain(
        &self,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        let nodes = self
            .nodes
            .values()
            .map(|node| {
                let mut verdict = NodeVerdict::new(node.id.clone(), node.name.clone());
                verdict.failures = self.failures(node, request);
                verdict
            })
            .collect::<Vec<_>>();
        let mut explanation = Explanation::new("explained", nodes);
        match self.place(request, now, seed) {
            Ok(placement) => explanation.placement = Some(placement),
            Err(refusal) => explanation.refusal = Some(refusal.to_string()),
        }
        Ok(explanation)
    }

    fn strategy(&self) -> &str {
        "fewest-first"
    }

    fn filters(&self) -> Vec<String> {
        vec!["health".into(), "resources".into(), "constraint".into()]
    }
}
