use std::sync::Arc;

use longshore_core::{Dependency, DeviceId, PlacementRequest};

use crate::{
    devices::{Wanted, assign},
    domains::{Branches, Domains},
    filter::{NodeFilter, NodeScore},
    index::{Found, Index, Node},
    matcher::RegexCache,
    resource::{Need, Resource},
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
    pub(crate) topology: Vec<Domains<'r>>,
    /// Replicas by placement preference.
    pub(crate) branches: Branches<'r>,
    /// Filters of the embedding program.
    pub(crate) own: &'r [Arc<dyn NodeFilter>],
    /// Scores of the embedding program with their factors.
    pub(crate) scores: &'r [(Arc<dyn NodeScore>, i32)],
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
            branches: Branches::count(request, index),
            own: &[],
            scores: &[],
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
        if !request.volumes.is_empty() {
            let is_held = |volume: &&str| index.nodes().any(|node| node.has_volume(volume));
            demand.volumes = request
                .volumes
                .iter()
                .map(String::as_str)
                .filter(is_held)
                .collect();
        }
        demand.topology = Domains::count(request, &demand.constraints, index);
        Ok(demand)
    }

    /// Whether only a look at every node can tell the best: where a placement anywhere changes
    /// which nodes are allowed or liked, and where somebody else's score counts.
    pub(crate) fn needs_all(&self) -> bool {
        !self.topology.is_empty() || !self.branches.is_empty() || !self.scores.is_empty()
    }

    /// Whether nodes must be looked at for what no set knows.
    pub(crate) fn is_beyond(&self) -> bool {
        !self.volumes.is_empty()
            || !self.devices.is_empty()
            || !self.topology.is_empty()
            || !self.own.is_empty()
            || !self.request.platforms.is_empty()
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

    /// As it was written.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Constraint(term) | Self::Affinity(term) => term.expression.to_string(),
            Self::Whitelist(whitelist) => whitelist.expression.to_string(),
        }
    }
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
