//! What is to happen in a simulation, and when.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use longshore_core::Timestamp;

/// Events by their time; those of the same time in the order in which they were planned.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    events: BinaryHeap<Reverse<Planned<E>>>,
    planned: u64,
}

#[derive(Debug)]
struct Planned<E> {
    at: Timestamp,
    number: u64,
    event: E,
}

impl<E> Agenda<E> {
    pub(crate) fn plan(&mut self, at: Timestamp, event: E) {
        self.planned += 1;
        self.events.push(Reverse(Planned {
            at,
            number: self.planned,
            event,
        }));
    }

    /// The next event and its time, unless it comes after `end`.
    pub(crate) fn next_until(&mut self, end: Timestamp) -> Option<(Timestamp, E)> {
        self.events.peek().filter(|Reverse(next)| next.at <= end)?;
        let Reverse(next) = self.events.pop()?;
        Some((next.at, next.event))
    }

    /// How many events there ever were.
    pub(crate) fn planned(&self) -> u64 {
        self.planned
    }

    #[cfg(feature = "raft")]
    pub(crate) fn retain(&mut self, stays: impl Fn(&E) -> bool) {
        self.events.retain(|Reverse(planned)| stays(&planned.event));
    }
}

impl<E> Default for Agenda<E> {
    fn default() -> Self {
        Self {
            events: BinaryHeap::new(),
            planned: 0,
        }
    }
}

impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl<E> Eq for Planned<E> {}

#[test]
fn events_come_by_time_and_then_as_planned() {
    let [early, late] = [1, 2].map(Timestamp::from_secs);
    let mut agenda = Agenda::default();
    for (at, event) in [(late, "c"), (early, "a"), (early, "b"), (late, "d")] {
        agenda.plan(at, event);
    }
    let mut next = |end| agenda.next_until(end);
    assert_eq!(next(early), Some((early, "a")));
    assert_eq!(next(early), Some((early, "b")));
    assert_eq!(next(early), None, "what is behind the end stays");
    assert_eq!(next(late), Some((late, "c")));
    assert_eq!(next(late), Some((late, "d")));
    assert_eq!((next(late), agenda.planned()), (None, 4));
}
