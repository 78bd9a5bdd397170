use std::collections::BTreeSet;

use super::{
    Slot,
    node::{Node, fnv1a, without_slash},
    occupant::Occupant,
};

/// Which nodes have something of a name or an id.
///
/// It holds no text: names by their hash, ids by their first eight bytes, each with the node. What
/// is found there is compared on the node itself, so that neither costs a copy per workload.
#[derive(Clone, Debug, Default)]
pub(crate) struct Directory {
    names: BTreeSet<(u64, Slot)>,
    ids: BTreeSet<(u64, Slot)>,
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

/// What the directory needs of the index: a node by its slot.
pub(crate) type Nodes = [Option<Node>];

impl Found {
    /// What several nodes come to.
    fn among(slots: impl IntoIterator<Item = Slot>) -> Self {
        let mut found = Self::Nowhere;
        for slot in slots {
            found = match found {
                Self::Nowhere => Self::On(slot),
                Self::On(known) if known == slot => found,
                _ => return Self::Ambiguous,
            };
        }
        found
    }
}

impl Directory {
    /// An occupant is on a node.
    pub(crate) fn insert(&mut self, slot: Slot, occupant: Occupant<'_>) {
        if !occupant.name.is_empty() {
            self.names.insert((fnv1a(occupant.name), slot));
        }
        for id in ids(&occupant) {
            self.ids.insert((first_bytes(id), slot));
        }
    }

    /// An occupant left a node, which no longer has it.
    pub(crate) fn remove(&mut self, slot: Slot, occupant: Occupant<'_>, node: Option<&Node>) {
        let others = || node.into_iter().flat_map(Node::occupants);
        if !occupant.name.is_empty() {
            let hash = fnv1a(occupant.name);
            if !others().any(|other| !other.name.is_empty() && fnv1a(other.name) == hash) {
                self.names.remove(&(hash, slot));
            }
        }
        for id in ids(&occupant) {
            let key = first_bytes(id);
            if !others().any(|other| ids(&other).any(|other| first_bytes(other) == key)) {
                self.ids.remove(&(key, slot));
            }
        }
    }

    /// The nodes that have something of this name.
    pub(crate) fn named<'d>(
        &'d self,
        name: &'d str,
        nodes: &'d Nodes,
    ) -> impl Iterator<Item = Slot> + 'd {
        let hash = fnv1a(name);
        self.names
            .range((hash, 0)..=(hash, Slot::MAX))
            .map(|(_, slot)| *slot)
            .filter(move |slot| {
                on(nodes, *slot).any(|occupant| !name.is_empty() && occupant.name == name)
            })
    }

    /// The nodes that have something of this id, or of Swarm's id kept in a label.
    pub(crate) fn identified<'d>(
        &'d self,
        id: &'d str,
        nodes: &'d Nodes,
    ) -> impl Iterator<Item = Slot> + 'd {
        let key = first_bytes(id);
        self.ids
            .range((key, 0)..=(key, Slot::MAX))
            .map(|(_, slot)| *slot)
            .filter(move |slot| {
                on(nodes, *slot).any(|occupant| ids(&occupant).any(|other| other == id))
            })
    }

    /// Looks a container up as Swarm does: exact or short id, name, `engine/name`, id prefix. The
    /// first way that finds anything decides.
    pub(crate) fn find(&self, target: &str, nodes: &Nodes) -> Found {
        if target.is_empty() {
            return Found::Nowhere;
        }
        let exact = Found::among(self.identified(target, nodes));
        if exact != Found::Nowhere {
            return exact;
        }
        if target.len() == SHORT_ID {
            let short = self.by_prefix(target, nodes);
            if short != Found::Nowhere {
                return short;
            }
        }
        let name = without_slash(target);
        let by_name = Found::among(self.named(name, nodes));
        if by_name != Found::Nowhere {
            return by_name;
        }
        if let Some((engine, name)) = name.split_once('/') {
            let is_engine = |slot: &Slot| {
                let node = nodes.get(*slot as usize).and_then(Option::as_ref);
                node.is_some_and(|node| {
                    node.state.id.as_str() == engine || node.state.name.as_str() == engine
                })
            };
            return Found::among(self.named(name, nodes).filter(is_engine));
        }
        self.by_prefix(target, nodes)
    }

    fn by_prefix(&self, prefix: &str, nodes: &Nodes) -> Found {
        // Ids whose first bytes lie between the prefix filled up with zeros and with ones.
        let low = first_bytes(prefix);
        let open = 64 - 8 * prefix.len().min(8) as u32;
        let high = low | 1u64.checked_shl(open).map_or(u64::MAX, |bit| bit - 1);
        let slots = self
            .ids
            .range((low, 0)..=(high, Slot::MAX))
            .map(|(_, slot)| *slot);
        Found::among(slots.filter(|slot| {
            on(nodes, *slot).any(|occupant| ids(&occupant).any(|id| id.starts_with(prefix)))
        }))
    }

    #[cfg(test)]
    pub(crate) fn is_consistent(&self, nodes: &Nodes) -> bool {
        let mut fresh = Self::default();
        for node in nodes.iter().flatten() {
            for occupant in node.occupants() {
                fresh.insert(node.slot, occupant);
            }
        }
        fresh.names == self.names && fresh.ids == self.ids
    }
}

fn on(nodes: &Nodes, slot: Slot) -> impl Iterator<Item = Occupant<'_>> {
    let node = nodes.get(slot as usize).and_then(Option::as_ref);
    node.into_iter().flat_map(Node::occupants)
}

fn ids<'o>(occupant: &Occupant<'o>) -> impl Iterator<Item = &'o str> + use<'o> {
    occupant
        .id
        .map(longshore_core::WorkloadId::as_str)
        .into_iter()
        .chain(occupant.swarm_id())
}

/// The first eight bytes as a number that sorts like them.
fn first_bytes(text: &str) -> u64 {
    let mut bytes = [0; 8];
    for (byte, known) in bytes.iter_mut().zip(text.bytes()) {
        *byte = known;
    }
    u64::from_be_bytes(bytes)
}

const SHORT_ID: usize = 12;
