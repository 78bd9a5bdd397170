use std::fmt;

use longshore_core::{Availability, DeviceRequest, HostPort, NodeHealth, PlacementRequest};

use crate::{
    demand::Home,
    devices::Wanted,
    domains::Domains,
    fact::Fact,
    filter::{NodeFilter, NodeView},
    index::Node,
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
    Whitelist { whitelist: &'a Whitelist<'a> },
    /// The image does not run there.
    Platform { node: &'a Node },
    /// The node is other tenants'.
    Tenant { node: &'a Node },
    /// The data is elsewhere.
    Volume { position: usize, volume: &'a str },
    /// Too few devices are free that fit; more than any if each request alone has enough.
    Device {
        position: usize,
        wanted: &'a Wanted<'a>,
        fit: usize,
        node: &'a Node,
    },
    /// The failure domain would be too far ahead.
    Topology {
        position: usize,
        domains: &'a Domains,
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
            // It is about all of them together.
            Self::Device { fit, .. } if *fit == usize::MAX => usize::MAX,
            Self::Port { position, .. }
            | Self::Volume { position, .. }
            | Self::Device { position, .. }
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
            Self::Platform { .. } => f.write_str("another platform"),
            Self::Tenant { .. } => f.write_str("reserved for other tenants"),
            Self::Volume { volume, .. } => write!(f, "no data of volume {volume}"),
            Self::Device { fit, .. } if *fit == usize::MAX => {
                f.write_str("enough free devices of each sort, but not for all together")
            }
            Self::Device { wanted, .. } => DeviceText(wanted.request).lack(f),
            Self::Topology { domains, .. } => {
                write!(f, "{} would be uneven", domains.label())
            }
            Self::Own { filter, .. } => write!(f, "{} refuses", filter.name()),
            Self::Resource { need, .. } => write!(f, "not enough {}", need.resource),
        })
    }
}

impl Reason<'_> {
    /// What is to be said about it later.
    pub(crate) fn keep(&self) -> Fact {
        let at = |position: usize| u32::try_from(position).unwrap_or(u32::MAX);
        match self {
            Self::Unhealthy(health) => Fact::Unhealthy(*health),
            Self::NoHealthLeft => Fact::NoHealthLeft,
            Self::Closed(closed) => Fact::Closed(*closed),
            Self::Port {
                position,
                port,
                node,
            } => Fact::Port {
                position: at(*position),
                holder: node.port_holder(port).map(|holder| match holder.id {
                    _ if !holder.name.is_empty() => holder.name.into(),
                    Some(id) => id.as_str().into(),
                    None => "a reservation".into(),
                }),
            },
            Self::Slots { taken, limit } => Fact::Slots {
                taken: at(*taken),
                limit: *limit,
            },
            Self::Dependency { home } => Fact::Dependency {
                position: at(home.position),
            },
            Self::Affinity { term, node } => {
                let key = term.expression.key();
                // Sorted: the order in which they came must not show.
                let mut values: Vec<String> =
                    node.company(key, |values| values.map(str::to_owned).collect());
                values.sort_unstable();
                Fact::Affinity {
                    position: at(term.position),
                    found: company_text(key, &values).into(),
                }
            }
            Self::Constraint { term, node } => Fact::Constraint {
                position: at(term.position),
                value: node.label_text(term.expression.key()),
            },
            Self::Whitelist { whitelist, .. } => Fact::Whitelist {
                position: at(whitelist.position),
            },
            Self::Platform { node } => {
                let had = (node.label_text("ostype"), node.label_text("architecture"));
                Fact::Platform(Box::new(had))
            }
            Self::Tenant { node } => Fact::Tenant {
                list: node.label_text("tenant").unwrap_or_default(),
            },
            Self::Volume { position, .. } => Fact::Volume {
                position: at(*position),
            },
            Self::Device {
                position,
                wanted,
                fit,
                node,
            } => {
                let (all, free) = (node.all_devices(), node.free_devices());
                let kind = wanted.request.kind();
                Fact::Device {
                    position: at(*position),
                    fit: at(*fit),
                    free: at(free.iter().filter(|d| d.id.kind == kind).count()),
                    all: at(all.iter().filter(|d| d.id.kind == kind).count()),
                }
            }
            Self::Topology {
                position,
                domains,
                node,
            } => Fact::Topology {
                position: at(*position),
                domain: node.label_text(domains.label()),
            },
            Self::Own {
                filter,
                request,
                node,
                ..
            } => match filter.check(request, &NodeView::of(node)) {
                Err(reason) => Fact::Own(reason.into()),
                Ok(()) => Fact::Own("refused".into()),
            },
            Self::Resource {
                need,
                free,
                capacity,
            } => Fact::Resource {
                position: at(need.position),
                free: *free,
                capacity: *capacity,
            },
        }
    }
}

/// `tier is back, front and 3 more`.
fn company_text(key: &str, values: &[String]) -> String {
    if values.is_empty() {
        return format!("{key} is absent");
    }
    let named = &values[..values.len().min(MAX_VALUES)];
    let mut text = format!("{key} is {}", named.join(", "));
    if values.len() > named.len() {
        text.push_str(&format!(" and {} more", values.len() - named.len()));
    }
    text
}

/// Devices that are asked for, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeviceText<'a>(pub(crate) &'a DeviceRequest);

impl DeviceText<'_> {
    /// `gpu where memory>=16GiB`
    pub(crate) fn one(self) -> String {
        self.after_count(str::to_owned)
    }

    /// `gpus where memory>=16GiB`
    pub(crate) fn many(self) -> String {
        self.after_count(|kind| format!("{kind}s"))
    }

    fn after_count(self, noun: impl Fn(&str) -> String) -> String {
        let text = self.0.to_string();
        // The count or `all` comes first, then the kind.
        let behind = text.split_once(' ').map_or("", |(_, behind)| behind);
        let demands = behind.strip_prefix(self.0.kind()).unwrap_or_default();
        format!("{}{demands}", noun(self.0.kind()))
    }

    /// `no free gpu`, `fewer than 2 free gpus`, `no gpu, or not all of them free`
    fn lack(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.is_all(), self.0.count()) {
            (true, _) => write!(f, "no {}, or not all of them free", self.one()),
            (false, 1) => write!(f, "no free {}", self.one()),
            (false, count) => write!(f, "fewer than {count} free {}", self.many()),
        }
    }
}

/// `port 80/tcp`, with the address where one was asked for.
pub(crate) struct PortText<'a>(pub(crate) &'a HostPort);

impl fmt::Display for PortText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "port {}/{}", self.0.port, self.0.protocol)?;
        if self.0.is_any_address() {
            return Ok(());
        }
        write!(f, " on {}", self.0.address)
    }
}

pub(crate) fn availability_word(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "active",
        Availability::Cordoned => "cordoned",
        Availability::Draining => "draining",
        Availability::Quarantined => "quarantined",
        _ => "closed for new work",
    }
}

/// How many values of a node are named before the rest is counted.
const MAX_VALUES: usize = 5;
