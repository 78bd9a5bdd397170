use std::{collections::HashMap, fmt, sync::Arc};

use longshore_core::{PlacementRequest, TopologySpread};

use crate::index::{Index, LabelValues, Node, SlotSet, Text};

/// The failure domains of a topology spread, with the replicas of the service in each.
#[derive(Clone, Debug)]
pub(crate) struct Domains {
    label: Box<str>,
    max_skew: u64,
    counts: Arc<Counts>,
    /// The domains with a node that satisfies the constraints, sorted; nothing if all do. Another
    /// one is none of the service's, or it would hold the others back for ever.
    eligible: Option<Box<[Text]>>,
    /// The replicas in the emptiest of these.
    least: u64,
}

impl Domains {
    /// From the replicas in each domain and, if there are constraints, the nodes that satisfy them.
    pub(crate) fn new(
        spread: &TopologySpread,
        counts: Arc<Counts>,
        constrained: Option<&[u64]>,
        index: &Index,
    ) -> Self {
        let values = index.catalogue().label(&spread.label);
        let values = || values.iter().flat_map(|label| label.values().iter());
        let eligible = constrained.map(|nodes| {
            let eligible = values().filter(|(_, set)| set.meets(nodes));
            eligible.map(|(value, _)| value.clone()).collect::<Box<_>>()
        });
        let mut least: Option<u64> = None;
        let mut note = |value: &Text| {
            let there = counts.of(std::slice::from_ref(value));
            least = Some(least.map_or(there, |least| least.min(there)));
            there > 0
        };
        // None can have less than none.
        match &eligible {
            Some(eligible) => eligible.iter().all(&mut note),
            None => values().all(|(value, _)| note(value)),
        };
        Self {
            label: spread.label.as_str().into(),
            max_skew: spread.max_skew.max(1).into(),
            least: least.unwrap_or_default(),
            counts,
            eligible,
        }
    }

    pub(crate) fn label(&self) -> &str {
        &self.label
    }

    /// Whether one more replica may come into a domain.
    pub(crate) fn admits(&self, domain: Option<&Text>) -> bool {
        domain.is_some_and(|domain| {
            let there = self.counts.of(std::slice::from_ref(domain));
            self.is_eligible(domain) && there + 1 - self.least.min(there) <= self.max_skew
        })
    }

    /// The nodes of all domains that take one more, or of all that don't: whichever is less to
    /// collect; and which of the two it is.
    pub(crate) fn nodes(&self, label: &LabelValues) -> (SlotSet, bool) {
        let values = label.values();
        // With constraints, most domains may be none of the service's.
        let few_hold_replicas = self.counts.at_depth(1).count() * 2 < values.len();
        if self.eligible.is_none() && few_hold_replicas {
            let full = self.counts.at_depth(1).filter_map(|(path, _)| {
                let value = path.first()?;
                let set = values.nodes(value)?;
                (!self.admits(Some(value))).then_some(set)
            });
            return (SlotSet::union(full), false);
        }
        let open = values.iter().filter(|(value, _)| self.admits(Some(value)));
        (SlotSet::union(open.map(|(_, set)| set)), true)
    }

    /// Why no more may come into a domain.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, domain: Option<&Text>) -> fmt::Result {
        let (label, skew, least) = (&self.label, self.max_skew, self.least);
        let Some(domain) = domain else {
            return write!(f, "{label} is absent, and the service is spread over it");
        };
        if !self.is_eligible(domain) {
            return write!(f, "no node of {label} {domain} satisfies the constraints");
        }
        let there = self.counts.of(std::slice::from_ref(domain));
        write!(
            f,
            "{label} {domain} has {there} of the service, the emptiest has {least}, at most {skew} \
             more are allowed"
        )
    }

    fn is_eligible(&self, domain: &Text) -> bool {
        let eligible = self.eligible.as_ref();
        eligible.is_none_or(|eligible| eligible.binary_search(domain).is_ok())
    }
}

/// How many replicas of a service are in each group of nodes, at each depth of the grouping. A group
/// is the values of the first labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    by_depth: Vec<HashMap<Box<[Text]>, u64>>,
}

impl Counts {
    /// The replicas in a group.
    pub(crate) fn of(&self, path: &[Text]) -> u64 {
        let depth = path.len().checked_sub(1);
        let counts = depth.and_then(|depth| self.by_depth.get(depth));
        counts
            .and_then(|counts| counts.get(path))
            .copied()
            .unwrap_or_default()
    }

    /// The groups of a depth that have any, from 1.
    pub(crate) fn at_depth(&self, depth: usize) -> impl Iterator<Item = (&[Text], u64)> {
        let counts = depth.checked_sub(1).and_then(|at| self.by_depth.get(at));
        let all = counts.into_iter().flatten();
        all.map(|(path, count)| (&**path, *count))
    }

    /// So many more are in a group, and in all those around it.
    pub(crate) fn add(&mut self, path: &[Text], replicas: u64) {
        for depth in 0..path.len() {
            if self.by_depth.len() <= depth {
                self.by_depth.push(HashMap::new());
            }
            let group = &path[..=depth];
            match self.by_depth[depth].get_mut(group) {
                Some(count) => *count += replicas,
                None => {
                    self.by_depth[depth].insert(group.into(), replicas);
                }
            }
        }
    }

    /// So many less are in a group, and in all those around it.
    pub(crate) fn subtract(&mut self, path: &[Text], replicas: u64) {
        for (depth, counts) in self.by_depth.iter_mut().enumerate().take(path.len()) {
            let group = &path[..=depth];
            if let Some(count) = counts.get_mut(group) {
                *count = count.saturating_sub(replicas);
                if *count == 0 {
                    counts.remove(group);
                }
            }
        }
        while self.by_depth.last().is_some_and(HashMap::is_empty) {
            self.by_depth.pop();
        }
    }
}

/// By which labels nodes are grouped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Grouping {
    labels: Box<[Box<str>]>,
    /// Whether a node without a label has the empty value, or is in no group.
    takes_all: bool,
}

impl Grouping {
    /// The failure domains of a spread.
    pub(crate) fn domains(spread: &TopologySpread) -> Self {
        Self {
            labels: Box::new([spread.label.as_str().into()]),
            takes_all: false,
        }
    }

    /// The branches of the placement preferences: SwarmKit's tree.
    pub(crate) fn branches(request: &PlacementRequest) -> Self {
        Self {
            labels: request
                .preferences
                .iter()
                .map(|label| label.as_str().into())
                .collect(),
            takes_all: true,
        }
    }

    /// Whether it looks at a label.
    pub(crate) fn looks_at(&self, label: &str) -> bool {
        self.labels.iter().any(|own| **own == *label)
    }

    /// The innermost group of a node.
    pub(crate) fn path(&self, node: &Node) -> Option<Box<[Text]>> {
        let values = self.labels.iter().map(|label| {
            let value = node.label_text(label);
            value.or_else(|| self.takes_all.then(Text::default))
        });
        values.collect()
    }
}

/// How many replicas of the service are in each branch of the placement preferences.
#[derive(Debug)]
pub(crate) struct Branches {
    grouping: Grouping,
    counts: Arc<Counts>,
}

/// No preferences.
impl Default for Branches {
    fn default() -> Self {
        Self {
            grouping: Grouping {
                labels: Box::default(),
                takes_all: true,
            },
            counts: Arc::default(),
        }
    }
}

impl Branches {
    pub(crate) fn new(grouping: Grouping, counts: Arc<Counts>) -> Self {
        Self { grouping, counts }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.grouping.labels.is_empty()
    }

    /// The labels, outermost first.
    pub(crate) fn labels(&self) -> &[Box<str>] {
        &self.grouping.labels
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The replicas in a node's branch at each depth: less is better, the first first.
    pub(crate) fn of(&self, node: &Node) -> Vec<u64> {
        let path = self.grouping.path(node).unwrap_or_default();
        (1..=path.len())
            .map(|depth| self.counts.of(&path[..depth]))
            .collect()
    }
}
