use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use longshore_core::PlacementRequest;

use crate::{index::Index, term::Term};

/// The failure domains of a topology spread, with the replicas of the service in each.
#[derive(Debug)]
pub(crate) struct Domains<'r> {
    label: &'r str,
    max_skew: u64,
    replicas: BTreeMap<Box<str>, u64>,
}

impl<'r> Domains<'r> {
    /// Counts over all nodes that satisfy the constraints: a domain without any is none of the
    /// service's, or it would hold the others back for ever.
    pub(crate) fn count(
        request: &'r PlacementRequest,
        constraints: &[Term<'_>],
        index: &Index,
    ) -> Vec<Self> {
        let mut all: Vec<Self> = request
            .topology
            .iter()
            .map(|spread| Self {
                label: &spread.label,
                max_skew: spread.max_skew.max(1).into(),
                replicas: BTreeMap::new(),
            })
            .collect();
        if all.is_empty() {
            return all;
        }
        let service = request.service.as_ref().map_or("", |name| name.as_str());
        for node in index.nodes() {
            let eligible = constraints
                .iter()
                .all(|term| term.holds(node.attribute(term.expression.key())));
            let replicas = node.replicas(service) as u64;
            for domains in &mut all {
                // Replicas on nodes that are not eligible any more count in their domain, too.
                let Some(value) = node.label(domains.label) else {
                    continue;
                };
                if let Some(count) = domains.replicas.get_mut(value) {
                    *count += replicas;
                } else if eligible {
                    domains.replicas.insert(value.into(), replicas);
                }
            }
        }
        all
    }

    pub(crate) fn label(&self) -> &'r str {
        self.label
    }

    /// Whether one more replica may come into a domain.
    pub(crate) fn admits(&self, domain: Option<&str>) -> bool {
        let least = self.replicas.values().min().copied().unwrap_or_default();
        let there = domain.and_then(|domain| self.replicas.get(domain));
        there.is_some_and(|there| there + 1 - least.min(*there) <= self.max_skew)
    }

    /// What is to be said about it later.
    pub(crate) fn counts(&self) -> Counts {
        Counts {
            label: self.label.into(),
            max_skew: self.max_skew,
            replicas: self.replicas.clone(),
        }
    }
}

/// How many replicas were in each domain.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    label: Box<str>,
    max_skew: u64,
    replicas: BTreeMap<Box<str>, u64>,
}

impl Counts {
    /// Why no more may come into a domain.
    pub(crate) fn write(&self, f: &mut fmt::Formatter<'_>, domain: Option<&str>) -> fmt::Result {
        let (label, skew) = (&self.label, self.max_skew);
        let Some(domain) = domain else {
            return write!(f, "{label} is absent, and the service is spread over it");
        };
        let least = self.replicas.values().min().copied().unwrap_or_default();
        let there = self.replicas.get(domain).copied().unwrap_or_default();
        write!(
            f,
            "{label} {domain} has {there} of the service, the emptiest has {least}, at most {skew} \
             more are allowed"
        )
    }
}

/// How many replicas of the service are in each branch of the placement preferences: a branch is
/// the values of the first labels, SwarmKit's tree. A missing label is the empty value there.
#[derive(Debug, Default)]
pub(crate) struct Branches<'r> {
    labels: &'r [String],
    replicas: HashMap<Vec<Box<str>>, u64>,
}

impl<'r> Branches<'r> {
    pub(crate) fn count(request: &'r PlacementRequest, index: &Index) -> Self {
        let mut this = Self {
            labels: &request.preferences,
            replicas: HashMap::new(),
        };
        let service = request.service.as_ref().map_or("", |name| name.as_str());
        if this.labels.is_empty() {
            return this;
        }
        for node in index.nodes() {
            let replicas = node.replicas(service) as u64;
            if replicas > 0 {
                let values = this.values(|label| node.label(label));
                for depth in 1..=values.len() {
                    *this.replicas.entry(values[..depth].to_vec()).or_default() += replicas;
                }
            }
        }
        this
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The replicas in a node's branch at each depth: less is better, the first first.
    pub(crate) fn of<'n>(&self, label: impl Fn(&str) -> Option<&'n str>) -> Vec<u64> {
        let values = self.values(label);
        (1..=values.len())
            .map(|depth| {
                self.replicas
                    .get(&values[..depth])
                    .copied()
                    .unwrap_or_default()
            })
            .collect()
    }

    fn values<'n>(&self, label: impl Fn(&str) -> Option<&'n str>) -> Vec<Box<str>> {
        let values = self
            .labels
            .iter()
            .map(|key| label(key).unwrap_or_default().into());
        values.collect()
    }
}
