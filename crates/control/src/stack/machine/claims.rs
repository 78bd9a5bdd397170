use std::collections::{BTreeMap, BTreeSet, HashSet};

use longshore_core::{NodeId, ServiceName, Timestamp, WorkloadId};

use super::{Observed, loss::Losses};
use crate::stack::Slot;

type Key = (NodeId, WorkloadId);

/// Containers that may be live though the view does not show it: started and not seen yet, or, for
/// at-most-one services, on a node that is out of sight. A claim ends only on evidence.
#[derive(Debug, Default)]
pub(super) struct Claims {
    by_slot: BTreeMap<Slot, BTreeMap<Key, Claim>>,
}

#[derive(Debug)]
struct Claim {
    at: Timestamp,
    seen: bool,
}

impl Claims {
    pub(super) fn add(&mut self, slot: Slot, node: NodeId, id: WorkloadId, at: Timestamp) {
        let claims = self.by_slot.entry(slot).or_default();
        claims.insert((node, id), Claim { at, seen: false });
    }

    pub(super) fn observe(
        &mut self,
        observed: &Observed,
        careful: &BTreeSet<Slot>,
        losses: &Losses,
    ) {
        let mut present: HashSet<(&NodeId, &WorkloadId)> = HashSet::new();
        for instance in &observed.instances {
            present.insert((&instance.node, &instance.id));
            if !careful.contains(&instance.slot) || losses.is_dead(&instance.node) {
                continue;
            }
            // What runs now, or may run since, is claimed, whoever started it.
            let claims = self.by_slot.entry(instance.slot.clone()).or_default();
            let key = (instance.node.clone(), instance.id.clone());
            match claims.get_mut(&key) {
                Some(claim) => claim.seen = true,
                None if instance.state != longshore_core::WorkloadState::Created => {
                    claims.insert(
                        key,
                        Claim {
                            at: Timestamp::ZERO,
                            seen: true,
                        },
                    );
                }
                None => {}
            }
        }
        let listed: BTreeMap<&NodeId, Timestamp> = observed
            .nodes
            .iter()
            .filter(|node| node.is_up())
            .filter_map(|node| Some((node.id.as_ref()?, node.listed_at?)))
            .collect();
        for (slot, claims) in &mut self.by_slot {
            let strict = careful.contains(slot);
            claims.retain(|(node, id), claim| {
                if losses.is_dead(node) {
                    return false;
                }
                let here = present.contains(&(node, id));
                if !strict {
                    // The view takes over as soon as it shows it, or its node is lost.
                    let settled = here || !losses.is_up(node);
                    return !settled && listed.get(node).is_some_and(|at| *at <= claim.at);
                }
                // Gone: its node answers, and was looked at after the start was asked for.
                let looked = listed
                    .get(node)
                    .is_some_and(|at| claim.seen || *at > claim.at);
                here || !looked
            });
        }
        self.by_slot.retain(|_, claims| !claims.is_empty());
    }

    /// Where containers of a place may be live.
    pub(super) fn of(&self, slot: &Slot) -> impl Iterator<Item = &Key> {
        self.by_slot
            .get(slot)
            .into_iter()
            .flat_map(|claims| claims.keys())
    }

    pub(super) fn drop_node(&mut self, node: &str) {
        for claims in self.by_slot.values_mut() {
            claims.retain(|(on, _), _| on.as_str() != node);
        }
        self.by_slot.retain(|_, claims| !claims.is_empty());
    }

    pub(super) fn holds_node(&self, node: &str) -> bool {
        self.by_slot
            .values()
            .any(|claims| claims.keys().any(|(on, _)| on.as_str() == node))
    }

    pub(super) fn drop_stack(&mut self, stack: &ServiceName) {
        self.by_slot.retain(|slot, _| slot.stack != *stack);
    }
}
