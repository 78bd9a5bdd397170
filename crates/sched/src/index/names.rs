use std::collections::BTreeMap;

use longshore_core::{NodeId, NodeName};

use super::Slot;

/// The nodes in the order of their names, then ids, each with a number that has the same order: so
/// that a search compares numbers and never texts.
///
/// Numbers leave gaps for nodes to come. A full gap is opened by renumbering the smallest
/// surrounding range that is thin enough (Bender, Cole, Demaine, Farach-Colton, Zito: "Two
/// Simplified Algorithms for Maintaining Order in a List", 2002), which costs O(log n) renumbered
/// nodes for each new one, averaged.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameOrder {
    by_name: BTreeMap<(NodeName, NodeId), u64>,
    by_rank: BTreeMap<u64, Slot>,
}

impl NameOrder {
    /// Takes a node in and gives its number. Nodes that were renumbered for it are handed over
    /// with their new numbers.
    pub(crate) fn insert(
        &mut self,
        name: &NodeName,
        id: &NodeId,
        slot: Slot,
        mut renumbered: impl FnMut(Slot, u64),
    ) -> u64 {
        let key = (name.clone(), id.clone());
        loop {
            let before = self
                .by_name
                .range(..&key)
                .next_back()
                .map(|(_, rank)| *rank);
            let after = self.by_name.range(&key..).next().map(|(_, rank)| *rank);
            if let Some(rank) = between(before, after) {
                self.by_name.insert(key, rank);
                self.by_rank.insert(rank, slot);
                return rank;
            }
            self.spread(&key, before.or(after).unwrap_or_default(), &mut renumbered);
        }
    }

    /// Forgets a node.
    pub(crate) fn remove(&mut self, name: &NodeName, id: &NodeId) {
        if let Some(rank) = self.by_name.remove(&(name.clone(), id.clone())) {
            self.by_rank.remove(&rank);
        }
    }

    /// All nodes in order.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.by_rank.values().copied()
    }

    /// The nodes of a name.
    pub(crate) fn named<'n>(&'n self, name: &str) -> impl Iterator<Item = Slot> + 'n {
        // `!` is the least of all ids.
        let from = NodeName::new(name).ok().zip(NodeId::new("!").ok());
        let name = name.to_owned();
        from.into_iter()
            .flat_map(|from| self.by_name.range(from..))
            .take_while(move |((found, _), _)| found.as_str() == name)
            .filter_map(|(_, rank)| self.by_rank.get(rank).copied())
    }

    /// Makes room around a number, for a name beside it.
    fn spread(
        &mut self,
        key: &(NodeName, NodeId),
        around: u64,
        renumbered: &mut impl FnMut(Slot, u64),
    ) {
        for bits in 1..64u32 {
            let low = around >> bits << bits;
            let high = low | ((1u64 << bits) - 1);
            let inside: Vec<(u64, Slot)> = self
                .by_rank
                .range(low..=high)
                .map(|(rank, slot)| (*rank, *slot))
                .collect();
            let step = (high - low) / (inside.len() as u64 + 1);
            // The larger the range, the thinner it must be, or it would be full again at once.
            if step >= 1 << (bits / 3).max(2) || bits == 63 {
                self.renumber(key, (low, step), &inside, renumbered);
                return;
            }
        }
    }

    fn renumber(
        &mut self,
        key: &(NodeName, NodeId),
        (low, step): (u64, u64),
        inside: &[(u64, Slot)],
        renumbered: &mut impl FnMut(Slot, u64),
    ) {
        // Both maps have the same order: the range begins where the numbers before `key` reach it.
        let before = self.by_name.range(..key).rev();
        let start = before.take_while(|(_, rank)| **rank >= low).last();
        let start = start.map_or_else(|| key.clone(), |(first, _)| first.clone());
        for (old, _) in inside {
            self.by_rank.remove(old);
        }
        let mut at = low;
        let names = self.by_name.range_mut(start..);
        for ((_, slot), (_, rank)) in inside.iter().zip(names) {
            at += step;
            *rank = at;
            self.by_rank.insert(at, *slot);
            renumbered(*slot, at);
        }
    }
}

/// A number between two others, or none if there is no room. At either end a wide gap is left.
fn between(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    match (before, after) {
        (None, None) => Some(1 << 63),
        (Some(before), None) => before.checked_add(END_GAP),
        (None, Some(after)) => after.checked_sub(END_GAP),
        (Some(before), Some(after)) => {
            let middle = before + (after - before) / 2;
            (middle != before).then_some(middle)
        }
    }
}

const END_GAP: u64 = 1 << 32;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Names come in an order that always hits the same gap: each before the last, behind the first.
    #[test]
    fn numbers_keep_the_order_of_names() {
        let mut order = NameOrder::default();
        let mut ranks: HashMap<Slot, u64> = HashMap::new();
        let mut names: HashMap<Slot, NodeName> = HashMap::new();
        let mut moved = 0;
        for number in 0..3_000u32 {
            let text = match number {
                0 => "a".to_owned(),
                n if n % 3 == 0 => format!("z{n:05}"),
                n => format!("m{:05}", 9_000 - n),
            };
            let name: NodeName = text.parse().unwrap();
            let id: NodeId = format!("id{number}").parse().unwrap();
            let rank = order.insert(&name, &id, number, |slot, rank| {
                moved += 1;
                ranks.insert(slot, rank);
            });
            ranks.insert(number, rank);
            names.insert(number, name);
        }
        let mut by_rank: Vec<Slot> = ranks.keys().copied().collect();
        by_rank.sort_by_key(|slot| ranks[slot]);
        assert!(by_rank.is_sorted_by_key(|slot| &names[slot]));
        assert!(order.slots().eq(by_rank));
        assert!(moved > 0, "the gap was never full: the test shows nothing");
        assert!(moved < 3_000 * 64, "{moved} moves");
        assert_eq!(order.named("z00003").collect::<Vec<_>>(), [3]);
        order.remove(&"a".parse().unwrap(), &"id0".parse().unwrap());
        assert_eq!(order.named("a").count(), 0);
    }
}
