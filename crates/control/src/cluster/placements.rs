use std::collections::{HashMap, VecDeque};

use longshore_core::{Explanation, WorkloadId};

/// Why workloads are where they are, kept from the time of their placement; the oldest are dropped.
#[derive(Debug)]
pub(super) struct PlacementLog {
    capacity: usize,
    order: VecDeque<WorkloadId>,
    kept: HashMap<WorkloadId, Explanation>,
}

impl PlacementLog {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            order: VecDeque::new(),
            kept: HashMap::new(),
        }
    }

    pub(super) fn keep(&mut self, id: WorkloadId, explanation: Explanation) {
        if self.capacity == 0 {
            return;
        }
        if self.kept.insert(id.clone(), explanation).is_none() {
            self.order.push_back(id);
        }
        while self.kept.len() > self.capacity {
            match self.order.pop_front() {
                Some(oldest) => self.kept.remove(&oldest),
                None => break,
            };
        }
    }

    pub(super) fn get(&self, id: &WorkloadId) -> Option<&Explanation> {
        self.kept.get(id)
    }

    /// Forgets a workload that is gone. Its place in the order is skipped when it comes up.
    pub(super) fn forget(&mut self, id: &WorkloadId) {
        if self.kept.remove(id).is_some() && self.order.len() > 2 * self.kept.len() + 16 {
            self.order.retain(|id| self.kept.contains_key(id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> WorkloadId {
        WorkloadId::new(format!("c{number}")).unwrap()
    }

    #[test]
    fn the_log_is_bounded_also_under_churn() {
        let mut log = PlacementLog::new(10);
        for number in 0..1000 {
            log.keep(id(number), Explanation::new(number.to_string(), Vec::new()));
            if number % 2 == 0 {
                log.forget(&id(number));
            }
            assert!(log.kept.len() <= 10 && log.order.len() <= 40);
        }
        assert!(log.get(&id(999)).is_some());
        assert!(log.get(&id(1)).is_none());
    }
}
