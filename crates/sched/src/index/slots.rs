use super::Slot;

/// A set of nodes: a sorted list while it is small beside the cluster, a bitmap from then on. So a
/// port that three nodes hold costs a few bytes, and a label that half of the cluster has one bit a
/// node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotSet {
    len: usize,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Sparse(Vec<Slot>),
    Dense(Vec<u64>),
}

impl Default for Form {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl SlotSet {
    /// One node.
    pub(crate) fn of(slot: Slot) -> Self {
        Self {
            len: 1,
            form: Form::Sparse(vec![slot]),
        }
    }

    /// All nodes that are in any of these.
    pub(crate) fn union<'s>(mut sets: impl Iterator<Item = &'s Self>) -> Self {
        let Some(first) = sets.next() else {
            return Self::default();
        };
        let Some(second) = sets.next() else {
            return first.clone();
        };
        let mut words = Vec::new();
        for set in [first, second].into_iter().chain(sets) {
            set.unite_into(&mut words);
        }
        Self::from_words(words)
    }

    /// The nodes whose bit is set.
    pub(crate) fn from_words(words: Vec<u64>) -> Self {
        let mut set = Self {
            len: words.iter().map(|word| word.count_ones() as usize).sum(),
            form: Form::Dense(words),
        };
        set.thin();
        set
    }

    /// How many nodes are in it.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn contains(&self, slot: Slot) -> bool {
        match &self.form {
            Form::Sparse(slots) => slots.binary_search(&slot).is_ok(),
            Form::Dense(words) => words
                .get(slot as usize / 64)
                .is_some_and(|word| word >> (slot % 64) & 1 == 1),
        }
    }

    /// Adds a node; says whether it was new.
    pub(crate) fn insert(&mut self, slot: Slot) -> bool {
        let new = match &mut self.form {
            Form::Sparse(slots) => match slots.binary_search(&slot) {
                Ok(_) => false,
                Err(at) => {
                    slots.insert(at, slot);
                    true
                }
            },
            Form::Dense(words) => {
                let at = slot as usize / 64;
                if words.len() <= at {
                    words.resize(at + 1, 0);
                }
                let bit = 1 << (slot % 64);
                let new = words[at] & bit == 0;
                words[at] |= bit;
                new
            }
        };
        self.len += usize::from(new);
        self.thicken();
        new
    }

    /// Takes a node out; says whether it was there.
    pub(crate) fn remove(&mut self, slot: Slot) -> bool {
        let had = match &mut self.form {
            Form::Sparse(slots) => match slots.binary_search(&slot) {
                Ok(at) => {
                    slots.remove(at);
                    true
                }
                Err(_) => false,
            },
            Form::Dense(words) => match words.get_mut(slot as usize / 64) {
                Some(word) => {
                    let bit = 1 << (slot % 64);
                    let had = *word & bit != 0;
                    *word &= !bit;
                    had
                }
                None => false,
            },
        };
        self.len -= usize::from(had);
        self.thin();
        had
    }

    /// All nodes in it, in slot order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        let (slots, words): (&[Slot], &[u64]) = match &self.form {
            Form::Sparse(slots) => (slots, &[]),
            Form::Dense(words) => (&[], words),
        };
        slots.iter().copied().chain(bits(words))
    }

    /// Adds what is in the set to the bitmap, which grows as needed.
    pub(crate) fn unite_into(&self, target: &mut Vec<u64>) {
        match &self.form {
            Form::Dense(words) => {
                if target.len() < words.len() {
                    target.resize(words.len(), 0);
                }
                for (word, other) in target.iter_mut().zip(words) {
                    *word |= other;
                }
            }
            Form::Sparse(slots) => {
                if let Some(last) = slots.last()
                    && target.len() <= *last as usize / 64
                {
                    target.resize(*last as usize / 64 + 1, 0);
                }
                for slot in slots {
                    target[*slot as usize / 64] |= 1 << (slot % 64);
                }
            }
        }
    }

    /// Whether the bitmap has any of the set.
    pub(crate) fn meets(&self, words: &[u64]) -> bool {
        match &self.form {
            Form::Dense(own) => own.iter().zip(words).any(|(a, b)| a & b != 0),
            Form::Sparse(slots) => slots.iter().any(|slot| {
                let word = words.get(*slot as usize / 64);
                word.is_some_and(|word| word >> (slot % 64) & 1 == 1)
            }),
        }
    }

    /// Keeps in the bitmap what is in the set too.
    pub(crate) fn intersect_into(&self, target: &mut [u64]) {
        match &self.form {
            Form::Dense(words) => {
                let known = words.len().min(target.len());
                for (word, other) in target.iter_mut().zip(words) {
                    *word &= other;
                }
                target[known..].fill(0);
            }
            Form::Sparse(slots) => {
                let mut rest = slots.iter().copied().peekable();
                for (at, word) in target.iter_mut().enumerate() {
                    let mut keep = 0;
                    while let Some(slot) = rest.next_if(|slot| *slot as usize / 64 == at) {
                        keep |= 1 << (slot % 64);
                    }
                    *word &= keep;
                }
            }
        }
    }

    /// Takes out of the bitmap what is in the set.
    pub(crate) fn subtract_from(&self, target: &mut [u64]) {
        match &self.form {
            Form::Dense(words) => {
                for (word, other) in target.iter_mut().zip(words) {
                    *word &= !other;
                }
            }
            Form::Sparse(slots) => {
                for slot in slots {
                    if let Some(word) = target.get_mut(*slot as usize / 64) {
                        *word &= !(1 << (slot % 64));
                    }
                }
            }
        }
    }

    /// A list takes 32 bits a node, a bitmap one bit for each that could be in it.
    fn thicken(&mut self) {
        if let Form::Sparse(slots) = &self.form
            && let Some(last) = slots.last()
            && slots.len() > MIN_DENSE
            && slots.len() * 32 > *last as usize
        {
            let mut words = vec![0; *last as usize / 64 + 1];
            for slot in slots {
                words[*slot as usize / 64] |= 1 << (slot % 64);
            }
            self.form = Form::Dense(words);
        }
    }

    /// Only at half of the bound, so that a set on the edge does not change its form all the time.
    fn thin(&mut self) {
        if let Form::Dense(words) = &self.form
            && (self.len * 64 < words.len() * 64 / 2 || self.len < MIN_DENSE / 2)
        {
            self.form = Form::Sparse(bits(words).collect());
        }
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut slots: Vec<Slot> = slots.into_iter().collect();
        slots.sort_unstable();
        slots.dedup();
        let mut set = Self {
            len: slots.len(),
            form: Form::Sparse(slots),
        };
        set.thicken();
        set
    }
}

/// The positions of the bits that are set.
pub(crate) fn bits(words: &[u64]) -> impl Iterator<Item = Slot> + '_ {
    words.iter().enumerate().flat_map(|(at, word)| {
        let mut rest = *word;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            Some(at as Slot * 64 + bit)
        })
    })
}

/// Below this a list is smaller and as fast.
const MIN_DENSE: usize = 32;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever its form, it holds what was put in and not taken out.
        #[test]
        fn it_holds_what_a_plain_set_holds(
            steps in proptest::collection::vec((0..2_000u32, any::<bool>()), 0..600),
            mask in proptest::collection::vec(any::<u64>(), 0..40),
        ) {
            let (mut set, mut plain) = (SlotSet::default(), BTreeSet::new());
            for (slot, add) in steps {
                if add {
                    prop_assert_eq!(set.insert(slot), plain.insert(slot));
                } else {
                    prop_assert_eq!(set.remove(slot), plain.remove(&slot));
                }
                prop_assert_eq!(set.len(), plain.len());
            }
            prop_assert!(set.iter().eq(plain.iter().copied()));
            prop_assert!((0..2_100).all(|slot| set.contains(slot) == plain.contains(&slot)));
            let (mut both, mut without, mut either) = (mask.clone(), mask.clone(), mask.clone());
            set.unite_into(&mut either);
            let masked = SlotSet::from_words(mask.clone());
            prop_assert!(masked.iter().eq(bits(&mask)));
            prop_assert_eq!(masked.len(), bits(&mask).count());
            let all: BTreeSet<Slot> = bits(&mask).chain(plain.iter().copied()).collect();
            prop_assert!(bits(&either).eq(all.iter().copied()));
            prop_assert!(SlotSet::union([&set, &masked].into_iter()).iter().eq(all.iter().copied()));
            prop_assert_eq!(set.meets(&mask), bits(&mask).any(|slot| plain.contains(&slot)));
            set.intersect_into(&mut both);
            set.subtract_from(&mut without);
            prop_assert!(bits(&both).eq(bits(&mask).filter(|slot| plain.contains(slot))));
            prop_assert!(bits(&without).eq(bits(&mask).filter(|slot| !plain.contains(slot))));
            prop_assert_eq!(plain.into_iter().collect::<SlotSet>().len(), set.len());
        }
    }
}
