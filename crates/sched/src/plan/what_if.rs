use longshore_core::{Change, Explanation, PlacementRequest, Result, Scheduler, Timestamp};

use crate::scheduler::ClusterScheduler;

impl ClusterScheduler {
    /// Explains a request as if these changes had happened: a node like this one came, that
    /// workload left. What the request itself would have to leave out is asked by leaving it out.
    /// Works on a copy, which costs time in proportion to the cluster.
    ///
    /// # Errors
    /// As for [`observe`](Scheduler::observe) of the changes and [`explain`](Scheduler::explain).
    pub fn explain_after(
        &self,
        changes: impl IntoIterator<Item = Change>,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        let mut copy = self.clone();
        for change in changes {
            copy.observe(change)?;
        }
        copy.explain(request, now, seed)
    }

    /// For every hard demand of a refused request on its own (a constraint, an affinity, a
    /// whitelist, the ports, the resources): what would be placed if it were dropped. The demands
    /// are told as written; those whose loss does not help are left out.
    ///
    /// # Errors
    /// As for [`explain`](Scheduler::explain).
    pub fn demands_to_drop(
        &self,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Vec<(String, longshore_core::Placement)>> {
        let mut helpful = Vec::new();
        for (dropped, without) in relaxed(request) {
            match self.place(&without, now, seed) {
                Ok(placement) => helpful.push((dropped, placement)),
                Err(longshore_core::Refusal::Unplaceable { .. }) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        Ok(helpful)
    }
}

/// The request without each of its hard demands.
fn relaxed(request: &PlacementRequest) -> Vec<(String, PlacementRequest)> {
    let mut all = Vec::new();
    let mut without = |text: String, change: &dyn Fn(&mut PlacementRequest)| {
        let mut relaxed = request.clone();
        change(&mut relaxed);
        all.push((text, relaxed));
    };
    for (at, term) in request
        .constraints
        .iter()
        .enumerate()
        .filter(|(_, e)| !e.is_soft())
    {
        without(format!("constraint {term}"), &|r| {
            drop(r.constraints.remove(at))
        });
    }
    for (at, term) in request
        .affinities
        .iter()
        .enumerate()
        .filter(|(_, e)| !e.is_soft())
    {
        without(format!("affinity {term}"), &|r| {
            drop(r.affinities.remove(at))
        });
    }
    for (at, term) in request
        .whitelists
        .iter()
        .enumerate()
        .filter(|(_, e)| !e.is_soft())
    {
        without(format!("whitelist {term}"), &|r| {
            drop(r.whitelists.remove(at))
        });
    }
    if !request.ports.is_empty() {
        without("ports".into(), &|r| r.ports.clear());
    }
    if !request.resources.is_zero() {
        without("resources".into(), &|r| {
            r.resources = longshore_core::Resources::default()
        });
    }
    if !request.topology.is_empty() {
        without("topology".into(), &|r| r.topology.clear());
    }
    all
}
