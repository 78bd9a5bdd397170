use std::fmt;

use longshore_core::{
    Availability, FilterFailure, HostPort, NodeHealth, NodeName, Operator, PlacementRequest,
};

use crate::{
    demand::{Demand, needs},
    domains::Domains,
    filter::Pipeline,
    index::{Found, Text},
    reason::{PortText, availability_word},
    term::Whitelist,
};

/// Why a node was refused, as values: worded only for who asks, which may be never. The node may
/// have changed or gone by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    Unhealthy(NodeHealth),
    NoHealthLeft,
    Closed(Availability),
    Port {
        position: u32,
        holder: Option<Box<str>>,
    },
    Slots {
        taken: u32,
        limit: u64,
    },
    Dependency {
        position: u32,
    },
    /// With the values found, worded: they are a node's whole company.
    Affinity {
        position: u32,
        found: Box<str>,
    },
    Constraint {
        position: u32,
        value: Option<Text>,
    },
    Whitelist {
        position: u32,
    },
    Platform(Box<(Option<Text>, Option<Text>)>),
    Tenant {
        list: Text,
    },
    Volume {
        position: u32,
    },
    Device {
        position: u32,
        fit: u32,
        free: u32,
        /// Of so many of the kind.
        all: u32,
    },
    Topology {
        position: u32,
        domain: Option<Text>,
    },
    Own(Box<str>),
    Resource {
        position: u32,
        free: u64,
        capacity: u64,
    },
}

/// What facts are about: a request, and what was found out for it once for all nodes.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) request: PlacementRequest,
    /// What a closed node is refused by.
    closed: &'static str,
    found: Vec<Found>,
    volumes: Vec<Box<str>>,
    domains: Vec<Domains>,
}

impl Case {
    pub(crate) fn of(demand: &Demand<'_>, pipeline: &Pipeline) -> Self {
        Self {
            request: demand.request.clone(),
            closed: pipeline.stages()[pipeline.closing()].name(),
            found: demand.dependencies.iter().map(|home| home.found).collect(),
            volumes: demand.volumes.iter().map(|name| (*name).into()).collect(),
            domains: demand.topology.clone(),
        }
    }

    /// A fact in words.
    pub(crate) fn word(&self, fact: &Fact, node: &NodeName) -> FilterFailure {
        let reason = fmt::from_fn(|f| self.write(f, fact, node)).to_string();
        FilterFailure::new(self.filter(fact), reason)
    }

    fn filter(&self, fact: &Fact) -> &'static str {
        match fact {
            Fact::Unhealthy(_) | Fact::NoHealthLeft => "health",
            Fact::Closed(_) => self.closed,
            Fact::Port { .. } => "port",
            Fact::Slots { .. } => "containerslots",
            Fact::Dependency { .. } => "dependency",
            Fact::Affinity { .. } => "affinity",
            Fact::Constraint { .. } => "constraint",
            Fact::Whitelist { .. } => "whitelist",
            Fact::Platform(_) => "platform",
            Fact::Tenant { .. } => "tenant",
            Fact::Volume { .. } => "volume",
            Fact::Device { .. } => "device",
            Fact::Topology { .. } => "topology",
            Fact::Own(_) => "own",
            Fact::Resource { .. } => "resources",
        }
    }

    /// What the node lacks, with the values compared: `zone is us, wanted eu`.
    fn write(&self, f: &mut fmt::Formatter<'_>, fact: &Fact, node: &NodeName) -> fmt::Result {
        let request = &self.request;
        match fact {
            Fact::Unhealthy(health) => write!(f, "the node is {health}, wanted Healthy"),
            Fact::NoHealthLeft => f.write_str("the node's health indicator is 0, wanted more"),
            Fact::Closed(closed) => write!(f, "the node is {}", availability_word(*closed)),
            Fact::Port { position, holder } => {
                if let Some(port) = at(&request.ports, *position) {
                    write_port(f, port)?;
                }
                match holder {
                    Some(holder) => write!(f, " by {holder}"),
                    None => Ok(()),
                }
            }
            Fact::Slots { taken, limit } => write!(f, "{taken} of {limit} container slots taken"),
            Fact::Dependency { position } => {
                let target = at(&request.dependencies, *position).map_or("", |d| &d.target);
                match at(&self.found, *position) {
                    Some(Found::On(_)) => write!(f, "{target} is on another node"),
                    Some(Found::Nowhere) | None => write!(f, "{target} is not known"),
                    Some(Found::Ambiguous) => {
                        write!(f, "{target} fits containers on several nodes")
                    }
                }
            }
            Fact::Affinity { position, found } => {
                f.write_str(found)?;
                write_wanted(f, &request.affinities, *position)
            }
            Fact::Constraint { position, value } => {
                let key = at(&request.constraints, *position).map_or("", |term| term.key());
                match (key, value) {
                    // The id is one of the candidates, but people know the node by its name.
                    ("node", _) => write!(f, "node is {node}")?,
                    (key, Some(value)) => write!(f, "{key} is {value}")?,
                    (key, None) => write!(f, "{key} is absent")?,
                }
                write_wanted(f, &request.constraints, *position)
            }
            Fact::Whitelist { position } => match at(&request.whitelists, *position) {
                Some(term) => {
                    let is = match Whitelist::includes(term) {
                        true => "is not one of",
                        false => "is one of",
                    };
                    write!(f, "{node} {is} {}", term.value())
                }
                None => Ok(()),
            },
            Fact::Platform(had) => {
                let wanted = request.platforms.iter();
                let wanted: Vec<String> = wanted
                    .map(|p| format!("{}/{}", p.os, p.architecture))
                    .collect();
                write!(
                    f,
                    "the platform is {}/{}, wanted {}",
                    had.0.as_deref().unwrap_or("unknown"),
                    had.1.as_deref().unwrap_or("unknown"),
                    wanted.join(" or "),
                )
            }
            Fact::Tenant { list } => {
                write!(f, "the node is reserved for {list}, the work ")?;
                match request.tenant.as_deref() {
                    None | Some("") => f.write_str("has no tenant"),
                    Some(tenant) => write!(f, "is {tenant}'s"),
                }
            }
            Fact::Volume { position } => {
                let volume = at(&self.volumes, *position).map_or("", |volume| volume);
                write!(f, "the data of volume {volume} is on another node")
            }
            Fact::Device {
                position,
                fit,
                free,
                all,
            } => {
                let Some(wanted) = at(&request.devices, *position) else {
                    return Ok(());
                };
                if *fit == u32::MAX {
                    let all: Vec<String> =
                        request.devices.iter().map(ToString::to_string).collect();
                    return write!(
                        f,
                        "needs {}, enough are free for each but not for all together",
                        all.join(" and ")
                    );
                }
                write!(f, "needs {wanted}, {free}")?;
                if wanted.is_all() {
                    write!(f, " of {all}")?;
                }
                f.write_str(" free")?;
                match (wanted.demands().is_empty(), fit) {
                    (true, _) => Ok(()),
                    (false, 0) => f.write_str(", none of them fits"),
                    (false, 1) => f.write_str(", 1 of them fits"),
                    (false, fit) => write!(f, ", {fit} of them fit"),
                }
            }
            Fact::Topology { position, domain } => match at(&self.domains, *position) {
                Some(domains) => domains.write(f, domain.as_ref()),
                None => Ok(()),
            },
            Fact::Own(reason) => f.write_str(reason),
            Fact::Resource {
                position,
                free,
                capacity,
            } => {
                let needs = needs(request);
                let Some(need) = at(&needs, *position) else {
                    return Ok(());
                };
                write!(
                    f,
                    "needs {}, {} of {} free",
                    need.resource.with_unit(need.amount),
                    need.resource.bare(*free),
                    need.resource
                        .with_unit(*capacity)
                        .to_string()
                        .trim_end_matches(" of memory"),
                )
            }
        }
    }
}

fn at<T>(list: &[T], position: u32) -> Option<&T> {
    list.get(position as usize)
}

fn write_port(f: &mut fmt::Formatter<'_>, port: &HostPort) -> fmt::Result {
    write!(f, "{} is in use", PortText(port))
}

fn write_wanted(
    f: &mut fmt::Formatter<'_>,
    terms: &[longshore_core::Expression],
    position: u32,
) -> fmt::Result {
    let Some(term) = at(terms, position) else {
        return Ok(());
    };
    let not = match term.operator() {
        Operator::Equal => "",
        Operator::NotEqual => "not ",
    };
    write!(f, ", wanted {not}{}", term.value())
}
