//! When a node that is no longer listed counts as gone. Pure: no clock, no I/O.

use std::{collections::VecDeque, time::Duration};

use longshore_core::Timestamp;

use crate::diff::Nodes;

/// What one try to read the list gave.
#[derive(Clone, Debug)]
pub(crate) enum Reading {
    /// All of it.
    Complete(Nodes),
    /// Some entries could not be read; these could.
    Partial(Nodes),
    /// Nothing.
    Failed,
}

/// The set in force, which changes only on evidence:
///
/// * a failed reading changes nothing;
/// * a partial one only adds;
/// * a complete one adds and removes, except that departures that make up, with those of the last
///   grace period, more than half of the nodes are held for a grace period and must then be read
///   again: who is cut off sees the others go one by one as well as at once.
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    grace: Duration,
    in_force: Option<Nodes>,
    /// When nodes were removed, within the last grace period, and how many.
    removed: VecDeque<(Timestamp, usize)>,
    held_until: Option<Timestamp>,
}

impl Evidence {
    pub(crate) fn new(grace: Duration) -> Self {
        Self {
            grace,
            in_force: None,
            removed: VecDeque::new(),
            held_until: None,
        }
    }

    /// The nodes in force; `None` before anything was read.
    pub(crate) fn in_force(&self) -> Option<&Nodes> {
        self.in_force.as_ref()
    }

    /// When the list must be read again, because departures are held until then.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.held_until
    }

    pub(crate) fn handle(&mut self, reading: Reading, now: Timestamp) {
        let (mut listed, complete) = match reading {
            Reading::Complete(listed) => (listed, true),
            Reading::Partial(listed) => (listed, false),
            Reading::Failed => return self.postpone(now),
        };
        let Some(known) = self.in_force.take() else {
            self.in_force = Some(listed);
            return;
        };
        let before = known.len();
        let missing: Nodes = known
            .into_iter()
            .filter(|(endpoint, _)| !listed.contains_key(endpoint))
            .collect();
        if !complete {
            listed.extend(missing);
            self.in_force = Some(listed);
            return self.postpone(now);
        }
        let grace = self.grace;
        self.removed.retain(|(at, _)| at.after(grace) > now);
        let removed: usize = self.removed.iter().map(|(_, count)| count).sum();
        let hold = match self.held_until {
            _ if missing.is_empty() => None,
            Some(until) if now >= until => None,
            Some(until) => Some(until),
            None if (missing.len() + removed) * 2 > before + removed => Some(now.after(grace)),
            None => None,
        };
        // A grace of nothing holds nothing.
        self.held_until = hold.filter(|until| *until > now);
        if self.held_until.is_some() {
            listed.extend(missing);
        } else if !missing.is_empty() {
            self.removed.push_back((now, missing.len()));
        }
        self.in_force = Some(listed);
    }

    /// A reading that proves nothing starts the grace period again.
    fn postpone(&mut self, now: Timestamp) {
        if self.held_until.is_some() {
            self.held_until = Some(now.after(self.grace));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diff::by_endpoint;
    use longshore_core::{Announcement, Endpoint};
    use proptest::prelude::*;

    const GRACE: Duration = Duration::from_secs(60);

    fn nodes(numbers: &[u8]) -> Nodes {
        by_endpoint(
            numbers
                .iter()
                .map(|number| Announcement::new(Endpoint::new(format!("n{number}"), 1).unwrap())),
        )
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1000 + seconds)
    }

    /// Feeds complete readings and checks what is in force after the last.
    #[track_caller]
    fn check(readings: &[(u64, &[u8])], expected: &[u8]) {
        let mut evidence = Evidence::new(GRACE);
        for (seconds, numbers) in readings {
            evidence.handle(Reading::Complete(nodes(numbers)), at(*seconds));
        }
        assert_eq!(evidence.in_force(), Some(&nodes(expected)));
    }

    #[test]
    fn a_minority_leaves_at_once() {
        check(&[(0, &[1, 2, 3, 4]), (1, &[1, 2])], &[1, 2]);
    }

    #[test]
    fn a_majority_is_held_for_the_grace_period() {
        check(&[(0, &[1, 2, 3]), (1, &[1])], &[1, 2, 3]);
        check(&[(0, &[1, 2, 3]), (1, &[1]), (60, &[1])], &[1, 2, 3]);
        check(&[(0, &[1, 2, 3]), (1, &[1]), (61, &[1])], &[1]);
        check(&[(0, &[1]), (1, &[])], &[1]);
        check(&[(0, &[1]), (1, &[]), (61, &[])], &[]);
    }

    #[test]
    fn a_majority_that_leaves_one_by_one_is_held() {
        let all: &[u8] = &[1, 2, 3, 4, 5, 6];
        let few: &[(u64, &[u8])] = &[
            (0, all),
            (1, &all[1..]),
            (2, &all[2..]),
            (3, &all[3..]),
            (4, &all[4..]),
            (5, &all[5..]),
        ];
        check(few, &[4, 5, 6]);
        check(&[few, &[(63, &all[5..])]].concat(), &[4, 5, 6]);
        check(&[few, &[(64, &all[5..])]].concat(), &[6]);
        check(
            &[few, &[(63, &all[3..]), (64, &all[4..])]].concat(),
            &[5, 6],
        );
    }

    #[test]
    fn what_returns_within_the_grace_period_never_left() {
        check(
            &[(0, &[1, 2, 3]), (1, &[]), (30, &[1, 2, 3]), (61, &[1, 2])],
            &[1, 2],
        );
        check(
            &[(0, &[1, 2, 3]), (1, &[]), (30, &[1, 2, 3]), (62, &[])],
            &[1, 2, 3],
        );
    }

    #[test]
    fn arrivals_during_the_grace_period_do_not_shorten_it() {
        check(
            &[(0, &[1]), (1, &[2, 3, 4]), (2, &[2, 3, 4])],
            &[1, 2, 3, 4],
        );
        check(&[(0, &[1]), (1, &[2, 3, 4]), (61, &[2, 3, 4])], &[2, 3, 4]);
    }

    #[test]
    fn a_partial_reading_adds_and_removes_nothing() {
        let mut evidence = Evidence::new(GRACE);
        evidence.handle(Reading::Complete(nodes(&[1, 2, 3])), at(0));
        evidence.handle(Reading::Partial(nodes(&[1, 4])), at(1));
        assert_eq!(evidence.in_force(), Some(&nodes(&[1, 2, 3, 4])));
        assert_eq!(evidence.next_deadline(), None);
    }

    #[test]
    fn a_failed_reading_starts_the_grace_period_again() {
        let mut evidence = Evidence::new(GRACE);
        evidence.handle(Reading::Complete(nodes(&[1])), at(0));
        evidence.handle(Reading::Complete(nodes(&[])), at(1));
        evidence.handle(Reading::Failed, at(61));
        assert_eq!(evidence.next_deadline(), Some(at(121)));
        evidence.handle(Reading::Complete(nodes(&[])), at(62));
        assert_eq!(evidence.in_force(), Some(&nodes(&[1])));
        evidence.handle(Reading::Complete(nodes(&[])), at(121));
        assert_eq!(evidence.in_force(), Some(&nodes(&[])));
        assert_eq!(evidence.next_deadline(), None);
    }

    #[test]
    fn without_grace_nothing_is_held() {
        let mut evidence = Evidence::new(Duration::ZERO);
        evidence.handle(Reading::Complete(nodes(&[1])), at(0));
        evidence.handle(Reading::Complete(nodes(&[])), at(0));
        assert_eq!(
            (evidence.in_force(), evidence.next_deadline()),
            (Some(&nodes(&[])), None)
        );
    }

    fn reading() -> impl Strategy<Value = Reading> {
        let set = proptest::collection::vec(0u8..12, 0..12).prop_map(|numbers| nodes(&numbers));
        prop_oneof![
            3 => set.clone().prop_map(Reading::Complete),
            1 => set.prop_map(Reading::Partial),
            1 => Just(Reading::Failed),
        ]
    }

    proptest! {
        #[test]
        fn removal_always_has_evidence(
            steps in proptest::collection::vec((reading(), 0u64..40), 1..40),
        ) {
            let mut evidence = Evidence::new(GRACE);
            let mut now = at(0);
            for (reading, seconds) in steps {
                now = now.after(Duration::from_secs(seconds));
                let before = evidence.in_force().cloned().unwrap_or_default();
                let held = evidence.next_deadline();
                evidence.handle(reading.clone(), now);
                let after = evidence.in_force().cloned().unwrap_or_default();
                let gone = before.keys().filter(|key| !after.contains_key(*key)).count();
                match reading {
                    Reading::Complete(listed) => {
                        prop_assert!(listed.keys().all(|key| after.contains_key(key)));
                        let held_back = evidence.next_deadline().is_some();
                        let unlisted = after.keys().any(|key| !listed.contains_key(key));
                        prop_assert!(held_back || !unlisted, "in force for no reason");
                        let ripe = held.is_some_and(|until| now >= until);
                        prop_assert!(gone * 2 <= before.len() || ripe, "a majority left at once");
                    }
                    Reading::Partial(_) | Reading::Failed => prop_assert_eq!(gone, 0),
                }
                if let Some(until) = evidence.next_deadline() {
                    prop_assert!(until > now, "a deadline that never lets the driver wait");
                }
            }
        }
    }
}
