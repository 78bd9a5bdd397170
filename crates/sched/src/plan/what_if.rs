use longshore_core::{Expression, PlacementRequest, Remedy, Resources};

use crate::{demand::Demand, index::Node, scheduler::ClusterScheduler};

impl ClusterScheduler {
    /// What would let a refused request in: each of its hard demands whose loss alone is enough (a
    /// constraint, an affinity, a whitelist, the ports, the resources), and one more node like `like`.
    pub(crate) fn remedies(
        &self,
        demand: &Demand<'_>,
        like: Option<&Node>,
        seed: u64,
    ) -> Vec<Remedy> {
        let mut remedies = Vec::new();
        for (demand, without) in relaxed(demand.request) {
            let Ok(compiled) = self.compile(&without) else {
                continue;
            };
            let (best, _) = self.best(&compiled, seed, 1);
            if let Some(best) = best.first() {
                let node = best.node.state.name.clone();
                remedies.push(Remedy::new(format!("drop {demand}"), Some(node)));
            }
        }
        remedies.extend(
            like.map(|node| Remedy::new(format!("add a node like {}", node.state.name), None)),
        );
        remedies
    }

    /// Whether a node whose constraints hold could take the work if it were empty.
    pub(crate) fn would_take_empty(&self, demand: &Demand<'_>, node: &Node) -> bool {
        let needs = demand.needs.iter();
        let is_large = needs
            .clone()
            .all(|need| need.amount <= node.capacity(need.resource));
        // Most nodes are told without an empty copy.
        is_large
            && (node.containers() > 0 || needs.clone().any(|need| node.used(need.resource) > 0))
            && self.admits(demand, &node.emptied())
    }
}

/// The request without each of its hard demands.
fn relaxed(request: &PlacementRequest) -> Vec<(String, PlacementRequest)> {
    let mut all = Vec::new();
    let mut without = |text: String, change: &dyn Fn(&mut PlacementRequest)| {
        if all.len() < MAX_RELAXED {
            let mut relaxed = request.clone();
            change(&mut relaxed);
            all.push((text, relaxed));
        }
    };
    let kinds: [(&str, Field); 3] = [
        ("constraint", |r| &mut r.constraints),
        ("affinity", |r| &mut r.affinities),
        ("whitelist", |r| &mut r.whitelists),
    ];
    let lists = [
        &request.constraints,
        &request.affinities,
        &request.whitelists,
    ];
    for ((kind, field), list) in kinds.into_iter().zip(lists) {
        for (at, term) in list.iter().enumerate().filter(|(_, term)| !term.is_soft()) {
            without(format!("{kind} {term}"), &|r| drop(field(r).remove(at)));
        }
    }
    if !request.ports.is_empty() {
        without("the ports".into(), &|r| r.ports.clear());
    }
    if !request.resources.is_zero() {
        without("the resources".into(), &|r| {
            r.resources = Resources::default();
        });
    }
    if !request.devices.is_empty() {
        without("the devices".into(), &|r| r.devices.clear());
    }
    if !request.topology.is_empty() {
        without("the topology".into(), &|r| r.topology.clear());
    }
    all
}

/// A list of expressions of a request.
type Field = fn(&mut PlacementRequest) -> &mut Vec<Expression>;

/// How many demands are tried.
const MAX_RELAXED: usize = 16;
