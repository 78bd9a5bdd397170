//! Instances that wait for room: woken by what may help them, not by the clock.

use super::{Busy, ReconcileAction, Reconciler, ServiceSpec, Waits};

impl Reconciler {
    /// Says that no node can take what is to be made, and why: it waits until one can. The action goes
    /// on meanwhile, unless it is [withdrawn](Self::take_withdrawn).
    pub fn waits(&mut self, action: &ReconcileAction, reason: impl Into<String>) {
        if let Some(busy) = self.busy.get_mut(&action.slot)
            && busy.op == action.op
            && busy.create.is_some()
        {
            busy.waits = Some(Waits {
                reason: reason.into(),
                wanted: true,
            });
        }
    }

    /// The numbers of actions that wait and are not to be carried out any more, each told once: what
    /// is desired or there has changed. Each is to be [finished](Self::finish) as
    /// [given up](super::ActionOutcome::GivenUp), if it has not found room just now.
    pub fn take_withdrawn(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.withdrawn)
    }

    /// Withdraws all that waits: somebody else acts from now on.
    pub fn withdraw_all(&mut self) {
        self.doubt_waits();
        self.withdraw();
    }

    /// Before every place is looked at: whether what waits is still wanted turns out there.
    pub(super) fn doubt_waits(&mut self) {
        for waits in self
            .busy
            .values_mut()
            .filter_map(|busy| busy.waits.as_mut())
        {
            waits.wanted = false;
        }
    }

    /// After every place was looked at: what turned out not to be wanted as it is waits no longer.
    pub(super) fn withdraw(&mut self) {
        for busy in self.busy.values_mut() {
            if busy.waits.take_if(|waits| !waits.wanted).is_some() {
                self.withdrawn.push(busy.op);
            }
        }
    }
}

impl Busy {
    /// A place that is busy would be given an action: the same as it waits with, or another.
    pub(super) fn would(&mut self, create: Option<&ServiceSpec>) {
        if let Some(waits) = &mut self.waits {
            let pair = create.zip(self.create.as_deref());
            waits.wanted = pair.is_some_and(|(now, then)| now.makes_the_same(then));
        }
    }

    /// What goes on.
    pub(super) fn note(&self) -> String {
        match &self.waits {
            Some(waits) => waits.reason.clone(),
            None => self.what.to_owned(),
        }
    }
}
