//! A scheduler of a few lines: fewest containers first; `node==` and `image==` understood, soft
//! terms as a preference.

use std::collections::BTreeMap;

use longshore_core::{
    Change, Error, Explanation, Expression, FilterFailure, NodeHealth, NodeId, NodeState,
    NodeVerdict, Operator, Pattern, PlacedWorkload, Placement, PlacementRequest, Refusal,
    Reservation, ReservationId, Resources, Result, Scheduler, ScorePart, Scored, Timestamp,
    WorkloadId,
};

#[derive(Debug, Default)]
pub(crate) struct Fewest {
    nodes: BTreeMap<NodeId, NodeState>,
    placed: BTreeMap<(NodeId, WorkloadId), PlacedWorkload>,
    reserved: BTreeMap<ReservationId, Reservation>,
    /// Whether it failed already on what has the label `odd`.
    failed: bool,
}

impl Fewest {
    fn holds(&self, node: &NodeState, term: &Expression) -> bool {
        let candidates: Vec<String> = match term.key() {
            "node" => vec![node.id.to_string(), node.name.to_string()],
            "image" => node
                .images
                .iter()
                .flat_map(|image| [image.clone(), image.split(':').next().unwrap().to_owned()])
                .collect(),
            key => node
                .labels
                .get(key)
                .map(str::to_owned)
                .into_iter()
                .collect(),
        };
        let matches = match term.pattern() {
            Pattern::Regex(text) => {
                let regex = regex::Regex::new(text).unwrap();
                candidates.iter().any(|candidate| regex.is_match(candidate))
            }
            _ => candidates.contains(&term.value()),
        };
        matches == (term.operator() == Operator::Equal)
    }

    fn failures(&self, node: &NodeState, request: &PlacementRequest) -> Vec<FilterFailure> {
        let mut failures = Vec::new();
        if node.health != NodeHealth::Healthy {
            failures.push(FilterFailure::new("health", "it is down"));
        }
        let mut wanted = Resources::default();
        for held in self.reserved.values().filter(|held| held.node == node.id) {
            wanted.add(&held.request.resources);
        }
        wanted.add(&request.resources);
        if wanted.cpu > node.capacity.cpu || wanted.memory > node.capacity.memory {
            failures.push(FilterFailure::new("resources", "it is full"));
        }
        let runs = request.platforms.iter().any(|platform| {
            let is = |key, wanted: &str| node.labels.get(key) == Some(wanted);
            is("ostype", &platform.os) && is("architecture", &platform.architecture)
        });
        if !request.platforms.is_empty() && !runs {
            failures.push(FilterFailure::new("platform", "it runs elsewhere"));
        }
        let terms = request.constraints.iter().chain(&request.affinities);
        for term in terms.filter(|term| !term.is_soft()) {
            if !self.holds(node, term) {
                failures.push(FilterFailure::new("constraint", term.to_string()));
            }
        }
        failures
    }

    fn rank(&self, node: &NodeState, request: &PlacementRequest) -> i64 {
        let placed = self.placed.keys().filter(|(on, _)| *on == node.id).count();
        let reserved = self.reserved.values().filter(|held| held.node == node.id);
        let wishes = request
            .constraints
            .iter()
            .filter(|term| term.is_soft() && self.holds(node, term))
            .count();
        wishes as i64 * 1000 - (placed + reserved.count()) as i64
    }
}

impl Scheduler for Fewest {
    fn observe(&mut self, change: Change) -> Result<()> {
        match change {
            Change::Node(node) => {
                self.nodes.insert(node.id.clone(), node);
            }
            Change::NodeGone(id) => {
                self.nodes.remove(&id);
                self.placed.retain(|(node, _), _| *node != id);
            }
            Change::Workload(workload) => {
                self.placed
                    .insert((workload.node.clone(), workload.id.clone()), workload);
            }
            Change::WorkloadGone(node, id) => {
                self.placed.remove(&(node, id));
            }
            Change::Reserve(held)
                if held.request.labels.get("odd").is_some()
                    && !std::mem::replace(&mut self.failed, true) =>
            {
                return Err(Error::internal("the scheduler hiccups"));
            }
            Change::Reserve(held) => {
                self.reserved.insert(held.id.clone(), held);
            }
            Change::Release(id) => {
                self.reserved.remove(&id);
            }
            Change::Fulfil(id, workload) => {
                self.reserved.remove(&id);
                self.placed
                    .insert((workload.node.clone(), workload.id.clone()), workload);
            }
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
        let mut ranked: Vec<(i64, Scored)> = self
            .nodes
            .values()
            .filter(|node| self.failures(node, request).is_empty())
            .map(|node| {
                let rank = self.rank(node, request);
                let part = ScorePart::new("containers", rank, "fewest containers");
                let scored = Scored::new(node.id.clone(), node.name.clone(), vec![part]);
                (rank, scored)
            })
            .collect();
        ranked.sort_by_key(|(rank, scored)| (-rank, scored.name.clone()));
        let feasible = ranked.len();
        let mut ranked = ranked.into_iter().map(|(_, scored)| scored);
        let Some(first) = ranked.next() else {
            return Err(Refusal::Unplaceable {
                message: "Unable to find a node that satisfies the following conditions \n[x]"
                    .to_owned(),
                summary: "2 nodes refused by constraint".to_owned(),
                filters: Vec::new(),
            });
        };
        let mut placement = Placement::new(first, "fewest");
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
        let verdicts = self
            .nodes
            .values()
            .map(|node| {
                let mut verdict = NodeVerdict::new(node.id.clone(), node.name.clone());
                verdict.failures = self.failures(node, request);
                verdict
            })
            .collect::<Vec<_>>();
        let mut explanation = Explanation::new("explained", verdicts);
        match self.place(request, now, seed) {
            Ok(placement) => explanation.placement = Some(placement),
            Err(refusal) => explanation.refusal = Some(refusal.to_string()),
        }
        Ok(explanation)
    }

    fn explain_after(
        &self,
        changes: Vec<Change>,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        let mut copy = Self {
            nodes: self.nodes.clone(),
            placed: self.placed.clone(),
            reserved: self.reserved.clone(),
            failed: self.failed,
        };
        for change in changes {
            copy.observe(change)?;
        }
        copy.explain(request, now, seed)
    }

    fn strategy(&self) -> &str {
        "fewest"
    }

    fn filters(&self) -> Vec<String> {
        vec!["health".to_owned(), "constraint".to_owned()]
    }
}
