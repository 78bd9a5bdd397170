use super::top::Top;
use crate::index::Slot;

/// The nodes of a group in the order of their keys, in short runs of one step each, whose parts lie
/// side by side: so that a search passes over hundreds of nodes in the time of a few comparisons.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    runs: Vec<Run>,
}

/// Where a node stands in its group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
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

/// What a request adds to the nodes of a group: `base` to each, and one more for CPU and for memory
/// where the part behind the whole percents is above the bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition {
    pub(super) base: i32,
    pub(super) cpu: u8,
    pub(super) memory: u8,
}

#[derive(Debug, Default)]
struct Run {
    /// The first and the last key, here so that a search that leaves the run out reads nothing else.
    first: Key,
    last: Key,
    /// The least of each part, for the same: most runs of a small cluster are short.
    least: (u8, u8),
    keys: Vec<Key>,
    cpu: Vec<u8>,
    memory: Vec<u8>,
    slots: Vec<Slot>,
}

impl Shelf {
    /// The least key.
    pub(super) fn first(&self) -> Option<Key> {
        self.runs.first().map(|run| run.first)
    }

    pub(super) fn insert(&mut self, key: Key, entry: Entry) {
        let mut at = self.runs.partition_point(|run| run.first <= key);
        // Behind the last run that begins before it, or else before the first of its step.
        if at > 0 && self.runs[at - 1].first.step == key.step {
            at -= 1;
        } else if self
            .runs
            .get(at)
            .is_none_or(|run| run.first.step != key.step)
        {
            self.runs.insert(at, Run::default());
        }
        let run = &mut self.runs[at];
        let place = run.keys.partition_point(|other| *other < key);
        run.insert(place, key, entry);
        if run.keys.len() > MAX_RUN {
            let half = run.split_off(MAX_RUN / 2);
            self.runs.insert(at + 1, half);
        }
    }

    pub(super) fn remove(&mut self, key: &Key) {
        let behind = self.runs.partition_point(|run| run.first <= *key);
        let Some(at) = behind.checked_sub(1) else {
            return;
        };
        let run = &mut self.runs[at];
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

    /// Hands over every node that could be better than the worst that `top` keeps, some at a time;
    /// `visit` offers them. With `seeded` ties, neither name nor id excludes a node.
    pub(super) fn search(
        &self,
        addition: &Addition,
        seeded: bool,
        top: &mut Top,
        mut visit: impl FnMut(&[Slot], &mut Top),
    ) {
        let mut found = [0; MAX_VISIT];
        for run in &self.runs {
            let end = run.keys.len();
            let mut from = 0;
            while from < end {
                let Some(limit) = top.worst() else {
                    let to = end.min(from + top.missing().clamp(1, MAX_VISIT));
                    visit(&run.slots[from..to], top);
                    from = to;
                    continue;
                };
                // How many of the two may be added without losing.
                let spare = limit.cost - run.first.step - addition.base;
                if spare < 0 {
                    return;
                }
                if run.is_beyond(spare, addition) {
                    break;
                }
                // Behind this key a tie is lost, so that one less may be added.
                let (tally, rank) = (limit.tally, limit.rank);
                let loses_ties = |key: &Key| match seeded {
                    true => key.tally > tally,
                    false => (key.tally, key.rank) >= (tally, rank),
                };
                let ties = match (loses_ties(&run.first), loses_ties(&run.last)) {
                    (true, _) => 0,
                    (_, false) => end,
                    _ => run.keys.partition_point(|key| !loses_ties(key)),
                };
                let mut count = 0;
                let most = top.patience().min(MAX_VISIT);
                while count < most
                    && let Some(at) = run
                        .next(from, ties, spare, addition)
                        .or_else(|| run.next(from.max(ties), end, spare - 1, addition))
                {
                    found[count] = run.slots[at];
                    count += 1;
                    from = at + 1;
                }
                if count < most {
                    from = end;
                }
                if count > 0 {
                    visit(&found[..count], top);
                }
            }
        }
    }

    /// Moves a short run to its neighbour of the same step, if there is room.
    fn join(&mut self, at: usize) {
        let left = at.saturating_sub(1);
        if left == at
            || self.runs[left].first.step != self.runs[at].first.step
            || self.runs[left].keys.len() + self.runs[at].keys.len() > MAX_RUN / 2
        {
            return;
        }
        let right = self.runs.remove(at);
        self.runs[left].append(right);
    }
}

impl Run {
    /// Whether more than `spare` is added to each of its nodes.
    fn is_beyond(&self, spare: i32, addition: &Addition) -> bool {
        let (cpu, memory) = (self.least.0 > addition.cpu, self.least.1 > addition.memory);
        match spare {
            0 => cpu | memory,
            1 => cpu & memory,
            _ => false,
        }
    }

    /// The first node in a range to which at most `spare` is added.
    fn next(&self, from: usize, to: usize, spare: i32, addition: &Addition) -> Option<usize> {
        if from >= to || spare < 0 {
            return None;
        }
        let (most_cpu, most_memory) = (addition.cpu, addition.memory);
        let (cpu, memory) = (&self.cpu[from..to], &self.memory[from..to]);
        let found = match spare {
            0 => first_of(cpu, memory, |c, m| (c <= most_cpu) & (m <= most_memory)),
            1 => first_of(cpu, memory, |c, m| (c <= most_cpu) | (m <= most_memory)),
            _ => Some(0),
        };
        found.map(|at| from + at)
    }

    fn insert(&mut self, at: usize, key: Key, entry: Entry) {
        self.keys.insert(at, key);
        self.cpu.insert(at, entry.cpu);
        self.memory.insert(at, entry.memory);
        self.slots.insert(at, entry.slot);
        self.note();
    }

    fn remove(&mut self, at: usize) {
        self.keys.remove(at);
        self.cpu.remove(at);
        self.memory.remove(at);
        self.slots.remove(at);
        self.note();
    }

    fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self {
            keys: self.keys.split_off(at),
            cpu: self.cpu.split_off(at),
            memory: self.memory.split_off(at),
            slots: self.slots.split_off(at),
            ..Self::default()
        };
        rest.note();
        self.note();
        rest
    }

    fn append(&mut self, mut other: Self) {
        self.keys.append(&mut other.keys);
        self.cpu.append(&mut other.cpu);
        self.memory.append(&mut other.memory);
        self.slots.append(&mut other.slots);
        self.note();
    }

    /// Keeps what a search reads of a run first.
    fn note(&mut self) {
        if let (Some(first), Some(last)) = (self.keys.first(), self.keys.last()) {
            (self.first, self.last) = (*first, *last);
        }
        // Without a branch inside, as `first_of`.
        let least = |parts: &[u8]| parts.iter().fold(u8::MAX, |least, part| least.min(*part));
        self.least = (least(&self.cpu), least(&self.memory));
    }
}

/// The first place at which both parts fit.
fn first_of(cpu: &[u8], memory: &[u8], fits: impl Fn(u8, u8) -> bool) -> Option<usize> {
    if fits(*cpu.first()?, *memory.first()?) {
        return Some(0);
    }
    let mut at = 0;
    // Whole blocks without a branch inside, which the compiler turns into vector code.
    for (cpu, memory) in cpu.chunks(BLOCK).zip(memory.chunks(BLOCK)) {
        let both = || cpu.iter().zip(memory);
        if both().fold(false, |any, (c, m)| any | fits(*c, *m)) {
            return both()
                .position(|(c, m)| fits(*c, *m))
                .map(|place| at + place);
        }
        at += cpu.len();
    }
    None
}

const MAX_RUN: usize = 256;
const BLOCK: usize = 32;

/// So many nodes are handed over at a time.
const MAX_VISIT: usize = 16;

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
            prop_assert!(shelf.runs.iter().all(|run| run.keys.iter().all(|k| k.step == run.first.step)));
        }
    }
}
