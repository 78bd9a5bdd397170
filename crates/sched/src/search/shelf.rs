use std::ops::Range;

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
    /// What is free, where nodes that are full come first.
    pub(super) room: Option<Room>,
}

/// How much CPU and memory is free, or asked for, in steps of a thousandth: who has fewer steps
/// than are asked for has too little.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    cpu: u16,
    memory: u16,
}

impl Room {
    pub(super) fn of(cpu: u64, memory: u64) -> Self {
        Self {
            cpu: steps(cpu),
            memory: steps(memory),
        }
    }
}

/// The place of the leading bit and the ten bits behind it, which keeps the order.
fn steps(amount: u64) -> u16 {
    let Some(leading) = amount.checked_ilog2() else {
        return 0;
    };
    let behind = match leading.checked_sub(MANTISSA) {
        Some(shift) => amount >> shift,
        None => amount << (MANTISSA - leading),
    };
    ((leading << MANTISSA) + (behind as u32 & ((1 << MANTISSA) - 1))) as u16
}

/// What a request adds to the nodes of a group: `base` to each, and one more for CPU and for memory
/// where the part behind the whole percents is above the bound.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addition {
    pub(super) base: i32,
    pub(super) cpu: u8,
    pub(super) memory: u8,
    /// What is asked for, where the shelf knows what is free.
    pub(super) room: Room,
}

#[derive(Debug, Default)]
struct Run {
    /// The first and the last key, here so that a search that leaves the run out reads nothing else.
    first: Key,
    last: Key,
    /// The least of each part, for the same: most runs of a small cluster are short.
    least: (u8, u8),
    /// The most that is free of each, likewise.
    most: Room,
    keys: Vec<Key>,
    cpu: Vec<u8>,
    memory: Vec<u8>,
    /// What is free of each; empty where the shelf does not know.
    free: (Vec<u16>, Vec<u16>),
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
                    if run.is_full(addition) {
                        break;
                    }
                    let mut count = 0;
                    let most = top.missing().clamp(1, MAX_VISIT);
                    while count < most
                        && let Some(at) = run.next(from, end, i32::MAX, addition)
                    {
                        found[count] = run.slots[at];
                        count += 1;
                        from = at + 1;
                    }
                    if count < most {
                        from = end;
                    }
                    visit(&found[..count], top);
                    continue;
                };
                // How many of the two may be added without losing.
                let spare = limit.cost - run.first.step - addition.base;
                if spare < 0 {
                    return;
                }
                if run.is_beyond(spare, addition) || run.is_full(addition) {
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

    /// Whether none of its nodes has the room.
    fn is_full(&self, addition: &Addition) -> bool {
        let (most, asked) = (self.most, addition.room);
        !self.free.0.is_empty() && (most.cpu < asked.cpu || most.memory < asked.memory)
    }

    /// The first node in a range to which at most `spare` is added, and which has the room as far
    /// as is known.
    fn next(&self, from: usize, to: usize, spare: i32, addition: &Addition) -> Option<usize> {
        if from >= to || spare < 0 {
            return None;
        }
        if !self.free.0.is_empty() {
            return self.next_with_room(from..to, spare, addition);
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

    fn next_with_room(
        &self,
        range: Range<usize>,
        spare: i32,
        addition: &Addition,
    ) -> Option<usize> {
        let asked = addition.room;
        // Of what is added at most: which of the two parts may be too large.
        let (one, two) = (spare >= 1, spare >= 2);
        let mut at = range.start;
        while at < range.end {
            let block = at..range.end.min(at + BLOCK);
            let parts = self.cpu[block.clone()]
                .iter()
                .zip(&self.memory[block.clone()]);
            let free = self.free.0[block.clone()].iter().zip(&self.free.1[block]);
            let fits = |((cpu, memory), (free_cpu, free_memory)): ((&u8, &u8), (&u16, &u16))| {
                let (cpu, memory) = (*cpu <= addition.cpu, *memory <= addition.memory);
                (two | (cpu & memory) | (one & (cpu | memory)))
                    & (*free_cpu >= asked.cpu)
                    & (*free_memory >= asked.memory)
            };
            let all = parts.zip(free);
            // As in `first_of`.
            if all.clone().fold(false, |any, entry| any | fits(entry)) {
                return all.clone().position(fits).map(|place| at + place);
            }
            at += BLOCK;
        }
        None
    }

    fn insert(&mut self, at: usize, key: Key, entry: Entry) {
        self.keys.insert(at, key);
        self.cpu.insert(at, entry.cpu);
        self.memory.insert(at, entry.memory);
        if let Some(room) = entry.room {
            self.free.0.insert(at, room.cpu);
            self.free.1.insert(at, room.memory);
            self.most.cpu = self.most.cpu.max(room.cpu);
            self.most.memory = self.most.memory.max(room.memory);
        }
        self.slots.insert(at, entry.slot);
        self.least = match self.keys.len() {
            1 => (entry.cpu, entry.memory),
            _ => (self.least.0.min(entry.cpu), self.least.1.min(entry.memory)),
        };
        self.note_ends();
    }

    fn remove(&mut self, at: usize) {
        self.keys.remove(at);
        let parts = (self.cpu.remove(at), self.memory.remove(at));
        let mut was_extreme = parts.0 == self.least.0 || parts.1 == self.least.1;
        if !self.free.0.is_empty() {
            let (cpu, memory) = (self.free.0.remove(at), self.free.1.remove(at));
            was_extreme |= cpu == self.most.cpu || memory == self.most.memory;
        }
        self.slots.remove(at);
        match was_extreme {
            true => self.note(),
            false => self.note_ends(),
        }
    }

    fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self {
            keys: self.keys.split_off(at),
            cpu: self.cpu.split_off(at),
            memory: self.memory.split_off(at),
            free: match self.free.0.is_empty() {
                true => Default::default(),
                false => (self.free.0.split_off(at), self.free.1.split_off(at)),
            },
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
        self.free.0.append(&mut other.free.0);
        self.free.1.append(&mut other.free.1);
        self.slots.append(&mut other.slots);
        self.note();
    }

    /// Keeps what a search reads of a run first.
    fn note(&mut self) {
        self.note_ends();
        // Without a branch inside, as `first_of`.
        let least = |parts: &[u8]| parts.iter().fold(u8::MAX, |least, part| least.min(*part));
        self.least = (least(&self.cpu), least(&self.memory));
        let most = |free: &[u16]| free.iter().fold(0, |most, free| most.max(*free));
        self.most = Room {
            cpu: most(&self.free.0),
            memory: most(&self.free.1),
        };
    }

    fn note_ends(&mut self) {
        if let (Some(first), Some(last)) = (self.keys.first(), self.keys.last()) {
            (self.first, self.last) = (*first, *last);
        }
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

/// How finely free room is told apart, in bits behind the leading one.
const MANTISSA: u32 = 10;

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
        /// Who has fewer steps of room than are asked for has too little.
        #[test]
        fn steps_of_room_keep_the_order(amount: u64, shift in 0..64u32, more in 0..1_000u64) {
            let less = amount >> shift;
            let more = less.saturating_add(more);
            prop_assert!(super::steps(less) <= super::steps(more));
            // Half a percent is told apart.
            if less >= 1 << 12 {
                prop_assert!(super::steps(less) < super::steps(less.saturating_add(less / 200)) || less > u64::MAX - less / 200);
            }
        }

        /// It keeps the order of keys through splits and joins.
        #[test]
        fn it_keeps_what_a_plain_map_keeps(
            steps in proptest::collection::vec((0..40i32, 0..60u64, 0..3u8), 0..2_000),
        ) {
            let (mut shelf, mut plain) = (Shelf::default(), BTreeMap::new());
            for (step, rank, fate) in steps {
                let key = Key { step, tally: step % 3, rank };
                let entry = super::Entry { slot: step as Slot * 100 + rank as Slot,
                    cpu: (rank * 7 % 11) as u8,
                    memory: (rank * 5 % 13) as u8,
                    room: Some(super::Room::of(rank * 37 % 50, rank * 31 % 50)),
                };
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
            for run in &mut shelf.runs {
                let kept = (run.first, run.last, run.least, run.most);
                run.note();
                prop_assert_eq!(kept, (run.first, run.last, run.least, run.most));
            }
        }
    }
}
