use super::top::Ranked;
use crate::index::Slot;

/// The nodes of a group in the order of their keys, in short runs whose parts lie side by side: so
/// that a search passes over hundreds of nodes in the time of a few comparisons.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    runs: Vec<Run>,
}

/// Where a node stands in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// Whole percents of CPU and memory plus health, negated where the fullest is the best.
    pub(super) step: i32,
    pub(super) tally: i32,
    pub(super) rank: u64,
}

/// A node with its 256ths of a percent behind the whole ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) slot: Slot,
    pub(super) cpu: u8,
    pub(super) memory: u8,
}

/// What a request adds to the nodes of a group: `base` to each, and one for CPU and one for memory
/// where the 256ths lie in the span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition {
    pub(super) base: i32,
    pub(super) cpu: Span,
    pub(super) memory: Span,
}

/// From the first to the second, both included; empty if the first is larger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) u8, pub(super) u8);

#[derive(Debug, Default)]
struct Run {
    keys: Vec<Key>,
    cpu: Vec<u8>,
    memory: Vec<u8>,
    slots: Vec<Slot>,
}

impl Span {
    pub(super) const EMPTY: Self = Self(1, 0);

    fn holds(self, part: u8) -> bool {
        (part >= self.0) & (part <= self.1)
    }
}

impl Shelf {
    /// The least key.
    pub(super) fn first(&self) -> Option<Key> {
        self.runs.first()?.keys.first().copied()
    }

    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        let at = self.run_of(&key);
        let Some(run) = self.runs.get_mut(at) else {
            let mut run = Run::default();
            run.insert(0, key, entry);
            self.runs.push(run);
            return;
        };
        let place = run.keys.partition_point(|other| *other < key);
        run.insert(place, key, entry);
        if run.keys.len() > MAX_RUN {
            let half = run.split_off(MAX_RUN / 2);
            self.runs.insert(at + 1, half);
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let at = self.run_of(key);
        let Some(run) = self.runs.get_mut(at) else {
            return;
        };
        if let Ok(place) = run.keys.binary_search(key) {
            run.remove(place);
            if run.keys.is_empty() {
                self.runs.remove(at);
            } else if run.keys.len() < MAX_RUN / 8 {
                self.join(at);
            }
        }
    }

    /// The nodes in the order of their keys.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.runs.iter().flat_map(|run| run.slots.iter().copied())
    }

    /// Hands over every node that could be better than the worst that is kept, which `visit`
    /// returns anew. With `seeded` ties, neither name nor id excludes a node.
    pub(super) fn search(
        &self,
        addition: &Addition,
        seeded: bool,
        mut worst: Option<Ranked>,
        mut visit: impl FnMut(Slot) -> Option<Ranked>,
    ) {
        for run in &self.runs {
            let Some(last) = run.keys.last() else {
                continue;
            };
            let mut from = 0;
            while let Some(first) = run.keys.get(from) {
                let Some(limit) = worst else {
                    worst = visit(run.slots[from]);
                    from += 1;
                    continue;
                };
                // How many of the two may be added without losing.
                let spare = limit.cost - first.step - addition.base;
                if spare < 0 {
                    return;
                }
                let end = match last.step == first.step {
                    true => run.keys.len(),
                    false => from + run.keys[from..].partition_point(|k| k.step == first.step),
                };
                // Behind this key a tie is lost, so that one less may be added.
                let loses_ties = |key: &Key| match seeded {
                    true => key.tally > limit.tally,
                    false => (key.tally, key.rank) >= (limit.tally, limit.rank),
                };
                while let Some(at) = run.next(from, end, spare, addition).and_then(|at| {
                    match loses_ties(&run.keys[at]) {
                        true => run.next(at, end, spare - 1, addition),
                        false => Some(at),
                    }
                }) {
                    from = at + 1;
                    worst = visit(run.slots[at]);
                    if worst != Some(limit) {
                        break;
                    }
                }
                if worst == Some(limit) {
                    from = end;
                }
            }
        }
    }

    fn run_of(&self, key: &Key) -> usize {
        let behind = self
            .runs
            .partition_point(|run| run.keys.first().is_some_and(|k| k <= key));
        behind.saturating_sub(1)
    }

    /// Moves a short run to its neighbour, if there is room.
    fn join(&mut self, at: usize) {
        let left = at.saturating_sub(1);
        if left == at || self.runs[left].keys.len() + self.runs[at].keys.len() > MAX_RUN / 2 {
            return;
        }
        let right = self.runs.remove(at);
        self.runs[left].append(right);
    }
}

impl Run {
    /// The first node in a range to which at most `spare` is added.
    fn next(&self, from: usize, to: usize, spare: i32, addition: &Addition) -> Option<usize> {
        if from >= to || spare < 0 {
            return None;
        }
        if spare >= 2 {
            return Some(from);
        }
        let spare = spare as u8;
        let fits = |cpu: u8, memory: u8| {
            u8::from(addition.cpu.holds(cpu)) + u8::from(addition.memory.holds(memory)) <= spare
        };
        if fits(self.cpu[from], self.memory[from]) {
            return Some(from);
        }
        let (cpu, memory) = (&self.cpu[from..to], &self.memory[from..to]);
        let mut at = 0;
        // Whole blocks without a branch inside, which the compiler turns into vector code.
        for (cpu, memory) in cpu.chunks(BLOCK).zip(memory.chunks(BLOCK)) {
            let any = cpu
                .iter()
                .zip(memory)
                .fold(false, |any, (c, m)| any | fits(*c, *m));
            if any {
                let place = cpu.iter().zip(memory).position(|(c, m)| fits(*c, *m));
                return place.map(|place| from + at + place);
            }
            at += cpu.len();
        }
        None
    }

    fn insert(&mut self, at: usize, key: Key, entry: Entry) {
        self.keys.insert(at, key);
        self.cpu.insert(at, entry.cpu);
        self.memory.insert(at, entry.memory);
        self.slots.insert(at, entry.slot);
    }

    fn remove(&mut self, at: usize) {
        self.keys.remove(at);
        self.cpu.remove(at);
        self.memory.remove(at);
        self.slots.remove(at);
    }

    fn split_off(&mut self, at: usize) -> Self {
        Self {
            keys: self.keys.split_off(at),
            cpu: self.cpu.split_off(at),
            memory: self.memory.split_off(at),
            slots: self.slots.split_off(at),
        }
    }

    fn append(&mut self, mut other: Self) {
        self.keys.append(&mut other.keys);
        self.cpu.append(&mut other.cpu);
        self.memory.append(&mut other.memory);
        self.slots.append(&mut other.slots);
    }
}

const MAX_RUN: usize = 256;
const BLOCK: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, btree_map::Entry};

    use proptest::prelude::*;

    use super::{Key, MAX_RUN, Shelf, Slot};

    proptest! {
        /// It keeps the order of keys through splits and joins.
        #[test]
        fn it_keeps_what_a_plain_map_keeps(
            steps in proptest::collection::vec((0..40i32, 0..60u64, 0..3u8), 0..2_000),
        ) {
            let (mut shelf, mut plain) = (Shelf::default(), BTreeMap::new());
            for (step, rank, fate) in steps {
                let key = Key { step, tally: step % 3, rank };
                let entry = super::Entry { slot: step as Slot * 100 + rank as Slot, cpu: 1, memory: 2 };
                if fate == 0 {
                    shelf.remove(&key);
                    plain.remove(&key);
                } else if let Entry::Vacant(new) = plain.entry(key) {
                    shelf.insert(key, entry);
                    new.insert(entry.slot);
                }
                prop_assert_eq!(shelf.first(), plain.keys().next().copied());
            }
            prop_assert!(shelf.slots().eq(plain.into_values()));
            prop_assert!(shelf.runs.iter().all(|run| (1..=MAX_RUN).contains(&run.keys.len())));
        }
    }
}
