use crate::index::{Slot, SlotSet, bits};

/// Which nodes come into question by what sets know.
#[derive(Debug)]
pub(super) enum Mask {
    /// All.
    All,
    /// These few: looking at each is the cheapest.
    Few(Vec<Slot>),
    /// Those whose bit is set.
    Bits(Vec<u64>),
}

/// A set that nodes must be in, or must not be in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clause<'s> {
    pub(super) set: &'s SlotSet,
    pub(super) holds: bool,
}

impl Clause<'_> {
    fn admits(self, slot: Slot) -> bool {
        self.set.contains(slot) == self.holds
    }
}

impl Mask {
    /// The nodes that satisfy all clauses, of `slots` in all.
    pub(super) fn of(clauses: &[Clause<'_>], slots: usize) -> Self {
        let positive = clauses.iter().filter(|clause| clause.holds);
        let Some(first) = clauses.first() else {
            return Self::All;
        };
        let smallest = positive.min_by_key(|clause| clause.set.len());
        if let Some(smallest) = smallest
            && is_few(smallest.set.len(), slots)
        {
            let others = |slot: &Slot| clauses.iter().all(|clause| clause.admits(*slot));
            return Self::Few(smallest.set.iter().filter(others).collect());
        }
        // Slots without a node are in no ladder and refused by every look.
        let mut words = vec![u64::MAX; slots.div_ceil(64)];
        for clause in std::iter::once(first).chain(&clauses[1..]) {
            match clause.holds {
                true => clause.set.intersect_into(&mut words),
                false => clause.set.subtract_from(&mut words),
            }
        }
        let count: usize = words.iter().map(|word| word.count_ones() as usize).sum();
        match is_few(count, slots) {
            true => Self::Few(bits(&words).collect()),
            false => Self::Bits(words),
        }
    }

    pub(super) fn admits(&self, slot: Slot) -> bool {
        match self {
            Self::All => true,
            Self::Few(slots) => slots.contains(&slot),
            Self::Bits(words) => words
                .get(slot as usize / 64)
                .is_some_and(|word| word >> (slot % 64) & 1 == 1),
        }
    }
}

/// Looking at `count` nodes costs less than walking the ladder, which meets one of them in every
/// `slots / count` entries, or later where they are the fuller ones.
fn is_few(count: usize, slots: usize) -> bool {
    count <= MIN_FEW || count.saturating_mul(count) <= slots
}

const MIN_FEW: usize = 512;
