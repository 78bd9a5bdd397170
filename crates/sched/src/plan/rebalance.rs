use std::cmp::Reverse;

use longshore_core::{
    Bytes, Change, NodeId, PlacedWorkload, PlacementRequest, Result, Scheduler, Timestamp,
    WorkloadId,
};

use crate::{
    index::{Node, Workload},
    resource::Resource,
    scheduler::ClusterScheduler,
};

/// Moves that would even out how full nodes are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RebalancePlan {
    /// In the order in which each is possible.
    pub moves: Vec<Move>,
    /// By how many thousandths the fullest open node is fuller than the emptiest, now.
    pub spread_before: u64,
    /// And after the moves.
    pub spread_after: u64,
    /// What the moves cost: the memory of all that is restarted elsewhere.
    pub cost: Bytes,
}

/// One workload that would start elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Move {
    /// Which.
    pub workload: WorkloadId,
    /// Where it is.
    pub from: NodeId,
    /// Where it would go.
    pub to: NodeId,
    /// Its memory.
    pub cost: Bytes,
}

/// How much a rebalancing may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RebalanceLimits {
    /// At most this many moves.
    pub moves: usize,
    /// A move must take the fuller node of the two down by at least so many thousandths.
    pub gain: u64,
}

/// Ten moves that gain 5 % each.
impl Default for RebalanceLimits {
    fn default() -> Self {
        Self {
            moves: 10,
            gain: 50,
        }
    }
}

impl RebalanceLimits {
    /// Sets how many moves.
    #[must_use]
    pub fn with_moves(mut self, moves: usize) -> Self {
        self.moves = moves;
        self
    }

    /// Sets what a move must gain, in thousandths.
    #[must_use]
    pub fn with_gain(mut self, gain: u64) -> Self {
        self.gain = gain;
        self
    }
}

impl ClusterScheduler {
    /// Plans moves from the fullest nodes, the cheapest workload that helps first, each to the node
    /// where it would be placed now. Nothing is moved by itself.
    ///
    /// `request_of` tells what a workload asked for, so that the new place fulfils it too; what it
    /// does not know stays. A node's fullness is the larger part of its CPU and memory. Works on a
    /// copy, which costs time in proportion to the cluster.
    ///
    /// # Errors
    /// As for [`place`](Scheduler::place), if `request_of` gives a wrong request.
    pub fn plan_rebalance(
        &self,
        limits: RebalanceLimits,
        now: Timestamp,
        seed: u64,
        request_of: &dyn Fn(&NodeId, &WorkloadId) -> Option<PlacementRequest>,
    ) -> Result<RebalancePlan> {
        let mut copy = self.clone();
        let mut plan = RebalancePlan {
            spread_before: copy.spread(),
            ..RebalancePlan::default()
        };
        while plan.moves.len() < limits.moves {
            let Some(step) = copy.best_move(limits, now, seed, &|node, id| {
                // None moves twice: it would be restarted for nothing.
                let stays = plan.moves.iter().any(|done| done.workload == *id);
                if stays { None } else { request_of(node, id) }
            })?
            else {
                break;
            };
            plan.cost += step.cost;
            plan.moves.push(step);
        }
        plan.spread_after = copy.spread();
        Ok(plan)
    }

    /// Makes the first move that gains enough, here.
    fn best_move(
        &mut self,
        limits: RebalanceLimits,
        now: Timestamp,
        seed: u64,
        request_of: &dyn Fn(&NodeId, &WorkloadId) -> Option<PlacementRequest>,
    ) -> Result<Option<Move>> {
        let mut nodes: Vec<(Reverse<u64>, u64, NodeId)> = self
            .index()
            .nodes()
            .map(|node| (Reverse(fullness(node)), node.rank, node.state.id.clone()))
            .collect();
        nodes.sort();
        for (Reverse(before), _, from) in nodes {
            if before < limits.gain {
                break;
            }
            let mut here: Vec<PlacedWorkload> = match self.index().node(&from) {
                Some(node) => node.workloads().iter().map(|w| placed(w, &from)).collect(),
                None => Vec::new(),
            };
            here.sort_by(|a, b| (a.resources.memory, &a.id).cmp(&(b.resources.memory, &b.id)));
            for original in here {
                let Some(mut request) = request_of(&from, &original.id) else {
                    continue;
                };
                // Its own name is free once it has left.
                request.name.clear();
                self.observe(Change::WorkloadGone(from.clone(), original.id.clone()))?;
                if let Ok(placement) = self.place(&request, now, seed) {
                    let to = placement.chosen.node;
                    let mut moved = original.clone();
                    moved.node.clone_from(&to);
                    self.observe(Change::Workload(moved))?;
                    let after = self.index().node(&to).map_or(u64::MAX, fullness);
                    if to != from && after.saturating_add(limits.gain) <= before {
                        let (workload, cost) = (original.id, original.resources.memory);
                        return Ok(Some(Move {
                            workload,
                            from,
                            to,
                            cost,
                        }));
                    }
                    self.observe(Change::WorkloadGone(to, original.id.clone()))?;
                }
                self.observe(Change::Workload(original))?;
            }
        }
        Ok(None)
    }

    fn spread(&self) -> u64 {
        let open = self
            .index()
            .nodes()
            .filter(|node| self.pipeline().is_open(node));
        let all: Vec<u64> = open.map(fullness).collect();
        let least = all.iter().min().copied().unwrap_or_default();
        all.iter().max().copied().unwrap_or_default() - least
    }
}

/// The larger of the used parts of CPU and memory, in thousandths.
fn fullness(node: &Node) -> u64 {
    let part = |resource| {
        let used = node.used(resource).saturating_mul(1000);
        let part = used / u128::from(node.capacity(resource).max(1));
        u64::try_from(part)
            .unwrap_or(u64::MAX / 2)
            .min(u64::MAX / 2)
    };
    part(Resource::Cpu).max(part(Resource::Memory))
}

/// A workload as it was told.
fn placed(workload: &Workload, node: &NodeId) -> PlacedWorkload {
    let load = &workload.load;
    let mut placed = PlacedWorkload::new(workload.id.clone(), node.clone());
    placed.name = workload.name.to_string();
    placed.service = load
        .profile
        .service
        .as_deref()
        .and_then(|name| name.parse().ok());
    placed.labels = load
        .profile
        .labels
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    placed.resources = load.resources.clone();
    placed.ports = load.ports.to_vec();
    placed.priority = load.priority;
    placed
}
