use longshore_core::{Placement, ScorePart, Scored};

use crate::{
    demand::{Demand, Wish},
    rank::{Candidate, Ranking, own_points},
    resource::Resource,
    strategy::Strategy,
};

/// A candidate with the parts of its score. The points of `cpu`, `memory` and `health` add up to
/// Swarm's weight; the others decide before (`soft`) or after it (`containers`).
fn scored(
    ranking: &Ranking,
    demand: &Demand<'_>,
    candidate: &Candidate<'_>,
    place: usize,
) -> Scored {
    let state = &candidate.node.state;
    Scored::new(
        state.id.clone(),
        state.name.clone(),
        parts(ranking, demand, candidate, place),
    )
}

/// The parts of a candidate's score, given its place among all, from 0.
pub(crate) fn parts(
    ranking: &Ranking,
    demand: &Demand<'_>,
    candidate: &Candidate<'_>,
    place: usize,
) -> Vec<ScorePart> {
    let mut parts = Vec::with_capacity(5);
    if !demand.wishes.is_empty() {
        let met = i64::from(candidate.wishes.count_ones());
        let reason = format!("{met} of {} wishes met", demand.wishes.len());
        parts.push(ScorePart::new("soft", met, reason));
    }
    for (label, there) in demand.request.preferences.iter().zip(&candidate.branch) {
        let points = i64::try_from(*there).unwrap_or(i64::MAX);
        let reason = format!("{there} of the service in its {label}");
        parts.push(ScorePart::new("preference", points, reason));
    }
    for (name, points) in own_points(demand, candidate.node) {
        parts.push(ScorePart::new(name, points, format!("{name} {points}")));
    }
    if ranking.strategy == Strategy::Random {
        let points = i64::try_from(place).unwrap_or(i64::MAX);
        parts.push(ScorePart::new(
            "random",
            points,
            format!("order of seed {}", ranking.seed),
        ));
        return parts;
    }
    parts.push(amount(
        demand,
        candidate,
        "cpu",
        Resource::Cpu,
        candidate.cpu,
    ));
    parts.push(amount(
        demand,
        candidate,
        "memory",
        Resource::Memory,
        candidate.memory,
    ));
    let indicator = candidate.node.state.health_indicator;
    let reason = match indicator {
        100 => String::new(),
        _ => format!("health indicator {indicator}"),
    };
    parts.push(ScorePart::new("health", candidate.health, reason));
    let containers = candidate.node.containers();
    let reason = format!(
        "{containers} container{}",
        if containers == 1 { "" } else { "s" }
    );
    parts.push(ScorePart::new(
        "containers",
        i64::try_from(containers).unwrap_or(0),
        reason,
    ));
    parts
}

/// How many nodes could take the work.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feasible {
    /// As far as was counted.
    pub(crate) nodes: usize,
    /// Whether all were counted.
    pub(crate) all: bool,
}

/// The placement that the best candidates come to.
pub(crate) fn placement(
    ranking: &Ranking,
    demand: &Demand<'_>,
    best: &[Candidate<'_>],
    feasible: Feasible,
    considered: usize,
) -> Option<Placement> {
    let (winner, others) = best.split_first()?;
    let chosen = scored(ranking, demand, winner, 0);
    let mut placement = Placement::new(chosen, ranking.strategy.as_str());
    placement.runners_up = others
        .iter()
        .zip(1..)
        .map(|(other, place)| scored(ranking, demand, other, place))
        .collect();
    placement.feasible = feasible.nodes;
    placement.exhaustive = feasible.all;
    placement.considered = considered;
    let wishes = demand.wishes.iter();
    placement.unmet_wishes = wishes
        .filter(|wish| !wish.holds(winner.node))
        .map(Wish::text)
        .collect();
    Some(placement)
}

fn amount(
    demand: &Demand<'_>,
    candidate: &Candidate<'_>,
    name: &str,
    resource: Resource<'_>,
    points: i64,
) -> ScorePart {
    let needed = demand.needed(resource);
    if needed == 0 {
        return ScorePart::new(name, points, "");
    }
    let capacity = candidate.node.capacity(resource);
    let after = capacity
        .saturating_sub(candidate.node.available(resource))
        .saturating_add(needed);
    let reason = format!(
        "{} of {}",
        resource.bare(after),
        resource.with_unit(capacity)
    );
    ScorePart::new(name, points, reason)
}
