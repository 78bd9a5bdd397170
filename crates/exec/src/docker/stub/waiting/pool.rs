use std::time::Duration;

use longshore_core::Timestamp;

use super::WaitingStubs;
use crate::cleanup::Identity;

/// Whom a stub may wait for: what the engine has to know when it starts one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// By its id: a name may become another's.
    pub(super) container: String,
    /// As whom the engine starts it.
    pub(super) user: String,
    pub(super) identity: Identity,
    /// Which program.
    pub(super) stub: String,
}

/// Which stubs wait, and which are to. No I/O in here.
#[derive(Debug)]
pub(super) struct Pool {
    options: WaitingStubs,
    places: Vec<Place>,
    made: u64,
    /// Where none could be had; the latest last.
    refusals: Vec<Refusal>,
}

#[derive(Debug)]
struct Refusal {
    key: Key,
    pause: Duration,
    until: Timestamp,
}

#[derive(Debug)]
struct Place {
    number: u64,
    key: Key,
    /// When somebody was let in there last.
    entered: Timestamp,
    /// Whether it waits already.
    waits: bool,
}

/// What is to be done for somebody who was let in.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) start: Vec<u64>,
    pub(super) let_go: Vec<u64>,
}

impl Pool {
    pub(super) fn new(options: WaitingStubs) -> Self {
        Self {
            options,
            places: Vec::new(),
            made: 0,
            refusals: Vec::new(),
        }
    }

    /// Somebody was let into a container.
    pub(super) fn entered(&mut self, key: &Key, now: Timestamp) -> Plan {
        let mut plan = Plan::default();
        for place in self.places.iter_mut().filter(|place| place.key == *key) {
            place.entered = now;
        }
        let mut refusals = self.refusals.iter();
        if refusals.any(|refusal| refusal.key == *key && now < refusal.until) {
            return plan;
        }
        let there = self.count(|place| place.key == *key);
        for _ in there..self.options.per_container.get() {
            if !self.make_room(key, now, &mut plan.let_go) {
                break;
            }
            plan.start.push(self.add(key, now, false));
        }
        plan
    }

    /// It waits from now on: until when. `None`: it is not wanted any more.
    pub(super) fn waits(&mut self, number: u64, now: Timestamp) -> Option<Timestamp> {
        let mut places = self.places.iter_mut();
        let place = places.find(|place| place.number == number)?;
        place.waits = true;
        self.refusals.retain(|refusal| refusal.key != place.key);
        Some(now.after(self.options.longest_wait))
    }

    /// The one that a session may have. It is out of the pool.
    pub(super) fn take(&mut self, key: &Key) -> Option<u64> {
        let fits = |place: &Place| place.waits && place.key == *key;
        let at = self.places.iter().position(fits)?;
        Some(self.places.remove(at).number)
    }

    /// One that was taken waits again, if there is room: its new number, and until when it waits.
    pub(super) fn put_back(&mut self, key: &Key, now: Timestamp) -> Option<(u64, Timestamp)> {
        let there = self.count(|place| place.key.container == key.container);
        let is_full = self.places.len() >= self.options.in_all.get();
        if is_full || there >= self.options.per_container.get() {
            return None;
        }
        let number = self.add(key, now, true);
        Some((number, now.after(self.options.longest_wait)))
    }

    /// It does not wait any more, or never will.
    pub(super) fn gone(&mut self, number: u64) {
        self.places.retain(|place| place.number != number);
    }

    /// It could not be started, or says nothing: for a while nobody tries that again, and longer each
    /// time.
    pub(super) fn failed(&mut self, number: u64, now: Timestamp) {
        let Some(at) = self.places.iter().position(|place| place.number == number) else {
            return;
        };
        let key = self.places.remove(at).key;
        let before = self.refusals.iter().position(|refusal| refusal.key == key);
        let pause = match before.map(|at| self.refusals.remove(at)) {
            // Several were tried at once.
            Some(refusal) if now < refusal.until => refusal.pause,
            Some(refusal) => (refusal.pause * 2).min(LONGEST_PAUSE),
            None => PAUSE,
        };
        if self.refusals.len() >= MOST_REFUSALS {
            self.refusals.remove(0);
        }
        let until = now.after(pause);
        self.refusals.push(Refusal { key, pause, until });
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.count(|place| place.waits)
    }

    fn count(&self, fits: impl Fn(&Place) -> bool) -> usize {
        self.places.iter().filter(|place| fits(place)).count()
    }

    fn add(&mut self, key: &Key, entered: Timestamp, waits: bool) -> u64 {
        self.made += 1;
        self.places.push(Place {
            number: self.made,
            key: key.clone(),
            entered,
            waits,
        });
        self.made
    }

    /// Room for one more of these; whether there is. In its container others give way, and else those
    /// that nobody has asked for the longest. None that was asked for lately: those who come by turns
    /// would each find what the other had started.
    fn make_room(&mut self, key: &Key, now: Timestamp, let_go: &mut Vec<u64>) -> bool {
        let other = |place: &Place| place.key != *key && now >= place.entered.after(PAUSE);
        let here = |place: &Place| place.key.container == key.container;
        while self.count(here) >= self.options.per_container.get() {
            if !self.give_way(let_go, |place| here(place) && other(place)) {
                return false;
            }
        }
        while self.places.len() >= self.options.in_all.get() {
            if !self.give_way(let_go, other) {
                return false;
            }
        }
        true
    }

    fn give_way(&mut self, let_go: &mut Vec<u64>, may: impl Fn(&Place) -> bool) -> bool {
        let places = self.places.iter().filter(|place| may(place));
        let oldest = places.min_by_key(|place| (place.entered, place.number));
        let Some(number) = oldest.map(|place| place.number) else {
            return false;
        };
        self.gone(number);
        let_go.push(number);
        true
    }
}

/// How long nobody tries again, and one that was asked for makes no room for others.
const PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Beyond, the oldest are forgotten.
const MOST_REFUSALS: usize = 256;

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use longshore_core::SeededRandom;
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(100);

    fn key(container: &str, user: &str) -> Key {
        Key {
            container: container.to_owned(),
            user: user.to_owned(),
            identity: Identity::named("gate", &SeededRandom::new(1)),
            stub: "1".to_owned(),
        }
    }

    fn pool(per_container: usize, in_all: usize) -> Pool {
        let count = |number| NonZeroUsize::new(number).unwrap();
        let options = WaitingStubs::default()
            .with_per_container(count(per_container))
            .with_in_all(count(in_all))
            .with_longest_wait(Duration::from_secs(60));
        Pool::new(options)
    }

    fn plan(start: &[u64], let_go: &[u64]) -> Plan {
        Plan {
            start: start.to_vec(),
            let_go: let_go.to_vec(),
        }
    }

    #[test]
    fn one_is_started_for_who_was_let_in_and_another_for_each_that_was_used() {
        let mut pool = pool(1, 8);
        let web = key("web", "");
        assert_eq!(pool.take(&web), None);
        assert_eq!(pool.entered(&web, NOW), plan(&[1], &[]));
        // It is on its way.
        assert_eq!(pool.entered(&web, NOW), plan(&[], &[]));
        assert_eq!((pool.take(&web), pool.waiting()), (None, 0));
        let until = NOW.after(Duration::from_secs(60));
        assert_eq!(pool.waits(1, NOW), Some(until));
        assert_eq!(pool.waiting(), 1);
        for other in [key("web", "0:0"), key("db", "")] {
            assert_eq!(pool.take(&other), None);
        }
        assert_eq!(pool.take(&web), Some(1));
        assert_eq!(pool.take(&web), None);
        assert_eq!(pool.entered(&web, NOW), plan(&[2], &[]));
    }

    #[test]
    fn another_life_or_program_takes_none() {
        let mut pool = pool(1, 8);
        let mine = key("web", "");
        pool.entered(&mine, NOW);
        pool.waits(1, NOW);
        let mut other = mine.clone();
        other.stub = "2".to_owned();
        assert_eq!(pool.take(&other), None);
        other = mine.clone();
        other.identity = Identity::named("gate", &SeededRandom::new(2));
        assert_eq!(pool.take(&other), None);
        assert_eq!(pool.take(&mine), Some(1));
    }

    #[test]
    fn of_more_those_go_that_nobody_asked_for_the_longest() {
        let mut pool = pool(1, 2);
        let at = |second| NOW.after(Duration::from_secs(second));
        assert_eq!(pool.entered(&key("a", ""), at(0)), plan(&[1], &[]));
        assert_eq!(pool.entered(&key("b", ""), at(1)), plan(&[2], &[]));
        pool.entered(&key("a", ""), at(2));
        assert_eq!(pool.entered(&key("c", ""), at(60)), plan(&[], &[]));
        assert_eq!(pool.entered(&key("c", ""), at(61)), plan(&[3], &[2]));
        // In one container the users share their number, and take no turns.
        for second in [62, 100, 120] {
            assert_eq!(pool.entered(&key("c", "0:0"), at(second)), plan(&[], &[]));
        }
        assert_eq!(pool.entered(&key("c", "0:0"), at(121)), plan(&[4], &[3]));
        assert_eq!(pool.waits(3, at(122)), None);
    }

    #[test]
    fn one_that_is_put_back_needs_room() {
        let mut pool = pool(1, 8);
        let web = key("web", "");
        pool.entered(&web, NOW);
        pool.waits(1, NOW);
        pool.take(&web);
        let until = NOW.after(Duration::from_secs(60));
        assert_eq!(pool.put_back(&web, NOW), Some((2, until)));
        assert_eq!(pool.put_back(&web, NOW), None);
        assert_eq!(pool.take(&web), Some(2));
    }

    #[test]
    fn where_none_can_be_had_nobody_tries_for_a_while() {
        let mut pool = pool(2, 8);
        let web = key("web", "");
        let mut now = NOW;
        for (round, pause) in [60, 120, 240, 480, 960, 1920, 3600, 3600]
            .iter()
            .enumerate()
        {
            let started = pool.entered(&web, now).start;
            assert_eq!(started.len(), 2, "{round}");
            for number in started {
                pool.failed(number, now);
            }
            now = now.after(Duration::from_secs(*pause));
            let shortly = now.before(Duration::from_millis(1));
            assert_eq!(pool.entered(&web, shortly), Plan::default());
        }
        // Others are not refused for it.
        assert_eq!(pool.entered(&key("db", ""), now).start.len(), 2);
        // Once one waits, all is forgotten.
        let started = pool.entered(&web, now).start;
        pool.waits(started[0], now);
        pool.failed(started[1], now);
        assert_eq!(pool.entered(&web, now), Plan::default());
        now = now.after(PAUSE);
        assert_eq!(pool.entered(&web, now).start.len(), 1);
        for container in 0..MOST_REFUSALS + 5 {
            let started = pool.entered(&key(&container.to_string(), ""), now).start;
            started.iter().for_each(|number| pool.failed(*number, now));
        }
        assert!(pool.refusals.len() <= MOST_REFUSALS);
    }

    proptest! {
        #[test]
        fn no_order_of_events_makes_more_than_was_asked_for(
            steps in proptest::collection::vec((0u8..6, 0usize..4, 0usize..2, 0u64..40), 0..200),
            per_container in 1usize..4,
            in_all in 1usize..6,
        ) {
            let mut pool = pool(per_container, in_all);
            let mut now = NOW;
            for (what, container, user, number) in steps {
                now = now.after(Duration::from_secs(1));
                let key = key(["a", "b", "c", "d"][container], ["", "0:0"][user]);
                match what {
                    0 => drop(pool.entered(&key, now)),
                    1 => drop(pool.waits(number, now)),
                    2 => drop(pool.take(&key)),
                    3 => drop(pool.put_back(&key, now)),
                    4 => pool.failed(number, now),
                    _ => pool.gone(number),
                }
                prop_assert!(pool.places.len() <= in_all);
                for container in ["a", "b", "c", "d"] {
                    let here = pool.count(|place| place.key.container == container);
                    prop_assert!(here <= per_container);
                }
            }
        }
    }
}
