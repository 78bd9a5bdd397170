use std::collections::BinaryHeap;

use crate::index::Slot;

/// A node that could take the work, with its rank: less is better. Total: no two nodes are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ranked {
    /// The weight, negated where the largest wins.
    pub(crate) cost: i32,
    /// Containers, negated where the most win.
    pub(crate) tally: i32,
    /// The seeded order, or 0 where names decide.
    pub(crate) tie: u64,
    /// The order of names.
    pub(crate) rank: u64,
    pub(crate) slot: Slot,
}

/// The few best of many.
#[derive(Debug)]
pub(super) struct Top {
    /// The worst on top.
    kept: BinaryHeap<Ranked>,
    limit: usize,
}

impl Top {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            kept: BinaryHeap::with_capacity(limit.min(MAX_PREPARED)),
            limit,
        }
    }

    /// The node that one must beat to get in; nothing while there is room.
    pub(super) fn worst(&self) -> Option<&Ranked> {
        self.kept.peek().filter(|_| self.kept.len() >= self.limit)
    }

    /// How many more it would keep.
    pub(super) fn missing(&self) -> usize {
        self.limit - self.kept.len()
    }

    /// How many nodes may be looked at without asking again whether they can get in: few where
    /// the next node found may exclude the others.
    pub(super) fn patience(&self) -> usize {
        (self.limit / 8).max(1)
    }

    pub(super) fn offer(&mut self, ranked: Ranked) {
        if self.kept.len() < self.limit {
            self.kept.push(ranked);
        } else if let Some(mut worst) = self.kept.peek_mut()
            && ranked < *worst
        {
            *worst = ranked;
        }
    }

    /// The best first.
    pub(super) fn into_sorted(self) -> Vec<Ranked> {
        self.kept.into_sorted_vec()
    }
}

const MAX_PREPARED: usize = 1024;
