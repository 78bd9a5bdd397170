use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use longshore_core::Timestamp;

use super::{ClusterEvent, weight::weight};

/// The last events, bounded in number and in bytes: pure bookkeeping.
///
/// Where room is needed, whoever holds most of it gives up its oldest event, so one node that tells
/// without end pushes out its own events and nobody else's.
#[derive(Debug)]
pub(super) struct Ring {
    limits: Limits,
    events: BTreeMap<u64, Entry>,
    holders: HashMap<String, Holder>,
    /// The holders by what they hold.
    by_weight: BTreeSet<(usize, String)>,
    bytes: usize,
    next: u64,
    /// When the latest of the dropped events was recorded.
    dropped_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    event: Arc<ClusterEvent>,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Holder {
    numbers: VecDeque<u64>,
    /// Bytes, and for each event what it takes of the number.
    weight: usize,
}

impl Ring {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits: Limits {
                events: limits.events.max(1),
                bytes: limits.bytes,
            },
            events: BTreeMap::new(),
            holders: HashMap::new(),
            by_weight: BTreeSet::new(),
            bytes: 0,
            next: 0,
            dropped_at: None,
        }
    }

    /// The number of the next event.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Keeps an event, and drops others for it; itself if it weighs more than anybody else holds.
    pub(super) fn push(&mut self, event: ClusterEvent, at: Timestamp) {
        let bytes = weight(&event);
        let number = self.next;
        self.next += 1;
        self.bytes += bytes;
        self.change(holder_of(&event).to_owned(), |holder, each| {
            holder.numbers.push_back(number);
            holder.weight += bytes + each;
        });
        let event = Arc::new(event);
        self.events.insert(number, Entry { at, event, bytes });
        while self.events.len() > 1 && self.is_over() {
            if !self.drop_one() {
                break;
            }
        }
    }

    /// The first event with this number or a later one.
    pub(super) fn from(&self, number: u64) -> Option<(u64, Arc<ClusterEvent>)> {
        let (number, entry) = self.events.range(number..).next()?;
        Some((*number, Arc::clone(&entry.event)))
    }

    /// The number from which on events were recorded at `since` or later. It is smaller than that
    /// of any event kept where some were dropped.
    pub(super) fn since(&self, since: Timestamp) -> u64 {
        let first = self.events.iter().find(|(_, entry)| entry.at >= since);
        let first = first.map_or(self.next, |(number, _)| *number);
        if self.dropped_at.is_some_and(|at| at >= since) {
            let before = self.events.range(..first).next_back();
            before.map_or(0, |(number, _)| number + 1)
        } else {
            first
        }
    }

    fn is_over(&self) -> bool {
        self.events.len() > self.limits.events || self.bytes > self.limits.bytes
    }

    fn drop_one(&mut self) -> bool {
        let Some((_, holder)) = self.by_weight.last().cloned() else {
            return false;
        };
        let held = self.holders.get(&holder);
        let oldest = held.and_then(|held| held.numbers.front());
        let Some(entry) = oldest.and_then(|oldest| self.events.remove(oldest)) else {
            return false;
        };
        debug_assert_eq!(holder_of(&entry.event), holder);
        self.bytes -= entry.bytes;
        self.dropped_at = self.dropped_at.max(Some(entry.at));
        self.change(holder, |holder, each| {
            holder.numbers.pop_front();
            holder.weight -= entry.bytes + each;
        });
        true
    }

    fn change(&mut self, name: String, change: impl FnOnce(&mut Holder, usize)) {
        let each = self.limits.bytes / self.limits.events;
        let holder = self.holders.entry(name.clone()).or_default();
        self.by_weight.remove(&(holder.weight, name.clone()));
        change(holder, each);
        if holder.numbers.is_empty() {
            self.holders.remove(&name);
        } else {
            self.by_weight.insert((holder.weight, name));
        }
    }
}

/// Whose an event is: the address is the control plane's own word, where names are a node's.
fn holder_of(event: &ClusterEvent) -> &str {
    match event {
        ClusterEvent::Engine { node, .. } | ClusterEvent::Node { node, .. } => &node.address,
        ClusterEvent::Alarm { .. } | ClusterEvent::Lost(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use longshore_core::{EngineEvent, EventAction, WorkloadId};

    use super::*;
    use crate::NodeRef;

    fn event(node: &str, size: usize) -> ClusterEvent {
        let node = NodeRef {
            address: node.to_owned(),
            ..NodeRef::default()
        };
        let id = WorkloadId::new("c").unwrap();
        let mut event = EngineEvent::workload(&id, EventAction::Start, Timestamp::ZERO);
        event.attributes = [("k".to_owned(), "v".repeat(size))].into();
        ClusterEvent::Engine { node, event }
    }

    fn kept(ring: &Ring, node: &str) -> usize {
        let entries = ring.events.values();
        entries
            .filter(|entry| holder_of(&entry.event) == node)
            .count()
    }

    fn ring(events: usize, bytes: usize) -> Ring {
        Ring::new(Limits { events, bytes })
    }

    #[test]
    fn fat_events_are_bounded_by_their_bytes() {
        let mut ring = ring(10_000, 1 << 20);
        for _ in 0..500 {
            ring.push(event("a", 60_000), Timestamp::ZERO);
            assert!(ring.bytes <= 1 << 20);
        }
        assert!((10..18).contains(&kept(&ring, "a")));
    }

    #[test]
    fn a_node_that_floods_pushes_out_its_own_events() {
        for size in [0, 50_000] {
            let mut ring = ring(100, 1 << 20);
            for _ in 0..10 {
                ring.push(event("quiet", 10), Timestamp::ZERO);
            }
            for _ in 0..5000 {
                ring.push(event("loud", size), Timestamp::ZERO);
            }
            assert_eq!(kept(&ring, "quiet"), 10);
            assert!(kept(&ring, "loud") > 10);
            // And room that others need is taken from whoever has most.
            for _ in 0..20 {
                ring.push(event("late", 10), Timestamp::ZERO);
            }
            assert_eq!((kept(&ring, "quiet"), kept(&ring, "late")), (10, 20));
        }
    }

    #[test]
    fn an_event_that_weighs_too_much_costs_others_nothing() {
        let mut ring = ring(10, 100);
        ring.push(event("a", 10), Timestamp::ZERO);
        ring.push(event("b", 1000), Timestamp::ZERO);
        assert_eq!((kept(&ring, "a"), kept(&ring, "b")), (1, 0));
        assert_eq!((ring.holders.len(), ring.by_weight.len()), (1, 1));
        // Alone, it stays until the next comes.
        ring.push(event("a", 1000), Timestamp::ZERO);
        assert_eq!(kept(&ring, "a"), 1);
    }

    #[test]
    fn what_was_dropped_is_known_by_its_time() {
        let mut ring = ring(2, 1 << 20);
        let at = Timestamp::from_secs;
        ring.push(event("quiet", 0), at(1));
        for second in 2..5 {
            ring.push(event("loud", 0), at(second));
        }
        assert_eq!(kept(&ring, "quiet"), 1);
        // Numbers 1 and 2 are gone: who asks for them is told so.
        assert_eq!(ring.since(at(2)), 1);
        assert_eq!(ring.since(at(4)), 3);
        assert_eq!(ring.since(at(9)), 4);
    }
}
