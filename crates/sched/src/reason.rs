use std::fmt;

use longshore_core::{Availability, HostPort, NodeHealth, Operator, PlacementRequest};

use crate::{
    demand::Home,
    domains::Domains,
    filter::{NodeFilter, NodeView},
    index::{Found, Node},
    resource::Need,
    term::{Term, Whitelist},
};

/// Why a node is refused: what was compared, borrowed. Turned into text only for people.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reason<'a> {
    /// Not in the state `Healthy`.
    Unhealthy(NodeHealth),
    /// Healthy, but its indicator is 0.
    NoHealthLeft,
    /// Cordoned or draining.
    Closed(Availability),
    /// A port is taken.
    Port {
        position: usize,
        port: &'a HostPort,
        node: &'a Node,
    },
    /// No container slot is left.
    Slots { taken: usize, limit: u64 },
    /// A dependency is not here.
    Dependency { home: &'a Home<'a> },
    /// An affinity does not hold.
    Affinity { term: &'a Term<'a>, node: &'a Node },
    /// A constraint does not hold.
    Constraint { term: &'a Term<'a>, node: &'a Node },
    /// The node's name is not allowed.
    Whitelist {
        whitelist: &'a Whitelist<'a>,
        node: &'a Node,
    },
    /// The image does not run there.
    Platform {
        demand: &'a PlacementRequest,
        node: &'a Node,
    },
    /// The node is other tenants'.
    Tenant { tenant: &'a str, list: &'a str },
    /// The data is elsewhere.
    Volume { position: usize, volume: &'a str },
    /// The failure domain would be too far ahead.
    Topology {
        position: usize,
        domains: &'a Domains<'a>,
        node: &'a Node,
    },
    /// A filter of the embedding program refuses.
    Own {
        position: usize,
        filter: &'a dyn NodeFilter,
        request: &'a PlacementRequest,
        node: &'a Node,
    },
    /// Not enough is free.
    Resource {
        need: Need<'a>,
        free: u64,
        capacity: u64,
    },
}

impl<'a> Reason<'a> {
    /// Tells demands of one stage apart, for counting refusals by demand.
    pub(crate) fn ordinal(&self) -> usize {
        match self {
            Self::Unhealthy(_) | Self::NoHealthLeft | Self::Slots { .. } => 0,
            Self::Closed(Availability::Draining) => 2,
            Self::Closed(Availability::Quarantined) => 3,
            Self::Closed(_) => 1,
            Self::Platform { .. } | Self::Tenant { .. } => 0,
            Self::Port { position, .. }
            | Self::Volume { position, .. }
            | Self::Topology { position, .. }
            | Self::Own { position, .. } => *position,
            Self::Dependency { home } => home.position,
            Self::Affinity { term, .. } | Self::Constraint { term, .. } => term.position,
            Self::Whitelist { whitelist, .. } => whitelist.position,
            Self::Resource { need, .. } => need.position,
        }
    }

    /// The demand that is not met, without this node's values: `constraint zone==eu not satisfied`.
    pub(crate) fn demand(&self) -> impl fmt::Display {
        fmt::from_fn(move |f| match self {
            Self::Unhealthy(_) | Self::NoHealthLeft => f.write_str("not healthy"),
            Self::Closed(closed) => f.write_str(availability_word(*closed)),
            Self::Port { port, .. } => write!(f, "{} in use", PortText(port)),
            Self::Slots { .. } => f.write_str("no container slot free"),
            Self::Dependency { home } => {
                let dependency = home.dependency;
                write!(f, "no {}={}", dependency.kind.flag(), dependency.target)
            }
            Self::Affinity { term, .. } => write!(f, "affinity {} not satisfied", term.expression),
            Self::Constraint { term, .. } => {
                write!(f, "constraint {} not satisfied", term.expression)
            }
            Self::Whitelist { whitelist, .. } => {
                write!(f, "whitelist {} not satisfied", whitelist.expression)
            }
            Self::Platform { .. } => f.write_str("unsupported platform"),
            Self::Tenant { .. } => f.write_str("reserved for other tenants"),
            Self::Volume { volume, .. } => write!(f, "volume {volume} is elsewhere"),
            Self::Topology { domains, .. } => {
                write!(f, "{} would be uneven", domains.label())
            }
            Self::Own { filter, .. } => write!(f, "{} refuses", filter.name()),
            Self::Resource { need, .. } => write!(f, "not enough {}", need.resource),
        })
    }
}

/// What this node lacks, with the values compared: `zone is us, wanted eu`.
impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unhealthy(health) => write!(f, "the node is {health}, wanted Healthy"),
            Self::NoHealthLeft => f.write_str("the node's health indicator is 0, wanted more"),
            Self::Closed(closed) => write!(f, "the node is {}", availability_word(*closed)),
            Self::Port { port, node, .. } => {
                write!(f, "{} is in use", PortText(port))?;
                match node.port_holder(port) {
                    Some(holder) if !holder.name.is_empty() => write!(f, " by {}", holder.name),
                    Some(holder) => match holder.id {
                        Some(id) => write!(f, " by {id}"),
                        None => f.write_str(" by a reservation"),
                    },
                    None => Ok(()),
                }
            }
            Self::Slots { taken, limit } => write!(f, "{taken} of {limit} container slots taken"),
            Self::Dependency { home } => {
                let target = &home.dependency.target;
                match home.found {
                    Found::On(_) => write!(f, "{target} is on another node"),
                    Found::Nowhere => write!(f, "{target} is not known"),
                    Found::Ambiguous => write!(f, "{target} fits containers on several nodes"),
                }
            }
            Self::Affinity { term, node } => {
                let key = term.expression.key();
                // Sorted: the order in which they came must not show.
                let mut values: Vec<String> =
                    node.company(key, |values| values.map(str::to_owned).collect());
                values.sort_unstable();
                write_values(f, key, &mut values.iter().map(String::as_str))?;
                write_wanted(f, term)
            }
            Self::Constraint { term, node } => {
                // The id is one of the candidates, but people know the node by its name.
                match term.expression.key() {
                    "node" => write!(f, "node is {}", node.state.name)?,
                    key => write_values(f, key, &mut node.attribute(key))?,
                }
                write_wanted(f, term)
            }
            Self::Whitelist { whitelist, node } => {
                let list = whitelist.expression.value();
                match whitelist.expression.operator() {
                    Operator::Equal => write!(f, "{} is not one of {list}", node.state.name),
                    Operator::NotEqual => write!(f, "{} is one of {list}", node.state.name),
                }
            }
            Self::Platform { demand, node } => {
                let wanted = demand.platforms.iter();
                let wanted: Vec<String> = wanted
                    .map(|p| format!("{}/{}", p.os, p.architecture))
                    .collect();
                write!(
                    f,
                    "the platform is {}/{}, wanted {}",
                    node.label("ostype").unwrap_or("unknown"),
                    node.label("architecture").unwrap_or("unknown"),
                    wanted.join(" or "),
                )
            }
            Self::Tenant { tenant: "", list } => {
                write!(f, "the node is reserved for {list}, the work has no tenant")
            }
            Self::Tenant { tenant, list } => {
                write!(f, "the node is reserved for {list}, the work is {tenant}'s")
            }
            Self::Volume { volume, .. } => {
                write!(f, "the data of volume {volume} is on another node")
            }
            Self::Topology { domains, node, .. } => {
                let label = domains.label();
                let Some(domain) = node.label(label) else {
                    return write!(f, "{label} is absent, and the service is spread over it");
                };
                let (there, least, skew) = domains.numbers(domain);
                write!(
                    f,
                    "{label} {domain} has {there} of the service, the emptiest has {least}, at most \
                     {skew} more are allowed"
                )
            }
            Self::Own {
                filter,
                request,
                node,
                ..
            } => match filter.check(request, &NodeView::of(node)) {
                Err(reason) => f.write_str(&reason),
                Ok(()) => f.write_str("refused"),
            },
            Self::Resource {
                need,
                free,
                capacity,
            } => write!(
                f,
                "needs {}, {} of {} free",
                need.resource.with_unit(need.amount),
                need.resource.bare(*free),
                need.resource
                    .with_unit(*capacity)
                    .to_string()
                    .trim_end_matches(" of memory"),
            ),
        }
    }
}

/// `port 80/tcp`, with the address where one was asked for.
struct PortText<'a>(&'a HostPort);

impl fmt::Display for PortText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}/{}", self.0.port, self.0.protocol)?;
        if self.0.is_any_address() {
            return Ok(());
        }
        write!(f, " on {}", self.0.address)
    }
}

fn availability_word(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "active",
        Availability::Cordoned => "cordoned",
        Availability::Draining => "draining",
        Availability::Quarantined => "quarantined",
        _ => "closed for new work",
    }
}

fn write_values(
    f: &mut fmt::Formatter<'_>,
    key: &str,
    values: &mut dyn Iterator<Item = &str>,
) -> fmt::Result {
    let Some(first) = values.next() else {
        return write!(f, "{key} is absent");
    };
    write!(f, "{key} is {first}")?;
    for value in (&mut *values).take(MAX_VALUES - 1) {
        write!(f, ", {value}")?;
    }
    match values.count() {
        0 => Ok(()),
        more => write!(f, " and {more} more"),
    }
}

fn write_wanted(f: &mut fmt::Formatter<'_>, term: &Term<'_>) -> fmt::Result {
    let not = match term.expression.operator() {
        Operator::Equal => "",
        Operator::NotEqual => "not ",
    };
    write!(f, ", wanted {not}{}", term.expression.value())
}

/// How many values of a node are named before the rest is counted.
const MAX_VALUES: usize = 5;
