use longshore_core::Timestamp;

use super::{Instance, Observed, RETIRING, Reconciler, Services, slots};
use crate::stack::Slot;

/// How a place is doing.
#[derive(Debug)]
pub(in crate::stack) struct SlotStatus {
    pub(in crate::stack) slot: Slot,
    pub(in crate::stack) epoch: u64,
    pub(in crate::stack) instance: Option<Instance>,
    pub(in crate::stack) ready: bool,
    pub(in crate::stack) note: String,
}

impl Reconciler {
    pub(in crate::stack) fn stack(&self, name: &str) -> Option<(&Services, bool)> {
        let stack = self.stacks.get(name)?;
        Some((&stack.services, stack.removing))
    }

    pub(in crate::stack) fn held_nodes(&self) -> Vec<String> {
        self.losses.held().map(str::to_owned).collect()
    }

    /// How places are doing; of one whose node is lost, the instance as it was last seen.
    pub(in crate::stack) fn slot_statuses(
        &self,
        slots: impl Iterator<Item = Slot>,
        observed: &Observed,
        now: Timestamp,
    ) -> Vec<SlotStatus> {
        let scene = slots::Scene::new(observed, &self.losses, now);
        slots
            .map(|slot| {
                let instance = scene.survivor(&slot).or_else(|| scene.last_seen(&slot));
                let ready = scene.is_ready(&slot);
                let note = match (self.busy.get(&slot), self.notes.get(&slot)) {
                    // It runs; only the answer is on its way.
                    (Some(busy), _) if ready && busy.what != RETIRING => String::new(),
                    (Some(busy), _) => busy.note(),
                    (None, Some(note)) => note.clone(),
                    (None, None) => String::new(),
                };
                SlotStatus {
                    epoch: instance.map_or_else(
                        || self.busy.get(&slot).map_or(0, |busy| busy.epoch),
                        |instance| instance.epoch,
                    ),
                    instance: instance.cloned(),
                    ready,
                    note,
                    slot,
                }
            })
            .collect()
    }
}
