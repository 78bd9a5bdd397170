use crate::index::{Slot, SlotSet, bits};

/// Which nodes come into question by what sets know.
#[derive(Clone, Debug)]
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

    fn apply(self, words: &mut [u64]) {
        match self.holds {
            true => self.set.intersect_into(words),
            false => self.set.subtract_from(words),
        }
    }
}

impl Mask {
    /// The nodes that satisfy all clauses, of `slots` in all.
    pub(super) fn of(clauses: &[Clause<'_>], slots: usize) -> Self {
        let positive = clauses.iter().filter(|clause| clause.holds);
        if clauses.is_empty() {
            return Self::All;
        }
        let smallest = positive.min_by_key(|clause| clause.set.len());
        if let Some(smallest) = smallest
            && is_few(smallest.set.len(), slots)
        {
            let others = |slot: &Slot| clauses.iter().all(|clause| clause.admits(*slot));
            return Self::Few(smallest.set.iter().filter(others).collect());
        }
        let mut words = all(slots);
        for clause in clauses {
            clause.apply(&mut words);
        }
        Self::from_words(words, slots)
    }

    /// Those of the nodes that satisfy one more clause.
    pub(super) fn keep(self, clause: Clause<'_>, slots: usize) -> Self {
        let mut words = match self {
            Self::Few(mut few) => {
                few.retain(|slot| clause.admits(*slot));
                return Self::Few(few);
            }
            Self::All => all(slots),
            Self::Bits(words) => words,
        };
        clause.apply(&mut words);
        Self::from_words(words, slots)
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Few(slots) if slots.is_empty())
    }

    /// As a bitmap.
    pub(super) fn into_words(self, slots: usize) -> Vec<u64> {
        match self {
            Self::All => all(slots),
            Self::Bits(words) => words,
            Self::Few(few) => {
                let mut words = vec![0; slots.div_ceil(64)];
                for slot in few {
                    if let Some(word) = words.get_mut(slot as usize / 64) {
                        *word |= 1 << (slot % 64);
                    }
                }
                words
            }
        }
    }

    /// As a set.
    pub(super) fn into_set(self, slots: usize) -> SlotSet {
        match self {
            Self::Few(few) => few.into_iter().collect(),
            other => SlotSet::from_words(other.into_words(slots)),
        }
    }

    fn from_words(words: Vec<u64>, slots: usize) -> Self {
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

/// Slots without a node are in no ladder and refused by every look.
fn all(slots: usize) -> Vec<u64> {
    vec![u64::MAX; slots.div_ceil(64)]
}

/// Looking at `count` nodes costs less than walking the ladder, which meets one of them in every
/// `slots / count` entries, or later where they are the fuller ones.
fn is_few(count: usize, slots: usize) -> bool {
    count <= MIN_FEW || count.saturating_mul(count) <= slots
}

const MIN_FEW: usize = 512;
