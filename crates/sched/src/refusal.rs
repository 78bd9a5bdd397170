use std::{cmp::Reverse, collections::BTreeMap, fmt::Write};

use longshore_core::{
    Dependency, DependencyKind, Expression, HostPort, PlacementRequest, PortProtocol, Refusal,
};

use crate::{
    demand::Demand,
    filter::{FilterName, Pipeline, Stage},
    index::Index,
    reason::{DeviceText, Reason},
    resource::Need,
    sentence::lack,
};

/// Says why no node can take the work, in Swarm's words and in counts (S12).
pub(crate) fn refusal(demand: &Demand<'_>, pipeline: &Pipeline, index: &Index) -> Refusal {
    let mut tally = Tally::new(index.len());
    for node in index.nodes() {
        if let Some((stage, reason)) = pipeline.first_refusal(demand, node) {
            tally.add(stage, &reason, false);
        }
    }
    tally.refusal(demand, pipeline)
}

/// Refused nodes by stage and demand. Each counts once, at the first filter that refuses it.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) nodes: usize,
    groups: BTreeMap<(usize, usize), Group>,
}

/// Nodes that the same demand refuses.
#[derive(Debug)]
struct Group {
    demand: String,
    /// Whether the demand is what the nodes are, not what they lack.
    is_state: bool,
    nodes: usize,
    need: Option<(String, u64, String)>,
    /// What is lacking, where it is devices that can be counted.
    pieces: Option<Pieces>,
    /// How many of them satisfy every constraint, and what is said of those.
    constrained: usize,
    lack: String,
}

impl Tally {
    pub(crate) fn new(nodes: usize) -> Self {
        Self {
            nodes,
            groups: BTreeMap::new(),
        }
    }

    /// Counts a node by its first reason. `constrained`: it satisfies every constraint.
    pub(crate) fn add(&mut self, stage: usize, reason: &Reason<'_>, constrained: bool) {
        let new = || Group {
            demand: reason.demand().to_string(),
            is_state: matches!(
                reason,
                Reason::Unhealthy(_)
                    | Reason::NoHealthLeft
                    | Reason::Closed(_)
                    | Reason::Tenant { .. }
            ),
            nodes: 0,
            need: None,
            pieces: Pieces::of(reason),
            constrained: 0,
            lack: lack(reason),
        };
        let group = self.groups.entry((stage, reason.ordinal()));
        let group = group.or_insert_with(new);
        group.nodes += 1;
        group.constrained += usize::from(constrained);
        group.note_need(reason);
    }

    /// Of the nodes that satisfy every constraint: how many lack what, in the order of filters.
    pub(crate) fn lacks(&self) -> impl Iterator<Item = (usize, &str)> {
        let groups = self.groups.values().filter(|group| group.constrained > 0);
        groups.map(|group| (group.constrained, group.lack.as_str()))
    }

    pub(crate) fn refusal(&self, demand: &Demand<'_>, pipeline: &Pipeline) -> Refusal {
        Refusal::Unplaceable {
            message: self.message(demand, pipeline),
            summary: self.summary(),
            filters: self.filters(pipeline),
        }
    }

    /// The filters that refused a node first, in their order.
    fn filters(&self, pipeline: &Pipeline) -> Vec<String> {
        let mut stages: Vec<usize> = self.groups.keys().map(|(stage, _)| *stage).collect();
        stages.dedup();
        let name = |stage: usize| pipeline.stages().get(stage).map(|stage| stage.name());
        stages
            .into_iter()
            .filter_map(name)
            .map(str::to_owned)
            .collect()
    }

    /// Swarm's text: the conditions of each filter up to the one behind which no node was left.
    fn message(&self, demand: &Demand<'_>, pipeline: &Pipeline) -> String {
        let stages = pipeline.stages();
        let last = self.groups.keys().map(|(stage, _)| *stage).max();
        let failed = match last {
            Some(position) => Some(position),
            // Without nodes, the first filter that asks for anything fails.
            None => stages.iter().position(|stage| match stage {
                Stage::Filter(FilterName::Health) => true,
                stage => !conditions(*stage, demand.request).is_empty(),
            }),
        };
        match failed.map(|position| (position, stages[position])) {
            Some((_, Stage::Filter(FilterName::Health))) => NO_HEALTHY_NODE.to_owned(),
            None | Some((_, Stage::Availability)) => NO_NODES.to_owned(),
            // Swarm has no words for these.
            Some((position, Stage::Beyond(_))) => {
                let lacks: Vec<String> = self
                    .groups
                    .range((position, 0)..)
                    .map(|(_, group)| group.text())
                    .collect();
                format!("{NO_NODES}: {}", lacks.join("; "))
            }
            Some((position, Stage::Resources)) => {
                let lacks: Vec<String> = self
                    .groups
                    .range((position, 0)..)
                    .map(|(_, group)| group.text())
                    .collect();
                format!("{NO_RESOURCES}: {}", lacks.join("; "))
            }
            Some((position, Stage::Filter(_))) => {
                let mut text = UNSATISFIED.to_owned();
                for stage in &stages[..=position] {
                    let entries = conditions(*stage, demand.request);
                    if !entries.is_empty() {
                        let _ = write!(text, "\n[{}]", entries.join(" "));
                    }
                }
                text
            }
        }
    }

    /// One sentence: `0 of 40 nodes can take it: constraint zone==eu not satisfied on 37 nodes; …`; or,
    /// where devices are all that they lack, `3 of 40 nodes have a free gpu, none more than 1; 2 are asked
    /// for`.
    fn summary(&self) -> String {
        if self.nodes == 0 {
            return "the cluster has no nodes".to_owned();
        }
        let mut lacking = self.groups.values();
        if let (Some(only), None) = (lacking.next(), lacking.next())
            && let Some(pieces) = only.pieces.as_ref().filter(|_| only.nodes == self.nodes)
        {
            return pieces.sentence(self.nodes);
        }
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(key, group)| (Reverse(group.nodes), **key));
        let texts: Vec<String> = groups.into_iter().map(|(_, group)| group.text()).collect();
        format!(
            "0 of {} can take it: {}",
            nodes(self.nodes),
            texts.join("; ")
        )
    }
}

impl Group {
    /// Remembers the most that any of the nodes has free.
    fn note_need(&mut self, reason: &Reason<'_>) {
        if let (Some(pieces), Reason::Device { fit, .. }) = (&mut self.pieces, reason) {
            pieces.some += usize::from(*fit > 0);
            pieces.most = pieces.most.max(*fit);
        }
        let Reason::Resource {
            need: Need {
                resource, amount, ..
            },
            free,
            ..
        } = reason
        else {
            return;
        };
        if self.need.as_ref().is_none_or(|(_, most, _)| free > most) {
            let needed = resource.bare(*amount).to_string();
            self.need = Some((needed, *free, resource.bare(*free).to_string()));
        }
    }

    fn text(&self) -> String {
        let mut text = match (self.is_state, self.nodes) {
            (true, 1) => format!("1 node is {}", self.demand),
            (true, count) => format!("{count} nodes are {}", self.demand),
            (false, count) => format!("{} on {}", self.demand, nodes(count)),
        };
        if let Some((needed, _, most)) = &self.need {
            let _ = write!(text, " ({needed} needed, at most {most} free)");
        }
        if let Some(pieces) = self.pieces.as_ref().filter(|pieces| pieces.most > 0) {
            let _ = write!(text, " (at most {} free)", pieces.most);
        }
        text
    }
}

/// Devices of which no node has enough.
#[derive(Debug)]
struct Pieces {
    wanted: u32,
    one: String,
    /// On how many nodes there is one at least, and the most on any.
    some: usize,
    most: usize,
}

impl Pieces {
    fn of(reason: &Reason<'_>) -> Option<Self> {
        match reason {
            Reason::Device { wanted, fit, .. }
                if !wanted.request.is_all() && *fit != usize::MAX =>
            {
                Some(Self {
                    wanted: wanted.request.count(),
                    one: DeviceText(wanted.request).one(),
                    some: 0,
                    most: 0,
                })
            }
            _ => None,
        }
    }

    /// If it is all that the nodes lack.
    fn sentence(&self, all: usize) -> String {
        let Self {
            wanted,
            one,
            some,
            most,
        } = self;
        let have = if all == 1 { "has" } else { "have" };
        let all = nodes(all);
        let asked = match wanted {
            1 => "1 is asked for".to_owned(),
            wanted => format!("{wanted} are asked for"),
        };
        match some {
            0 => format!("0 of {all} {have} a free {one}; {asked}"),
            1 => format!("1 of {all} has a free {one}, and not more than {most}; {asked}"),
            some => format!("{some} of {all} have a free {one}, none more than {most}; {asked}"),
        }
    }
}

pub(crate) fn nodes(count: usize) -> String {
    format!("{count} node{}", if count == 1 { "" } else { "s" })
}

/// A filter's entries in Swarm's error text.
fn conditions(stage: Stage, request: &PlacementRequest) -> Vec<String> {
    let Stage::Filter(filter) = stage else {
        return Vec::new();
    };
    match filter {
        FilterName::Health => Vec::new(),
        FilterName::Port => {
            let asked = request.ports.iter().filter(|port| port.port != 0);
            asked
                .map(|port| port_condition(port, request.host_network))
                .collect()
        }
        FilterName::ContainerSlots => vec!["available container slots".to_owned()],
        FilterName::Dependency => request
            .dependencies
            .iter()
            .map(dependency_condition)
            .collect(),
        FilterName::Affinity => request.affinities.iter().map(soft_condition).collect(),
        FilterName::Constraint => request.constraints.iter().map(condition).collect(),
        FilterName::Whitelist => request.whitelists.iter().map(soft_condition).collect(),
    }
}

fn port_condition(port: &HostPort, host_network: bool) -> String {
    match (host_network, port.protocol) {
        (true, protocol) => format!("port {}/{protocol} (Host mode)", port.port),
        (false, PortProtocol::Tcp) => format!("port {} (Bridge mode)", port.port),
        (false, protocol) => format!("port {}/{protocol} (Bridge mode)", port.port),
    }
}

fn dependency_condition(dependency: &Dependency) -> String {
    let separator = if dependency.kind == DependencyKind::Network {
        ":"
    } else {
        "="
    };
    format!("{}{separator}{}", dependency.kind.flag(), dependency.target)
}

fn condition(expression: &Expression) -> String {
    format!(
        "{}{}{}",
        expression.key(),
        expression.operator().as_str(),
        expression.value()
    )
}

fn soft_condition(expression: &Expression) -> String {
    format!("{} (soft={})", condition(expression), expression.is_soft())
}

const UNSATISFIED: &str = "Unable to find a node that satisfies the following conditions ";
const NO_HEALTHY_NODE: &str = "No healthy node available in the cluster";
const NO_NODES: &str = "No nodes available in the cluster";
const NO_RESOURCES: &str = "no resources available to schedule container";
