use std::{collections::HashMap, sync::Arc};

use crate::{
    domains::{Counts, Grouping},
    index::{Changed, Index, Load, Node, Slot, Text},
};

/// How many replicas of a service are in which group of nodes, for the spreads and preferences that
/// were asked for before: counted once over the nodes that have any, then kept up with each change.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    by_service: HashMap<Box<str>, Vec<Tally>>,
    /// How many there are in all.
    count: usize,
}

/// The count of one service by one grouping.
#[derive(Debug)]
struct Tally {
    grouping: Grouping,
    /// The nodes that have any, with their group and how many.
    homes: HashMap<Slot, (Group, u64)>,
    counts: Arc<Counts>,
}

/// The values of a node's labels, if it is in a group at all.
type Group = Option<Box<[Text]>>;

impl Tallies {
    /// The counts of a service, made if they were not asked for before.
    pub(super) fn find(
        &mut self,
        service: &str,
        grouping: &Grouping,
        index: &Index,
    ) -> Arc<Counts> {
        if service.is_empty() {
            return Arc::default();
        }
        let known = self.by_service.get(service).into_iter().flatten();
        if let Some(tally) = known.into_iter().find(|tally| tally.grouping == *grouping) {
            return tally.counts.clone();
        }
        if self.count >= MAX_TALLIES {
            *self = Self::default();
        }
        let tally = Tally::count(service, grouping.clone(), index);
        let counts = tally.counts.clone();
        self.by_service
            .entry(service.into())
            .or_default()
            .push(tally);
        self.count += 1;
        counts
    }

    /// Something came onto a node.
    pub(super) fn came(&mut self, slot: Slot, load: &Load, index: &Index) {
        for tally in self.about(load) {
            if let Some(node) = index.at(slot) {
                tally.add(node, 1);
            }
        }
    }

    /// Something left a node, or left with it.
    pub(super) fn left(&mut self, slot: Slot, load: &Load) {
        for tally in self.about(load) {
            tally.subtract(slot, 1);
        }
    }

    /// The node's labels are others.
    pub(super) fn node_changed(&mut self, node: &Node, changed: &Changed) {
        for tally in self.by_service.values_mut().flatten() {
            let mut labels = changed.labels.iter();
            if labels.any(|label| tally.grouping.looks_at(label)) {
                let replicas = tally.homes.get(&node.slot).map_or(0, |(_, count)| *count);
                tally.subtract(node.slot, replicas);
                tally.add(node, replicas);
            }
        }
    }

    pub(super) fn node_gone(&mut self, slot: Slot) {
        for tally in self.by_service.values_mut().flatten() {
            tally.subtract(slot, u64::MAX);
        }
    }

    fn about(&mut self, load: &Load) -> impl Iterator<Item = &mut Tally> {
        let service = load.profile.service.as_deref().filter(|_| self.count > 0);
        let tallies = service.and_then(|service| self.by_service.get_mut(service));
        tallies.into_iter().flatten()
    }

    /// Whether every count is what a count from scratch gives.
    #[cfg(test)]
    pub(super) fn is_consistent(&self, index: &Index) -> bool {
        self.by_service.iter().all(|(service, tallies)| {
            tallies.iter().all(|tally| {
                let fresh = Tally::count(service, tally.grouping.clone(), index);
                fresh.homes == tally.homes && *fresh.counts == *tally.counts
            })
        })
    }
}

impl Tally {
    fn count(service: &str, grouping: Grouping, index: &Index) -> Self {
        let mut this = Self {
            grouping,
            homes: HashMap::new(),
            counts: Arc::default(),
        };
        let of = |name: &Option<Text>| name.as_deref() == Some(service);
        let profiles = index.profiles().filter(|(profile, _)| of(&profile.service));
        for slot in profiles.flat_map(|(_, nodes)| nodes.iter()) {
            if !this.homes.contains_key(&slot)
                && let Some(node) = index.at(slot)
            {
                this.add(node, node.replicas(service) as u64);
            }
        }
        this
    }

    fn add(&mut self, node: &Node, replicas: u64) {
        if replicas == 0 {
            return;
        }
        let grouping = &self.grouping;
        let home = self.homes.entry(node.slot);
        let (path, count) = home.or_insert_with(|| (grouping.path(node), 0));
        *count += replicas;
        if let Some(path) = path {
            Arc::make_mut(&mut self.counts).add(path, replicas);
        }
    }

    fn subtract(&mut self, slot: Slot, replicas: u64) {
        let Some((path, count)) = self.homes.get_mut(&slot) else {
            return;
        };
        let replicas = replicas.min(*count);
        *count -= replicas;
        if let Some(path) = path {
            Arc::make_mut(&mut self.counts).subtract(path, replicas);
        }
        if *count == 0 {
            self.homes.remove(&slot);
        }
    }
}

/// When there are more, all are forgotten and counted again as they are asked for.
const MAX_TALLIES: usize = 256;
