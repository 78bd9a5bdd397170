use std::sync::Arc;

use longshore_core::{Dependency, DeviceId, Expression, PlacementRequest};

use crate::{
    devices::{Wanted, assign},
    domains::{Branches, Domains},
    filter::{NodeFilter, NodeScore},
    index::{Found, Index, Node},
    matcher::RegexCache,
    resource::{Need, Resource},
    strategy::Strategy,
    term::{Term, Whitelist},
};

/// A request, compiled once before any node is looked at.
#[derive(Debug)]
pub(crate) struct Demand<'r> {
    /// The request.
    pub(crate) request: &'r PlacementRequest,
    /// Hard constraints.
    pub(crate) constraints: Vec<Term<'r>>,
    /// Hard affinities.
    pub(crate) affinities: Vec<Term<'r>>,
    /// Hard whitelists.
    pub(crate) whitelists: Vec<Whitelist<'r>>,
    /// Soft expressions, in the order in which they are preferred.
    pub(crate) wishes: Vec<Wish<'r>>,
    /// Dependencies with the node where they were found.
    pub(crate) dependencies: Vec<Home<'r>>,
    /// Amounts asked for, none of them zero.
    pub(crate) needs: Vec<Need<'r>>,
    /// Volumes whose data is on some node.
    pub(crate) volumes: Vec<&'r str>,
    /// Devices asked for.
    pub(crate) devices: Vec<Wanted<'r>>,
    /// Failure domains with the replicas in each.
    pub(crate) topology: Vec<Domains>,
    /// Replicas by placement preference.
    pub(crate) branches: Branches,
    /// Filters of the embedding program.
    pub(crate) own: &'r [Arc<dyn NodeFilter>],
    /// Scores of the embedding program with their factors.
    pub(crate) scores: &'r [(Arc<dyn NodeScore>, i32)],
    /// The least and the most points of each of them, where it says so.
    pub(crate) bounds: Vec<Option<(i32, i32)>>,
    /// What the scores can add up to at most, if that is known and not too much to calculate with.
    pub(crate) bonus: Option<i32>,
}

/// A soft expression.
#[derive(Debug)]
pub(crate) enum Wish<'r> {
    /// About the node.
    Constraint(Term<'r>),
    /// About what is on it.
    Affinity(Term<'r>),
    /// About its name.
    Whitelist(Whitelist<'r>),
}

/// A dependency and where its target is.
#[derive(Debug)]
pub(crate) struct Home<'r> {
    /// The dependency.
    pub(crate) dependency: &'r Dependency,
    /// Its place among the dependencies.
    pub(crate) position: usize,
    /// What the index says.
    pub(crate) found: Found,
}

impl<'r> Demand<'r> {
    /// Compiles a request against the index.
    ///
    /// # Errors
    /// Says what is wrong with the request itself.
    pub(crate) fn compile(
        request: &'r PlacementRequest,
        index: &Index,
        cache: &RegexCache,
    ) -> Result<Self, String> {
        check_sizes(request)?;
        let mut demand = Self {
            request,
            constraints: Vec::new(),
            affinities: Vec::new(),
            whitelists: Vec::new(),
            wishes: Vec::new(),
            dependencies: Vec::new(),
            needs: needs(request),
            volumes: Vec::new(),
            devices: Wanted::compile(&request.devices, cache)?,
            topology: Vec::new(),
            branches: Branches::default(),
            own: &[],
            scores: &[],
            bounds: Vec::new(),
            bonus: Some(0),
        };
        for (position, expression) in request.constraints.iter().enumerate() {
            let term = Term::compile("constraint", position, expression, cache)?;
            if expression.is_soft() {
                demand.wishes.push(Wish::Constraint(term));
            } else {
                demand.constraints.push(term);
            }
        }
        for (position, expression) in request.affinities.iter().enumerate() {
            let term = Term::compile("affinity", position, expression, cache)?;
            if expression.is_soft() {
                demand.wishes.push(Wish::Affinity(term));
            } else {
                demand.affinities.push(term);
            }
        }
        for (position, expression) in request.whitelists.iter().enumerate() {
            let whitelist = Whitelist::new(position, expression);
            if expression.is_soft() {
                demand.wishes.push(Wish::Whitelist(whitelist));
            } else {
                demand.whitelists.push(whitelist);
            }
        }
        for (position, dependency) in request.dependencies.iter().enumerate() {
            let found = index.find_dependency(dependency);
            demand.dependencies.push(Home {
                dependency,
                position,
                found,
            });
        }
        let held = index.catalogue().volumes();
        let volumes = request.volumes.iter().map(String::as_str);
        demand.volumes = volumes
            .filter(|volume| held.nodes(volume).is_some())
            .collect();
        Ok(demand)
    }

    /// Whether only a look at every node can tell the best: where somebody else's score counts that
    /// has no bounds.
    pub(crate) fn needs_all(&self, strategy: Strategy) -> bool {
        let is_bounded = self.bonus.is_some() && strategy != Strategy::Random;
        !self.scores.is_empty() && !is_bounded
    }

    /// Takes the scores of the embedding program into account.
    pub(crate) fn set_scores(&mut self, scores: &'r [(Arc<dyn NodeScore>, i32)]) {
        self.scores = scores;
        (self.bounds, self.bonus) = bounds(scores, self.request);
    }

    /// Whether nodes must be looked at for what no set knows.
    pub(crate) fn is_beyond(&self) -> bool {
        !self.devices.is_empty() || !self.own.is_empty() || !self.request.platforms.is_empty()
    }

    /// The devices that it would get on a node that could take it.
    pub(crate) fn devices_on(&self, node: &Node) -> Vec<DeviceId> {
        if self.devices.is_empty() {
            return Vec::new();
        }
        let (all, free) = (node.all_devices(), node.free_devices());
        let assigned = assign(&self.devices, all, &free).unwrap_or_default();
        assigned.iter().map(|device| device.id.clone()).collect()
    }

    /// The labels that its hard constraints are about.
    pub(crate) fn label_keys(&self) -> Vec<&str> {
        let keys = self.constraints.iter().map(|term| term.expression.key());
        keys.filter(|key| *key != "node").collect()
    }

    /// The amount asked for of a resource.
    pub(crate) fn needed(&self, resource: Resource<'_>) -> u64 {
        self.needs
            .iter()
            .find(|need| need.resource == resource)
            .map_or(0, |need| need.amount)
    }
}

impl Wish<'_> {
    /// Whether the node fulfils it.
    pub(crate) fn holds(&self, node: &Node) -> bool {
        match self {
            Self::Constraint(term) => term.holds(node.attribute(term.expression.key())),
            Self::Affinity(term) => {
                node.company(term.expression.key(), |values| term.holds(values))
            }
            Self::Whitelist(whitelist) => whitelist.holds(node.state.name.as_str()),
        }
    }

    /// How much it counts beside the others.
    pub(crate) fn weight(&self) -> u32 {
        self.expression().weight()
    }

    /// As it was written.
    pub(crate) fn text(&self) -> String {
        self.expression().to_string()
    }

    fn expression(&self) -> &Expression {
        match self {
            Self::Constraint(term) | Self::Affinity(term) => term.expression,
            Self::Whitelist(whitelist) => whitelist.expression,
        }
    }
}

/// The least and the most points of each score, where it says so; and the most that all can add up
/// to, if that is known and not too much to calculate with.
pub(crate) fn bounds(
    scores: &[(Arc<dyn NodeScore>, i32)],
    request: &PlacementRequest,
) -> (Vec<Option<(i32, i32)>>, Option<i32>) {
    let bounds = scores.iter().map(|(score, _)| {
        let bounds = score.bounds(request).filter(|bounds| !bounds.is_empty());
        bounds.map(|bounds| (*bounds.start(), *bounds.end()))
    });
    let bounds: Vec<_> = bounds.collect();
    let (mut most, mut reach) = (0, Some(0));
    for ((_, factor), bounds) in scores.iter().zip(&bounds) {
        let ends = bounds
            .map(|(low, high)| [low, high].map(|points| i128::from(points) * i128::from(*factor)));
        most += ends.map_or(0, |ends| ends[0].max(ends[1]));
        let farthest = ends.map(|ends| ends[0].abs().max(ends[1].abs()));
        reach = reach.zip(farthest).map(|(sum, more)| sum + more);
    }
    // So that neither a sum of points nor a cost overflows.
    let is_small = reach.is_some_and(|reach: i128| reach <= MAX_POINTS);
    (bounds, i32::try_from(most).ok().filter(|_| is_small))
}

/// Amounts asked for, none of them zero.
pub(crate) fn needs(request: &PlacementRequest) -> Vec<Need<'_>> {
    let fixed = [
        (Resource::Cpu, request.resources.cpu.0),
        (Resource::Memory, request.resources.memory.0),
    ];
    let generic = request
        .resources
        .generic
        .iter()
        .map(|(name, amount)| (Resource::Generic(name.as_str()), *amount));
    fixed
        .into_iter()
        .chain(generic)
        .filter(|(_, amount)| *amount > 0)
        .enumerate()
        .map(|(position, (resource, amount))| Need {
            resource,
            amount,
            position,
        })
        .collect()
}

fn check_sizes(request: &PlacementRequest) -> Result<(), String> {
    let expressions =
        request.constraints.len() + request.affinities.len() + request.whitelists.len();
    let counts = [
        (
            "constraints, affinities and whitelists",
            expressions,
            MAX_EXPRESSIONS,
        ),
        ("dependencies", request.dependencies.len(), MAX_DEPENDENCIES),
        ("ports", request.ports.len(), MAX_PORTS),
        ("volumes", request.volumes.len(), MAX_BEYOND),
        ("requests for devices", request.devices.len(), MAX_BEYOND),
        ("platforms", request.platforms.len(), MAX_BEYOND),
        ("topology spreads", request.topology.len(), MAX_SPREADS),
        ("preferences", request.preferences.len(), MAX_SPREADS),
        (
            "kinds of resources",
            request.resources.generic.len(),
            MAX_RESOURCES,
        ),
    ];
    match counts.into_iter().find(|(_, count, limit)| count > limit) {
        Some((what, count, limit)) => Err(format!(
            "a request holds at most {limit} {what}, this one holds {count}"
        )),
        None => Ok(()),
    }
}

/// Also the width of the bit set in which fulfilled wishes are compared.
const MAX_EXPRESSIONS: usize = 128;
const MAX_DEPENDENCIES: usize = 128;
const MAX_PORTS: usize = 1024;
const MAX_BEYOND: usize = 128;
const MAX_SPREADS: usize = 16;
const MAX_RESOURCES: usize = 128;
const MAX_POINTS: i128 = 500_000_000;
