use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
};

use crate::{index::Slot, search::Ranked};

/// The best nodes for the replicas of a batch, as far as a search went. A node that takes a replica
/// is put in its new place; all nodes that were not found stay behind the horizon.
#[derive(Debug)]
pub(super) struct Front {
    heap: BinaryHeap<Reverse<Ranked>>,
    /// The worst that was found, if the search ended there.
    horizon: Option<Ranked>,
}

impl Front {
    /// What a search for at most `look` nodes found, best first.
    pub(super) fn of(found: Vec<Ranked>, look: usize) -> Self {
        Self {
            horizon: found.last().filter(|_| found.len() >= look).copied(),
            heap: found.into_iter().map(Reverse).collect(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.heap.iter().map(|Reverse(ranked)| ranked.slot)
    }

    /// The best node of all, to be ranked anew or taken out; nothing if it may be another than
    /// those that were found.
    pub(super) fn best(&mut self) -> Option<Best<'_>> {
        let horizon = self.horizon;
        let best = self.heap.peek_mut()?;
        horizon
            .is_none_or(|horizon| best.0 <= horizon)
            .then_some(Best(best))
    }
}

pub(super) struct Best<'f>(PeekMut<'f, Reverse<Ranked>>);

impl Best<'_> {
    pub(super) fn slot(&self) -> Slot {
        self.0.0.slot
    }

    /// How it ranks now, if it could take another replica.
    pub(super) fn becomes(mut self, ranked: Option<Ranked>) {
        match ranked {
            Some(ranked) => self.0.0 = ranked,
            None => {
                PeekMut::pop(self.0);
            }
        }
    }
}
