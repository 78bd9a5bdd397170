use std::collections::{BTreeSet, HashSet};

use longshore_core::WorkloadId;

use super::jobs::INSPECTIONS;

/// Which containers to inspect next: each once however many events name it, a few at a time, and
/// again if something happened while it was inspected.
#[derive(Debug, Default)]
pub(super) struct InspectQueue {
    waiting: BTreeSet<WorkloadId>,
    running: HashSet<WorkloadId>,
    overflowed: bool,
}

impl InspectQueue {
    pub(super) fn add(&mut self, id: WorkloadId) {
        if self.waiting.len() < LIMIT {
            self.waiting.insert(id);
        } else {
            self.overflowed = true;
        }
    }

    /// It is gone: no need to look.
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        self.waiting.remove(id);
    }

    /// The next one to inspect now; tell [`done`](Self::done) afterwards.
    pub(super) fn next(&mut self) -> Option<WorkloadId> {
        if self.running.len() >= INSPECTIONS {
            return None;
        }
        let id = self
            .waiting
            .iter()
            .find(|id| !self.running.contains(*id))
            .cloned()?;
        self.waiting.remove(&id);
        self.running.insert(id.clone());
        Some(id)
    }

    pub(super) fn done(&mut self, id: &WorkloadId) {
        self.running.remove(id);
    }

    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.overflowed = false;
    }

    /// Whether more was asked for than is kept: then only a full refresh finds everything.
    pub(super) fn take_overflow(&mut self) -> bool {
        std::mem::take(&mut self.overflowed)
    }
}

/// More than this many waiting inspections of one node become one full refresh.
const LIMIT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> WorkloadId {
        WorkloadId::new(format!("c{number:05}")).unwrap()
    }

    #[test]
    fn a_burst_about_one_container_is_one_inspection() {
        let mut queue = InspectQueue::default();
        for _ in 0..100 {
            queue.add(id(1));
        }
        assert_eq!(queue.next(), Some(id(1)));
        assert_eq!(queue.next(), None);
        // Something happened meanwhile: once more, but not at the same time.
        queue.add(id(1));
        assert_eq!(queue.next(), None);
        queue.done(&id(1));
        assert_eq!(queue.next(), Some(id(1)));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut queue = InspectQueue::default();
        for number in 0..2 * LIMIT {
            queue.add(id(number));
        }
        assert_eq!(queue.waiting.len(), LIMIT);
        assert!(queue.take_overflow() && !queue.take_overflow());
        let running = std::iter::from_fn(|| queue.next()).count();
        assert_eq!(running, INSPECTIONS);
    }
}
