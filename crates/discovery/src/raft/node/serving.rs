//! Questions that the leader answers with a majority behind it.

use std::collections::BTreeMap;

use longshore_core::LeaseId;

use super::Core;

/// Who asked what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    /// Nobody but ourselves.
    pub(super) peer: Option<usize>,
    /// The asker's number.
    pub(super) id: u64,
    pub(super) lease: Option<LeaseId>,
    /// What has to be applied.
    pub(super) index: u64,
}

#[derive(Debug, Default)]
pub(super) struct Serving {
    last: u64,
    asked: BTreeMap<u64, Served>,
    /// Confirmed, and waiting for what is not applied here yet.
    confirmed: Vec<Served>,
}

impl Serving {
    pub(super) fn ask(
        &mut self,
        core: &mut Core,
        peer: Option<usize>,
        id: u64,
        lease: Option<LeaseId>,
    ) {
        let is_full = self.asked.len() + self.confirmed.len() >= MOST;
        if !is_full && core.confirm(self.last + 1) {
            self.last += 1;
            let index = 0;
            self.asked.insert(
                self.last,
                Served {
                    peer,
                    id,
                    lease,
                    index,
                },
            );
        }
    }

    /// Forgets all questions, but not which numbers were used.
    pub(super) fn forget(&mut self) {
        self.asked.clear();
        self.confirmed.clear();
    }

    /// What can be answered.
    pub(super) fn poll(&mut self, core: &mut Core, applied: u64) -> Vec<Served> {
        while let Some((number, index)) = core.poll_confirmed() {
            if let Some(served) = self.asked.remove(&number) {
                self.confirmed.push(Served { index, ..served });
            }
        }
        let (can, wait) = std::mem::take(&mut self.confirmed)
            .into_iter()
            .partition(|served| served.index <= applied);
        self.confirmed = wait;
        can
    }
}

/// Questions at a time; who gets no answer asks again.
const MOST: usize = 16_384;
