mod affinity;
mod beyond;
mod constraint;
mod dependency;
mod health;
mod own;
mod port;
mod resources;
mod slots;
mod whitelist;

use std::{fmt, ops::ControlFlow, str::FromStr};

use longshore_core::{Error, Result};

use crate::{
    demand::{Demand, Wish},
    index::Node,
    reason::Reason,
};

pub use self::own::{NodeFilter, NodeScore, NodeView};

/// A filter that can be switched on; Swarm's names.
///
/// Two checks can't be switched off: a node that is cordoned or draining takes no new work, and a
/// node never gets more than it has (CPU, memory, generic resources).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FilterName {
    /// The node is healthy.
    Health,
    /// The ports asked for are free, by protocol and address.
    Port,
    /// The label `containerslots` leaves room for one more container.
    ContainerSlots,
    /// What the work depends on is on the node.
    Dependency,
    /// What else is on the node is as demanded.
    Affinity,
    /// The node's labels and attributes are as demanded.
    Constraint,
    /// The node is on every list.
    Whitelist,
}

impl FilterName {
    /// Swarm's default order.
    pub const ALL: [Self; 7] = [
        Self::Health,
        Self::Port,
        Self::ContainerSlots,
        Self::Dependency,
        Self::Affinity,
        Self::Constraint,
        Self::Whitelist,
    ];

    /// Swarm's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Health => "health",
            Self::Port => "port",
            Self::ContainerSlots => "containerslots",
            Self::Dependency => "dependency",
            Self::Affinity => "affinity",
            Self::Constraint => "constraint",
            Self::Whitelist => "whitelist",
        }
    }
}

impl fmt::Display for FilterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads Swarm's names. The message of the error is Swarm's.
impl FromStr for FilterName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|filter| filter.as_str() == text)
            .ok_or_else(|| Error::invalid("filter not supported"))
    }
}

/// One step of a [`Pipeline`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Only where the health filter, which includes it, is switched off.
    Availability,
    /// A filter.
    Filter(FilterName),
    /// What Swarm did not know and requests ask for by fields of their own.
    Beyond(Beyond),
    /// Always last, as in Swarm, where strategies did it.
    Resources,
}

/// Filters that always run: they refuse nothing unless asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// The image runs there.
    Platform,
    /// The node takes work of the tenant.
    Tenant,
    /// The data is there.
    Volume,
    /// The devices are free.
    Device,
    /// The failure domain is not too full.
    Topology,
    /// The filters of the embedding program.
    Own,
}

impl Beyond {
    const ALL: [Self; 6] = [
        Self::Platform,
        Self::Tenant,
        Self::Volume,
        Self::Device,
        Self::Topology,
        Self::Own,
    ];
}

impl Stage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Availability => "availability",
            Self::Filter(filter) => filter.as_str(),
            Self::Beyond(Beyond::Platform) => "platform",
            Self::Beyond(Beyond::Tenant) => "tenant",
            Self::Beyond(Beyond::Volume) => "volume",
            Self::Beyond(Beyond::Device) => "device",
            Self::Beyond(Beyond::Topology) => "topology",
            Self::Beyond(Beyond::Own) => "own",
            Self::Resources => "resources",
        }
    }

    /// Tells every reason for which this stage refuses the node, until told to stop. Asking and
    /// explaining run the same code, so they can't disagree.
    fn check<'a>(
        self,
        demand: &'a Demand<'_>,
        node: &'a Node,
        tell: &mut impl FnMut(Reason<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match self {
            Self::Availability => health::check_availability(node, tell),
            Self::Filter(FilterName::Health) => health::check(node, tell),
            Self::Filter(FilterName::Port) => port::check(demand, node, tell),
            Self::Filter(FilterName::ContainerSlots) => slots::check(node, tell),
            Self::Filter(FilterName::Dependency) => dependency::check(demand, node, tell),
            Self::Filter(FilterName::Affinity) => affinity::check(demand, node, tell),
            Self::Filter(FilterName::Constraint) => constraint::check(demand, node, tell),
            Self::Filter(FilterName::Whitelist) => whitelist::check(demand, node, tell),
            Self::Beyond(beyond) => beyond::check(beyond, demand, node, tell),
            Self::Resources => resources::check(demand, node, tell),
        }
    }
}

/// The filters of a scheduler in their order, with those that can't be switched off.
#[derive(Clone, Debug)]
pub(crate) struct Pipeline {
    stages: Vec<Stage>,
}

impl Pipeline {
    /// These filters in this order; a filter named twice counts once.
    pub(crate) fn new(filters: impl IntoIterator<Item = FilterName>) -> Self {
        let mut stages = Vec::new();
        for filter in filters {
            if !stages.contains(&Stage::Filter(filter)) {
                stages.push(Stage::Filter(filter));
            }
        }
        if !stages.contains(&Stage::Filter(FilterName::Health)) {
            stages.insert(0, Stage::Availability);
        }
        stages.extend(Beyond::ALL.map(Stage::Beyond));
        stages.push(Stage::Resources);
        Self { stages }
    }

    /// The steps in order.
    pub(crate) fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// The step that refuses closed nodes.
    pub(crate) fn closing(&self) -> usize {
        let closes = |stage: &Stage| {
            matches!(
                stage,
                Stage::Availability | Stage::Filter(FilterName::Health)
            )
        };
        self.stages.iter().position(closes).unwrap_or_default()
    }

    /// The filters that were switched on, in order.
    pub(crate) fn filters(&self) -> impl Iterator<Item = FilterName> {
        self.stages.iter().filter_map(|stage| match stage {
            Stage::Filter(filter) => Some(*filter),
            Stage::Availability | Stage::Beyond(_) | Stage::Resources => None,
        })
    }

    /// Whether a filter is switched on.
    pub(crate) fn has(&self, filter: FilterName) -> bool {
        self.stages.contains(&Stage::Filter(filter))
    }

    /// Whether the node takes any work at all: what the filters say that look at no request.
    pub(crate) fn is_open(&self, node: &Node) -> bool {
        let open = &mut |_: Reason<'_>| ControlFlow::Break(());
        let health = match self.has(FilterName::Health) {
            true => health::check(node, open),
            false => health::check_availability(node, open),
        };
        health.is_continue()
            && (!self.has(FilterName::ContainerSlots) || slots::check(node, open).is_continue())
    }

    /// Whether the node could take the work.
    pub(crate) fn admits(&self, demand: &Demand<'_>, node: &Node) -> bool {
        self.first_refusal(demand, node).is_none()
    }

    /// The first step that refuses the node, and its first reason.
    pub(crate) fn first_refusal<'a>(
        &self,
        demand: &'a Demand<'_>,
        node: &'a Node,
    ) -> Option<(usize, Reason<'a>)> {
        self.stages
            .iter()
            .enumerate()
            .find_map(|(position, stage)| {
                let mut first = None;
                let _ = stage.check(demand, node, &mut |reason| {
                    first = Some(reason);
                    ControlFlow::Break(())
                });
                first.map(|reason| (position, reason))
            })
    }

    /// Tells every reason of every step, in order, with the step's place.
    pub(crate) fn refusals<'a>(
        &self,
        demand: &'a Demand<'_>,
        node: &'a Node,
        mut tell: impl FnMut(usize, Reason<'a>),
    ) {
        for (position, stage) in self.stages.iter().enumerate() {
            let _ = stage.check(demand, node, &mut |reason| {
                tell(position, reason);
                ControlFlow::Continue(())
            });
        }
    }

    /// Whether a wish counts: only if the filter that understands it is switched on.
    pub(crate) fn understands(&self, wish: &Wish<'_>) -> bool {
        let filter = match wish {
            Wish::Constraint(_) => FilterName::Constraint,
            Wish::Affinity(_) => FilterName::Affinity,
            Wish::Whitelist(_) => FilterName::Whitelist,
        };
        self.has(filter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for filter in FilterName::ALL {
            assert_eq!(filter.as_str().parse::<FilterName>().unwrap(), filter);
        }
        assert_eq!(
            "nosuch".parse::<FilterName>().unwrap_err().to_string(),
            "filter not supported"
        );
    }

    #[test]
    fn availability_and_resources_cannot_be_switched_off() {
        let pipeline = Pipeline::new([FilterName::Constraint, FilterName::Constraint]);
        assert_eq!(
            pipeline.stages(),
            [
                vec![Stage::Availability, Stage::Filter(FilterName::Constraint)],
                Beyond::ALL.map(Stage::Beyond).to_vec(),
                vec![Stage::Resources],
            ]
            .concat()
        );
        let pipeline = Pipeline::new(FilterName::ALL);
        assert_eq!(pipeline.stages().len(), 8 + Beyond::ALL.len());
        assert_eq!(pipeline.filters().collect::<Vec<_>>(), FilterName::ALL);
    }
}
