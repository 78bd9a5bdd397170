use longshore_core::{Error, NodeId, PlacementRequest, Result, WorkloadId};

use crate::{
    demand::Demand,
    index::{Node, Workload},
    scheduler::ClusterScheduler,
};

/// Who would have to go so that a request fits.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PreemptionPlan {
    /// The node on which the request fits then.
    pub node: NodeId,
    /// What has to leave it, the least important first. Empty if the request fits as it is.
    pub victims: Vec<Victim>,
}

/// Work that would make room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Victim {
    /// How important it is: always less than the request.
    pub priority: i32,
    /// Which.
    pub workload: WorkloadId,
}

impl ClusterScheduler {
    /// Finds the victims whose leaving lets a request in: the fewest; of those the ones whose most
    /// important is the least important; then the least sum of importance; then node name, id and
    /// the victims' ids. Only work of a lower priority is considered, and reservations never.
    ///
    /// Exact on nodes with up to 12 candidates. On fuller ones the least important go first until
    /// the request fits, and who need not go stays: then the plan may name more victims than need
    /// be, or miss a node for a request with affinities. Failure domains, and where the containers
    /// are that the request hangs on, are counted as they are now.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) if the request itself
    /// is wrong. No plan is no error.
    pub fn plan_preemption(&self, request: &PlacementRequest) -> Result<Option<PreemptionPlan>> {
        let demand = self.compile(request).map_err(Error::invalid)?;
        let mut best: Option<(Price, &Node, Vec<Victim>)> = None;
        for node in self.index().nodes() {
            let most = best.as_ref().map_or(usize::MAX, |(price, ..)| price.0);
            let Some(victims) = self.victims(&demand, node, most) else {
                continue;
            };
            let price = price(&victims);
            let is_better = best.as_ref().is_none_or(|(known, other, others)| {
                let key = |node: &Node| (node.state.name.clone(), node.state.id.clone());
                (&price, key(node), &victims) < (known, key(other), others)
            });
            if is_better {
                best = Some((price, node, victims));
            }
        }
        Ok(best.map(|(_, node, victims)| PreemptionPlan {
            node: node.state.id.clone(),
            victims,
        }))
    }

    /// The cheapest victims on one node, if at most so many are enough.
    fn victims(&self, demand: &Demand<'_>, node: &Node, most: usize) -> Option<Vec<Victim>> {
        if self.admits(demand, node) {
            return Some(Vec::new());
        }
        let mut candidates: Vec<&Workload> = node
            .workloads()
            .iter()
            .filter(|workload| workload.load.priority < demand.request.priority)
            .collect();
        candidates.sort_by_key(|workload| (workload.load.priority, &workload.id));
        if candidates.is_empty() {
            return None;
        }
        let is_small = candidates.len() <= MAX_EXACT;
        // Who asks to be beside something is not helped by everybody's leaving.
        let seeks_company = !demand.affinities.is_empty();
        let all_may_go = seeks_company && is_small;
        if !all_may_go && !self.fits_without(demand, node, &candidates) {
            return None;
        }
        let victims = match is_small {
            true => self.cheapest(demand, node, &candidates, most)?,
            false => self.greedy(demand, node, &candidates),
        };
        let mut victims: Vec<Victim> = victims
            .into_iter()
            .map(|workload| Victim {
                priority: workload.load.priority,
                workload: workload.id.clone(),
            })
            .collect();
        victims.sort();
        Some(victims)
    }

    fn cheapest<'w>(
        &self,
        demand: &Demand<'_>,
        node: &Node,
        candidates: &[&'w Workload],
        most: usize,
    ) -> Option<Vec<&'w Workload>> {
        let chosen = |bits: u32| -> Vec<&'w Workload> {
            let all = candidates.iter().enumerate();
            all.filter(|(at, _)| bits >> at & 1 == 1)
                .map(|(_, workload)| *workload)
                .collect()
        };
        (1..=candidates.len().min(most)).find_map(|count| {
            (1..1u32 << candidates.len())
                .filter(|bits| bits.count_ones() as usize == count)
                .map(chosen)
                .filter(|victims| self.fits_without(demand, node, victims))
                .min_by_key(|victims| {
                    let victims = victims.iter().map(|workload| Victim {
                        priority: workload.load.priority,
                        workload: workload.id.clone(),
                    });
                    let mut victims: Vec<Victim> = victims.collect();
                    victims.sort();
                    (price(&victims), victims)
                })
        })
    }

    fn greedy<'w>(
        &self,
        demand: &Demand<'_>,
        node: &Node,
        candidates: &[&'w Workload],
    ) -> Vec<&'w Workload> {
        let fits = |count: &usize| self.fits_without(demand, node, &candidates[..*count]);
        let enough = (1..=candidates.len())
            .find(fits)
            .unwrap_or(candidates.len());
        let mut victims = candidates[..enough].to_vec();
        // The most important of them stay if they can.
        for at in (0..victims.len()).rev() {
            let spared = victims.remove(at);
            if !self.fits_without(demand, node, &victims) {
                victims.insert(at, spared);
            }
        }
        victims
    }

    fn fits_without(&self, demand: &Demand<'_>, node: &Node, victims: &[&Workload]) -> bool {
        let mut without = node.clone();
        for victim in victims {
            without.remove_workload(victim.id.as_str());
        }
        self.admits(demand, &without)
    }
}

/// How many, the most important of them, the sum of importance.
type Price = (usize, Option<i32>, i64);

fn price(victims: &[Victim]) -> Price {
    let priorities = || victims.iter().map(|victim| victim.priority);
    (
        victims.len(),
        priorities().max(),
        priorities().map(i64::from).sum(),
    )
}

const MAX_EXACT: usize = 12;
