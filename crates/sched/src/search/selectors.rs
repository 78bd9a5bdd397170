use std::collections::HashMap;

use super::{
    hot::Hot,
    ladder::{Kind, Ladder},
    terms::Terms,
};
use crate::index::{Slot, SlotSet, bits};

/// Ladders of those nodes only that satisfy a set of constraints. A request with constraints seen
/// before then costs what one without costs, however the other nodes are filled. Few are kept: each
/// costs every change of its nodes an update.
#[derive(Debug, Default)]
pub(super) struct Selectors {
    epoch: u64,
    uses: u64,
    by_key: HashMap<(Vec<(usize, bool)>, Kind), usize>,
    kept: Vec<Selector>,
}

#[derive(Debug)]
struct Selector {
    terms: Vec<(usize, bool)>,
    kind: Kind,
    packs: bool,
    last_use: u64,
    members: SlotSet,
    ladder: Option<Ladder>,
}

impl Selectors {
    /// The number of the ladder for these constraints, if they were seen before.
    pub(super) fn find(
        &mut self,
        selector: &[(usize, bool)],
        kind: Kind,
        packs: bool,
        hots: &[Hot],
        terms: &Terms,
    ) -> Option<usize> {
        if selector.is_empty() {
            return None;
        }
        if self.epoch != terms.epoch() {
            *self = Self {
                epoch: terms.epoch(),
                ..Self::default()
            };
        }
        self.uses += 1;
        let key = (selector.to_vec(), kind);
        let Some(&at) = self.by_key.get(&key) else {
            // Seen for the first time: whether it comes again is not known yet.
            self.note(key, packs);
            return None;
        };
        self.kept[at].last_use = self.uses;
        if self.kept[at].ladder.is_none() {
            self.kept[at].fill(hots, terms);
        }
        Some(at)
    }

    pub(super) fn ladder(&self, at: usize) -> Option<&Ladder> {
        self.kept.get(at)?.ladder.as_ref()
    }

    /// Whether a node satisfies the constraints of a ladder.
    pub(super) fn selects(&self, at: usize, slot: Slot) -> bool {
        self.kept
            .get(at)
            .is_some_and(|selector| selector.members.contains(slot))
    }

    /// The node's labels changed, or it came or left.
    pub(super) fn node_changed(&mut self, slot: Slot, hots: &[Hot], terms: &Terms) {
        if self.epoch != terms.epoch() {
            return;
        }
        for selector in &mut self.kept {
            let Some(ladder) = &mut selector.ladder else {
                continue;
            };
            let belongs = holds(&selector.terms, slot, terms);
            if belongs && selector.members.insert(slot) {
                ladder.insert(slot, hots);
            } else if !belongs && selector.members.remove(slot) {
                ladder.remove(&hots[slot as usize]);
            }
        }
    }

    /// The node's numbers changed.
    pub(super) fn refresh(&mut self, slot: Slot, old: &Hot, hots: &[Hot]) {
        for selector in &mut self.kept {
            if let Some(ladder) = &mut selector.ladder
                && selector.members.contains(slot)
            {
                ladder.remove(old);
                ladder.insert(slot, hots);
            }
        }
    }

    fn note(&mut self, key: (Vec<(usize, bool)>, Kind), packs: bool) {
        let new = Selector {
            terms: key.0.clone(),
            kind: key.1,
            packs,
            last_use: self.uses,
            members: SlotSet::default(),
            ladder: None,
        };
        let oldest = (0..self.kept.len()).min_by_key(|at| self.kept[*at].last_use);
        let at = match oldest.filter(|_| self.kept.len() >= MAX_SELECTORS) {
            Some(at) => {
                let old = std::mem::replace(&mut self.kept[at], new);
                self.by_key.remove(&(old.terms, old.kind));
                at
            }
            None => {
                self.kept.push(new);
                self.kept.len() - 1
            }
        };
        self.by_key.insert(key, at);
    }

    /// Whether every ladder has the open ones of the nodes that satisfy its constraints.
    #[cfg(test)]
    pub(super) fn is_consistent(&self, hots: &[Hot], terms: &Terms) -> bool {
        self.epoch != terms.epoch()
            || self.kept.iter().all(|selector| {
                let Some(ladder) = &selector.ladder else {
                    return true;
                };
                let mut fresh = Ladder::new(selector.kind, selector.packs);
                let all = 0..hots.len() as Slot;
                for slot in all.filter(|slot| holds(&selector.terms, *slot, terms)) {
                    fresh.insert(slot, hots);
                }
                let sorted = |ladder: &Ladder| ladder.slots().collect::<SlotSet>();
                sorted(ladder).iter().eq(sorted(&fresh).iter())
            })
    }
}

impl Selector {
    fn fill(&mut self, hots: &[Hot], terms: &Terms) {
        let mut words = vec![u64::MAX; hots.len().div_ceil(64)];
        for (at, holds) in &self.terms {
            match holds {
                true => terms.set(*at).intersect_into(&mut words),
                false => terms.set(*at).subtract_from(&mut words),
            }
        }
        self.members = bits(&words)
            .filter(|slot| (*slot as usize) < hots.len())
            .collect();
        let mut ladder = Ladder::new(self.kind, self.packs);
        for slot in self.members.iter() {
            ladder.insert(slot, hots);
        }
        self.ladder = Some(ladder);
    }
}

fn holds(selector: &[(usize, bool)], slot: Slot, terms: &Terms) -> bool {
    selector
        .iter()
        .all(|(at, holds)| terms.set(*at).contains(slot) == *holds)
}

const MAX_SELECTORS: usize = 64;
