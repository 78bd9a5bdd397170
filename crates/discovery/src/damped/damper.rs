//! Which nodes come and go too often. Pure: no clock, no I/O.

use std::{collections::BTreeMap, time::Duration};

use longshore_core::{Endpoint, Timestamp};

use super::DampingPolicy;
use crate::diff::Nodes;

/// The listed nodes less those that are held back.
#[derive(Debug)]
pub(super) struct Damper {
    policy: DampingPolicy,
    listed: Nodes,
    records: BTreeMap<Endpoint, Record>,
}

#[derive(Debug)]
struct Record {
    /// As it was at `at`; it decays from there.
    penalty: f64,
    at: Timestamp,
    held_back: bool,
}

impl Damper {
    pub(super) fn new(policy: DampingPolicy) -> Self {
        Self {
            policy,
            listed: Nodes::new(),
            records: BTreeMap::new(),
        }
    }

    /// Takes in what is listed now. Says which nodes are held back from now on, and until when at
    /// the earliest.
    pub(super) fn observe(&mut self, listed: Nodes, now: Timestamp) -> Vec<(Endpoint, Duration)> {
        let mut held_back = Vec::new();
        for endpoint in self.listed.keys().filter(|key| !listed.contains_key(*key)) {
            let decayed = self.records.get(endpoint);
            let decayed = decayed.map_or(0.0, |record| decay(&self.policy, record, now));
            let record = self.records.entry(endpoint.clone()).or_insert(Record {
                penalty: 0.0,
                at: now,
                held_back: false,
            });
            record.penalty = (decayed + 1.0).min(ceiling(&self.policy));
            record.at = now;
            if record.penalty > self.policy.suppress && !record.held_back {
                record.held_back = true;
                let until = after(&self.policy, record.penalty);
                held_back.push((endpoint.clone(), until));
            }
        }
        self.listed = listed;
        self.calm_down(now);
        held_back
    }

    /// Lets time pass.
    pub(super) fn calm_down(&mut self, now: Timestamp) {
        let policy = &self.policy;
        self.records.retain(|_, record| {
            let penalty = decay(policy, record, now);
            record.held_back &= penalty > policy.reuse;
            record.held_back || penalty > FORGOTTEN
        });
    }

    /// When the next node stops being held back.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        let held_back = self.records.values().filter(|record| record.held_back);
        let ends = held_back.map(|record| {
            // Rounded up, so that it is over by then.
            let wait = after(&self.policy, record.penalty) + Duration::from_millis(1);
            record.at.after(wait)
        });
        ends.min()
    }

    pub(super) fn holds_back(&self, endpoint: &Endpoint) -> bool {
        let record = self.records.get(endpoint);
        record.is_some_and(|record| record.held_back)
    }

    pub(super) fn view(&self) -> Nodes {
        let listed = self.listed.iter();
        let listed = listed.filter(|(endpoint, _)| !self.holds_back(endpoint));
        listed
            .map(|(endpoint, node)| (endpoint.clone(), node.clone()))
            .collect()
    }
}

fn decay(policy: &DampingPolicy, record: &Record, now: Timestamp) -> f64 {
    let halves = now.since(record.at).as_secs_f64() / policy.half_life.as_secs_f64();
    record.penalty * 0.5f64.powf(halves)
}

/// How long until a penalty has decayed to where a node is let in again.
fn after(policy: &DampingPolicy, penalty: f64) -> Duration {
    let halves = (penalty / policy.reuse).log2().max(0.0);
    policy.half_life.mul_f64(halves)
}

/// The penalty from which it takes the longest time to come back.
fn ceiling(policy: &DampingPolicy) -> f64 {
    let halves = policy.longest.as_secs_f64() / policy.half_life.as_secs_f64();
    policy.reuse * 2.0f64.powf(halves.min(64.0))
}

/// A departure this long ago counts no more.
const FORGOTTEN: f64 = 0.05;

#[cfg(test)]
mod tests {
    use longshore_core::Announcement;
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1000 + seconds)
    }

    fn nodes(numbers: &[u8]) -> Nodes {
        numbers
            .iter()
            .map(|number| Endpoint::new(format!("n{number}"), 1).unwrap())
            .map(|endpoint| (endpoint.clone(), Announcement::new(endpoint)))
            .collect()
    }

    /// Comes and goes this often, 10 s apart; then is there.
    fn flapped(times: u64) -> Damper {
        let mut damper = Damper::new(DampingPolicy::default());
        for time in 0..times {
            damper.observe(nodes(&[1, 2]), at(time * 20));
            damper.observe(nodes(&[1]), at(time * 20 + 10));
        }
        damper.observe(nodes(&[1, 2]), at(times * 20));
        damper
    }

    #[test]
    fn a_node_that_restarts_now_and_then_is_not_held_back() {
        assert_eq!(flapped(3).view(), nodes(&[1, 2]));
    }

    #[test]
    fn a_node_that_flaps_is_held_back_until_it_is_calm() {
        let mut damper = flapped(4);
        assert_eq!(damper.view(), nodes(&[1]));
        let until = damper.next_deadline().unwrap();
        // log2(3.8) half-lives of five minutes.
        assert!((at(400)..at(800)).contains(&until), "{until}");
        damper.calm_down(until.before(Duration::from_secs(1)));
        assert_eq!(damper.view(), nodes(&[1]));
        damper.calm_down(until);
        assert_eq!(damper.view(), nodes(&[1, 2]));
        assert_eq!(damper.next_deadline(), None);
    }

    #[test]
    fn nobody_is_held_back_longer_than_the_longest() {
        let mut damper = flapped(1000);
        let longest = DampingPolicy::default().longest;
        damper.calm_down(at(20_000).after(longest));
        assert_eq!(damper.view(), nodes(&[1, 2]));
    }

    proptest! {
        #[test]
        fn what_never_left_is_never_held_back_and_all_are_let_in_again(
            steps in proptest::collection::vec(
                (proptest::collection::vec(1u8..6, 0..6), 0u64..200), 1..60),
        ) {
            let mut damper = Damper::new(DampingPolicy::default());
            let mut now = 0;
            for (mut numbers, seconds) in steps {
                numbers.push(0);
                now += seconds;
                damper.observe(nodes(&numbers), at(now));
                let view = damper.view();
                prop_assert!(view.contains_key(&Endpoint::new("n0", 1).unwrap()));
                prop_assert!(view.keys().all(|key| nodes(&numbers).contains_key(key)));
            }
            damper.observe(nodes(&[0, 1, 2, 3, 4, 5]), at(now));
            let mut wakes = 0;
            while let Some(until) = damper.next_deadline() {
                damper.calm_down(until);
                wakes += 1;
                prop_assert!(wakes <= 12, "a deadline that brings nothing");
            }
            prop_assert_eq!(damper.view().len(), 6);
        }
    }
}
