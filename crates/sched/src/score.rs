use std::fmt::Write;

use longshore_core::{Placement, ScorePart, Scored};

use crate::{
    demand::{Demand, Wish, needs},
    rank::{Candidate, Ranking, own_points},
    resource::Resource,
    strategy::Strategy,
};
use longshore_core::PlacementRequest;

/// What a candidate's score follows from, without its node: worded when somebody asks.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    cpu: Figure,
    memory: Figure,
    health: i64,
    indicator: u8,
    containers: usize,
    wishes: u32,
    merit: u64,
    branch: Box<[u64]>,
    own: Box<[i64]>,
}

/// A percentage and the amounts behind it.
#[derive(Clone, Copy, Debug)]
struct Figure {
    points: i64,
    after: u64,
    capacity: u64,
}

/// What all candidates of a request have in common.
#[derive(Clone, Debug)]
pub(crate) struct Scale {
    strategy: Strategy,
    seed: u64,
    wishes: usize,
    /// What all wishes weigh.
    merit: u64,
    own: Box<[Box<str>]>,
}

impl Figures {
    pub(crate) fn of(demand: &Demand<'_>, candidate: &Candidate<'_>) -> Self {
        let node = candidate.node;
        let figure = |resource: Resource<'_>, points| {
            let capacity = node.capacity(resource);
            Figure {
                points,
                after: capacity
                    .saturating_sub(node.available(resource))
                    .saturating_add(demand.needed(resource)),
                capacity,
            }
        };
        Self {
            cpu: figure(Resource::Cpu, candidate.cpu),
            memory: figure(Resource::Memory, candidate.memory),
            health: candidate.health,
            indicator: node.state.health_indicator,
            containers: node.containers(),
            wishes: candidate.wishes.count_ones(),
            merit: candidate.merit,
            branch: candidate.branch.as_slice().into(),
            own: own_points(demand, node).map(|(_, points)| points).collect(),
        }
    }

    /// The parts of the score, given the candidate's place among all, from 0. The points of `cpu`,
    /// `memory` and `health` add up to Swarm's weight; the others decide before (`soft`) or after
    /// it (`containers`).
    pub(crate) fn parts(
        &self,
        scale: &Scale,
        request: &PlacementRequest,
        place: usize,
    ) -> Vec<ScorePart> {
        let mut parts = Vec::with_capacity(5);
        if scale.wishes > 0 {
            let mut reason = format!("{} of {} wishes met", self.wishes, scale.wishes);
            if scale.merit != scale.wishes as u64 {
                let _ = write!(reason, ", weighing {} of {}", self.merit, scale.merit);
            }
            let points = i64::try_from(self.merit).unwrap_or(i64::MAX);
            parts.push(ScorePart::new("soft", points, reason));
        }
        for (label, there) in request.preferences.iter().zip(&self.branch) {
            let points = i64::try_from(*there).unwrap_or(i64::MAX);
            let reason = format!("{there} of the service in its {label}");
            parts.push(ScorePart::new("preference", points, reason));
        }
        for (name, points) in scale.own.iter().zip(&self.own) {
            parts.push(ScorePart::new(&**name, *points, format!("{name} {points}")));
        }
        if scale.strategy == Strategy::Random {
            let points = i64::try_from(place).unwrap_or(i64::MAX);
            let reason = format!("order of seed {}", scale.seed);
            parts.push(ScorePart::new("random", points, reason));
            return parts;
        }
        for (name, resource, figure) in [
            ("cpu", Resource::Cpu, self.cpu),
            ("memory", Resource::Memory, self.memory),
        ] {
            let asked = needs(request).iter().any(|need| need.resource == resource);
            parts.push(ScorePart::new(
                name,
                figure.points,
                match asked {
                    true => format!(
                        "{} of {}",
                        resource.bare(figure.after),
                        resource.with_unit(figure.capacity)
                    ),
                    false => String::new(),
                },
            ));
        }
        let reason = match self.indicator {
            100 => String::new(),
            indicator => format!("health indicator {indicator}"),
        };
        parts.push(ScorePart::new("health", self.health, reason));
        let count = self.containers;
        parts.push(ScorePart::new(
            "containers",
            i64::try_from(count).unwrap_or(0),
            format!("{count} container{}", if count == 1 { "" } else { "s" }),
        ));
        parts
    }
}

impl Scale {
    pub(crate) fn of(ranking: &Ranking, demand: &Demand<'_>) -> Self {
        Self {
            strategy: ranking.strategy,
            seed: ranking.seed,
            wishes: demand.wishes.len(),
            merit: demand
                .wishes
                .iter()
                .map(|wish| u64::from(wish.weight()))
                .sum(),
            own: demand.scores.iter().map(|(s, _)| s.name().into()).collect(),
        }
    }
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
    let winner = best.first()?;
    let scale = Scale::of(ranking, demand);
    let mut scored = best.iter().enumerate().map(|(place, candidate)| {
        let state = &candidate.node.state;
        let parts = Figures::of(demand, candidate).parts(&scale, demand.request, place);
        let mut scored = Scored::new(state.id.clone(), state.name.clone(), parts);
        scored.devices = demand.devices_on(candidate.node);
        scored
    });
    let mut placement = Placement::new(scored.next()?, ranking.strategy.as_str());
    placement.runners_up = scored.collect();
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
