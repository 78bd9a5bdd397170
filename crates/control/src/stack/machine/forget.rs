//! The end of stacks.

use std::time::Duration;

use longshore_core::{ServiceName, Timestamp};

use super::{Reconciler, slots};

impl Reconciler {
    /// Forgets a stack and leaves its instances alone.
    pub(in crate::stack) fn drop_stack(&mut self, name: &str) {
        let Some((name, _)) = self.stacks.remove_entry(name) else {
            return;
        };
        self.retries.retain(|slot, _| slot.stack != name);
        self.forget_at.remove(&name);
        self.claims.drop_stack(&name);
        self.losses.drop_stack(&name);
    }

    /// Stacks that are kept though they are removed and nothing of them is left: whoever said
    /// [`keep_removed`](Self::keep_removed) forgets them.
    pub(in crate::stack) fn take_over(&mut self) -> Vec<ServiceName> {
        std::mem::take(&mut self.over)
    }

    /// Lets removed stacks stand until [`drop_stack`](Self::drop_stack).
    pub(crate) fn keep_removed(mut self) -> Self {
        self.keeps_removed = true;
        self
    }

    /// Forgets stacks that are gone, and what belonged to them.
    pub(super) fn forget(
        &mut self,
        names: &[ServiceName],
        scene: &slots::Scene<'_>,
        now: Timestamp,
    ) {
        for name in names {
            let over = self.stacks.get(name).is_some_and(|stack| stack.removing)
                && !scene.has_stack(name)
                && !self.busy.keys().any(|slot| slot.stack == *name);
            if over && self.keeps_removed {
                let next = self.forget_at.entry(name.clone()).or_insert(now);
                if *next <= now {
                    *next = now.after(FORGET_AGAIN);
                    self.over.push(name.clone());
                }
            } else if over {
                self.drop_stack(name.as_str());
            }
        }
        let stacks = &self.stacks;
        self.epochs
            .retain(|slot, _| stacks.contains_key(&slot.stack));
    }
}

/// A stack that is to be forgotten and stays known is told of again after this long.
const FORGET_AGAIN: Duration = Duration::from_secs(5);
