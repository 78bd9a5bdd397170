//! Nodes in the order in which a request prefers them before their weight counts: by the wishes that
//! they fulfil, then by the replicas in their branch of each placement preference.
//!
//! A step splits the nodes at hand into parts, best first, and goes into one part after the other. Where no
//! node is in a part, none is looked at; so what is searched are the few best parts, not the nodes.

use std::{borrow::Cow, collections::BTreeMap, ops::ControlFlow};

use super::mask::{Clause, Mask};
use crate::{
    domains::Branches,
    index::{Catalogue, SlotSet, Text},
};

/// What nodes are told apart by, the most important first.
#[derive(Debug)]
pub(super) struct Cells<'s> {
    splits: Vec<Split<'s>>,
    branches: &'s Branches,
    catalogue: &'s Catalogue,
    slots: usize,
}

#[derive(Debug)]
enum Split<'s> {
    /// A digit of the sum of the weights of what is fulfilled: those that have it first.
    Digit(SlotSet),
    /// A wish: those that fulfil it first.
    Wish(Clause<'s>),
    /// The branches of one more label: those with the fewest replicas first.
    Depth,
}

impl<'s> Cells<'s> {
    /// For wishes with their weights, and for branches.
    pub(super) fn new(
        wishes: &[(Clause<'s>, u32)],
        branches: &'s Branches,
        catalogue: &'s Catalogue,
        slots: usize,
    ) -> Self {
        let digits = digits(wishes, slots).into_iter().rev();
        let digits = digits.map(|digit| Split::Digit(SlotSet::from_words(digit)));
        let single = wishes.iter().map(|(clause, _)| Split::Wish(*clause));
        let depths = branches.labels().iter().map(|_| Split::Depth);
        Self {
            splits: digits.chain(single).chain(depths).collect(),
            branches,
            catalogue,
            slots,
        }
    }

    /// Hands over every set of nodes that nothing tells apart, the best first, until told to stop.
    pub(super) fn walk(
        &self,
        nodes: Mask,
        visit: &mut impl FnMut(&Mask) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.walk_from(0, nodes, &[], visit)
    }

    /// From one split on; `around` are the replicas in the branches gone into.
    fn walk_from(
        &self,
        at: usize,
        mut nodes: Mask,
        around: &[u64],
        visit: &mut impl FnMut(&Mask) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        if nodes.is_empty() {
            return ControlFlow::Continue(());
        }
        let Some(split) = self.splits.get(at) else {
            return visit(&nodes);
        };
        match split {
            Split::Digit(set) => {
                let (first, others) = self.divide(nodes, Clause { set, holds: true });
                self.walk_from(at + 1, first, around, visit)?;
                self.walk_from(at + 1, others, around, visit)
            }
            Split::Wish(clause) => {
                let (first, others) = self.divide(nodes, *clause);
                self.walk_from(at + 1, first, around, visit)?;
                self.walk_from(at + 1, others, around, visit)
            }
            Split::Depth => {
                let by_count = self.by_count(around);
                let any = SlotSet::union(by_count.values().flatten());
                let none = Clause {
                    set: &any,
                    holds: false,
                };
                let mut part;
                (part, nodes) = self.divide(nodes, none);
                self.walk_from(at + 1, part, &[around, &[0]].concat(), visit)?;
                for (count, sets) in &by_count {
                    let set = SlotSet::union(sets.iter());
                    (part, nodes) = self.divide(
                        nodes,
                        Clause {
                            set: &set,
                            holds: true,
                        },
                    );
                    self.walk_from(at + 1, part, &[around, &[*count]].concat(), visit)?;
                }
                ControlFlow::Continue(())
            }
        }
    }

    fn divide(&self, nodes: Mask, clause: Clause<'_>) -> (Mask, Mask) {
        let holds = !clause.holds;
        let others = nodes.clone().keep(Clause { holds, ..clause }, self.slots);
        (nodes.keep(clause, self.slots), others)
    }

    /// The nodes of the branches of a depth that have replicas, by how many these are. Only those
    /// with so many in the branches around them.
    fn by_count(&self, around: &[u64]) -> BTreeMap<u64, Vec<SlotSet>> {
        let counts = self.branches.counts();
        let is_here = |path: &[Text]| {
            let mut outer = around.iter().enumerate();
            outer.all(|(at, count)| counts.of(&path[..=at]) == *count)
        };
        let mut by_count: BTreeMap<u64, Vec<SlotSet>> = BTreeMap::new();
        for (path, count) in counts.at_depth(around.len() + 1) {
            if is_here(path) {
                by_count.entry(count).or_default().push(self.branch(path));
            }
        }
        by_count
    }

    fn branch(&self, path: &[Text]) -> SlotSet {
        let labels = self.branches.labels().iter().zip(path);
        let sets: Vec<(Cow<'_, SlotSet>, bool)> = labels
            .map(|(label, value)| {
                let label = self.catalogue.label(label);
                let having = label.and_then(|label| label.values().nodes(value));
                match (label, having) {
                    // A node without the label is where those with an empty one are.
                    (Some(label), having) if value.is_empty() => {
                        let nothing = SlotSet::default();
                        let mut others = Vec::new();
                        label.any().unite_into(&mut others);
                        having.unwrap_or(&nothing).subtract_from(&mut others);
                        (Cow::Owned(SlotSet::from_words(others)), false)
                    }
                    (None, _) => (Cow::Owned(SlotSet::default()), !value.is_empty()),
                    (_, Some(set)) => (Cow::Borrowed(set), true),
                    (_, None) => (Cow::Owned(SlotSet::default()), true),
                }
            })
            .collect();
        let clauses = sets
            .iter()
            .map(|(set, holds)| Clause { set, holds: *holds });
        Mask::of(&clauses.collect::<Vec<_>>(), self.slots).into_set(self.slots)
    }
}

/// The binary digits of each node's sum of weights, the lowest first.
fn digits(wishes: &[(Clause<'_>, u32)], slots: usize) -> Vec<Vec<u64>> {
    let words = slots.div_ceil(64);
    let mut digits: Vec<Vec<u64>> = Vec::new();
    for (clause, weight) in wishes {
        let fulfil = Mask::of(std::slice::from_ref(clause), slots).into_words(slots);
        for digit in (0..u32::BITS).filter(|digit| weight >> digit & 1 == 1) {
            let mut carry = fulfil.clone();
            for at in digit as usize.. {
                if carry.iter().all(|word| *word == 0) {
                    break;
                }
                if digits.len() <= at {
                    digits.resize(at + 1, vec![0; words]);
                }
                for (sum, carry) in digits[at].iter_mut().zip(&mut carry) {
                    (*sum, *carry) = (*sum ^ *carry, *sum & *carry);
                }
            }
        }
    }
    digits
}
