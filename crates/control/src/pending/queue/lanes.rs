use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use super::{Owner, Ticket};

/// What is to be tried, by importance, then by whose turn it is, then by age.
///
/// Turns are numbers that only grow: who comes or was served gets the next one, so the least is that
/// of the owner who was served least lately.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    ready: BTreeMap<Reverse<i32>, BTreeMap<u64, BTreeSet<Ticket>>>,
    /// Of all who wait, and with how many pieces of work.
    turns: HashMap<Owner, (u64, usize)>,
    next: u64,
}

impl Lanes {
    /// One more piece of an owner's work waits.
    pub(super) fn enter(&mut self, owner: &Owner) {
        let next = &mut self.next;
        let (_, count) = self.turns.entry(owner.clone()).or_insert_with(|| {
            *next += 1;
            (*next, 0)
        });
        *count += 1;
    }

    /// One less waits.
    pub(super) fn leave(&mut self, owner: &Owner) {
        if let Some((_, count)) = self.turns.get_mut(owner) {
            *count -= 1;
            if *count == 0 {
                self.turns.remove(owner);
            }
        }
    }

    /// The owner was served: the next turn is that of others.
    pub(super) fn served(&mut self, owner: &Owner) {
        let Some((turn, _)) = self.turns.get_mut(owner) else {
            return;
        };
        self.next += 1;
        let before = std::mem::replace(turn, self.next);
        for lanes in self.ready.values_mut() {
            if let Some(lane) = lanes.remove(&before) {
                lanes.insert(self.next, lane);
            }
        }
    }

    /// It is to be tried.
    pub(super) fn insert(&mut self, priority: i32, owner: &Owner, ticket: Ticket) {
        if let Some((turn, _)) = self.turns.get(owner) {
            let lanes = self.ready.entry(Reverse(priority)).or_default();
            lanes.entry(*turn).or_default().insert(ticket);
        }
    }

    /// It is not to be tried any more.
    pub(super) fn remove(&mut self, priority: i32, owner: &Owner, ticket: Ticket) {
        let key = Reverse(priority);
        let (Some((turn, _)), Some(lanes)) = (self.turns.get(owner), self.ready.get_mut(&key))
        else {
            return;
        };
        if let Some(lane) = lanes.get_mut(turn) {
            lane.remove(&ticket);
            if lane.is_empty() {
                lanes.remove(turn);
            }
        }
        if lanes.is_empty() {
            self.ready.remove(&key);
        }
    }

    /// The first to try.
    pub(super) fn first(&self) -> Option<Ticket> {
        let (_, lanes) = self.ready.first_key_value()?;
        lanes.first_key_value()?.1.first().copied()
    }

    /// What waits, by importance and owner, in the order in which it would be served if all fitted.
    pub(super) fn in_turn(
        &self,
        waiting: BTreeMap<i32, BTreeMap<&Owner, BTreeSet<Ticket>>>,
    ) -> Vec<Ticket> {
        let mut order = Vec::new();
        let mut next = self.next;
        let mut turns: HashMap<&Owner, u64> = HashMap::new();
        for (owner, (turn, _)) in &self.turns {
            turns.insert(owner, *turn);
        }
        for (_, by_owner) in waiting.into_iter().rev() {
            let mut lanes: BTreeMap<u64, (&Owner, BTreeSet<Ticket>)> = BTreeMap::new();
            for (owner, tickets) in by_owner {
                let turn = turns.get(owner).copied().unwrap_or_default();
                lanes.insert(turn, (owner, tickets));
            }
            while let Some((_, (owner, mut tickets))) = lanes.pop_first() {
                order.extend(tickets.pop_first());
                next += 1;
                turns.insert(owner, next);
                if !tickets.is_empty() {
                    lanes.insert(next, (owner, tickets));
                }
            }
        }
        order
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty() && self.turns.is_empty()
    }
}
