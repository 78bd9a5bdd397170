use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
};

use longshore_core::{ReservationId, WorkloadId};

use super::{Slot, node::Occupant};

/// Who has which name and id, over all nodes.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    names: HashMap<Box<str>, Vec<Holder>>,
    ids: BTreeMap<Box<str>, Vec<Holder>>,
}

/// A workload or reservation on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A workload.
    Workload(Slot, WorkloadId),
    /// A reservation.
    Reservation(Slot, ReservationId),
}

/// Where the target of a dependency is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing of that name or id is known.
    Nowhere,
    /// On this node.
    On(Slot),
    /// Several nodes have something that fits.
    Ambiguous,
}

impl Holder {
    pub(crate) fn workload(slot: Slot, id: &WorkloadId) -> Self {
        Self::Workload(slot, id.clone())
    }

    pub(crate) fn reservation(slot: Slot, id: &ReservationId) -> Self {
        Self::Reservation(slot, id.clone())
    }

    fn slot(&self) -> Slot {
        match self {
            Self::Workload(slot, _) | Self::Reservation(slot, _) => *slot,
        }
    }
}

impl Found {
    /// What several holders come to: what counts is the node.
    fn among<'d>(holders: impl IntoIterator<Item = &'d Holder>) -> Self {
        let mut found = Self::Nowhere;
        for holder in holders {
            found = match found {
                Self::Nowhere => Self::On(holder.slot()),
                Self::On(slot) if slot == holder.slot() => found,
                _ => return Self::Ambiguous,
            };
        }
        found
    }
}

impl Directory {
    pub(crate) fn insert(&mut self, holder: &Holder, occupant: Occupant<'_>) {
        if !occupant.name.is_empty() {
            self.names
                .entry(occupant.name.into())
                .or_default()
                .push(holder.clone());
        }
        for id in ids(&occupant) {
            self.ids.entry(id.into()).or_default().push(holder.clone());
        }
    }

    pub(crate) fn remove(&mut self, holder: &Holder, occupant: Occupant<'_>) {
        if let Some(holders) = self.names.get_mut(occupant.name) {
            holders.retain(|other| other != holder);
            if holders.is_empty() {
                self.names.remove(occupant.name);
            }
        }
        for id in ids(&occupant) {
            if let Some(holders) = self.ids.get_mut(id) {
                holders.retain(|other| other != holder);
                if holders.is_empty() {
                    self.ids.remove(id);
                }
            }
        }
    }

    pub(crate) fn is_name_taken(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Looks a container up as Swarm does: exact or short id, name, `engine/name`, id prefix. The
    /// first way that finds anything decides.
    pub(crate) fn find(&self, target: &str, is_engine: impl Fn(Slot, &str) -> bool) -> Found {
        if target.is_empty() {
            return Found::Nowhere;
        }
        let exact = Found::among(self.ids.get(target).into_iter().flatten());
        if exact != Found::Nowhere {
            return exact;
        }
        if target.len() == SHORT_ID {
            let short = self.by_prefix(target);
            if short != Found::Nowhere {
                return short;
            }
        }
        let name = target.strip_prefix('/').unwrap_or(target);
        let by_name = Found::among(self.names.get(name).into_iter().flatten());
        if by_name != Found::Nowhere {
            return by_name;
        }
        if let Some((engine, name)) = name.split_once('/') {
            let holders = self.names.get(name).into_iter().flatten();
            return Found::among(holders.filter(|holder| is_engine(holder.slot(), engine)));
        }
        self.by_prefix(target)
    }

    fn by_prefix(&self, prefix: &str) -> Found {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let ids = self
            .ids
            .range::<str, _>(from)
            .take_while(|(id, _)| id.starts_with(prefix));
        Found::among(ids.flat_map(|(_, holders)| holders))
    }

    #[cfg(test)]
    pub(crate) fn is_consistent<'n>(&self, nodes: impl Iterator<Item = &'n super::Node>) -> bool {
        let (mut names, mut all_ids) = (0, 0);
        for node in nodes {
            for occupant in node.occupants() {
                names += usize::from(!occupant.name.is_empty());
                all_ids += ids(&occupant).count();
            }
        }
        let count = |holders: &Vec<Holder>| holders.len();
        names == self.names.values().map(count).sum::<usize>()
            && all_ids == self.ids.values().map(count).sum::<usize>()
    }
}

fn ids<'o>(occupant: &Occupant<'o>) -> impl Iterator<Item = &'o str> {
    occupant
        .id
        .map(WorkloadId::as_str)
        .into_iter()
        .chain(occupant.swarm_id())
}

const SHORT_ID: usize = 12;
