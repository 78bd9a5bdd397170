use longshore_core::{Placement, ScorePart, Scored};

use crate::{
    demand::{Demand, Wish},
    rank::{Candidate, Ranking},
    resource::Resource,
    strategy::Strategy,
};

/// A candidate with the parts of its score. The points of `cpu`, `memory` and `health` add up to
/// Swarm's weight; the others decide before (`soft`) or after it (`containers`).
pub(crate) fn scored(ranking: &Ranking, demand: &Demand<'_>, candidate: &Candidate<'_>) -> Scored {
    let state = &candidate.node.state;
    Scored::new(
        state.id.clone(),
        state.name.clone(),
        parts(ranking, demand, candidate),
    )
}

/// The parts of a candidate's score.
pub(crate) fn parts(
    ranking: &Ranking,
    demand: &Demand<'_>,
    candidate: &Candidate<'_>,
) -> Vec<ScorePart> {
    let mut parts = Vec::with_capacity(5);
    if !demand.wishes.is_empty() {
        let met = i64::from(candidate.wishes.count_ones());
        let reason = format!("{met} of {} wishes met", demand.wishes.len());
        parts.push(ScorePart::new("soft", met, reason));
    }
    if ranking.strategy == Strategy::Random {
        // The upper half of the shuffle key: enough to show the order, and never negative.
        let points = i64::try_from(candidate.shuffle >> 32).unwrap_or(0);
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

/// The placement that the best candidates come to.
pub(crate) fn placement(
    ranking: &Ranking,
    demand: &Demand<'_>,
    best: &[Candidate<'_>],
    feasible: usize,
    considered: usize,
) -> Option<Placement> {
    let (winner, others) = best.split_first()?;
    let chosen = scored(ranking, demand, winner);
    let mut placement = Placement::new(chosen, ranking.strategy.as_str());
    placement.runners_up = others
        .iter()
        .map(|other| scored(ranking, demand, other))
        .collect();
    placement.feasible = feasible;
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
