use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use longshore_core::Timestamp;

/// A token bucket of bytes that several share, fairly.
///
/// Each has a small bucket of its own, for half a second of its equal share. What is earned goes to
/// those whose bucket is not full, the same to each; what is left goes into a common one, from which
/// whoever wants more may take. So who was quiet is never behind another's flood, and a flood that is
/// alone has it all: max-min fairness, as a hierarchical token bucket approximates it. All buckets
/// together hold one second's worth.
#[derive(Debug)]
pub(super) struct SharedRate {
    per_second: u64,
    /// In millionths of a byte, so that no time is too short to earn something.
    spare: u128,
    own: BTreeMap<u64, Own>,
    /// Those whose bucket is not full.
    hungry: BTreeSet<u64>,
    filled: Timestamp,
}

#[derive(Debug, Default)]
struct Own {
    has: u128,
    /// How many bytes were refused last.
    wants: u64,
}

impl SharedRate {
    pub(super) fn new(per_second: u64, now: Timestamp) -> Self {
        let per_second = per_second.max(1);
        Self {
            per_second,
            spare: u128::from(per_second) * BYTE,
            own: BTreeMap::new(),
            hungry: BTreeSet::new(),
            filled: now,
        }
    }

    pub(super) fn join(&mut self, number: u64, now: Timestamp) {
        self.fill(now);
        self.own.insert(number, Own::default());
        self.resize();
    }

    /// What it has goes to the others: who opens and closes sessions gains nothing.
    pub(super) fn leave(&mut self, number: u64, now: Timestamp) {
        self.fill(now);
        if let Some(own) = self.own.remove(&number) {
            self.hungry.remove(&number);
            self.spare += own.has;
            self.resize();
        }
    }

    /// As many of these bytes as may go now. Nothing rather than a piece that is not worth a
    /// message.
    pub(super) fn take(&mut self, number: u64, want: usize, now: Timestamp) -> usize {
        self.fill(now);
        let worth = self.worth(want as u64);
        let cap = self.cap();
        let Some(own) = self.own.get_mut(&number) else {
            return 0;
        };
        let may = (own.has + self.spare) / BYTE;
        if may < u128::from(worth) {
            own.wants = worth;
            return 0;
        }
        let granted = may.min(want as u128);
        let mut cost = granted * BYTE;
        let common = cost.min(self.spare);
        self.spare -= common;
        cost -= common;
        own.has -= cost;
        if own.has < cap {
            self.hungry.insert(number);
        }
        granted as usize
    }

    /// Bytes that were taken and did not go.
    pub(super) fn give_back(&mut self, number: u64, bytes: usize) {
        if self.own.contains_key(&number) {
            self.spare += bytes as u128 * BYTE;
            self.bound();
        }
    }

    /// When what was refused last may go, whatever the others take.
    pub(super) fn next_room(&self, number: u64) -> Timestamp {
        let Some(own) = self.own.get(&number) else {
            return self.filled;
        };
        let missing = (u128::from(own.wants) * BYTE).saturating_sub(own.has + self.spare);
        let shared_by = self.hungry.len().max(1) as u128;
        // A rate in bytes a second is one in millionths of a byte a microsecond.
        let micros = (missing * shared_by).div_ceil(u128::from(self.per_second));
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.filled.after(Duration::from_micros(micros.max(1)))
    }

    pub(super) fn is_full(&mut self, now: Timestamp) -> bool {
        self.fill(now);
        self.own.is_empty() && self.spare >= self.most()
    }

    fn most(&self) -> u128 {
        u128::from(self.per_second) * BYTE
    }

    /// How much each may keep: a byte at least, however many they are.
    fn cap(&self) -> u128 {
        (self.most() / (2 * self.own.len().max(1) as u128)).max(BYTE)
    }

    /// The least of so many bytes that is worth a message: never more than its own bucket holds.
    fn worth(&self, want: u64) -> u64 {
        let own = u64::try_from(self.cap() / BYTE).unwrap_or(u64::MAX);
        want.min(WORTHWHILE).min(own).max(1)
    }

    fn fill(&mut self, now: Timestamp) {
        if now <= self.filled {
            return;
        }
        let earned = now.since(self.filled).as_micros() * u128::from(self.per_second);
        if earned < self.hungry.len() as u128 {
            // Not even the least for each: later it is.
            return;
        }
        self.filled = now;
        // More than that is never kept.
        let mut earned = earned.min(self.most());
        let cap = self.cap();
        while earned > 0 && !self.hungry.is_empty() {
            let each = earned / self.hungry.len() as u128;
            if each == 0 {
                break;
            }
            let own = &mut self.own;
            self.hungry.retain(|number| {
                let Some(own) = own.get_mut(number) else {
                    return false;
                };
                let given = each.min(cap.saturating_sub(own.has));
                own.has += given;
                earned -= given;
                own.has < cap
            });
        }
        self.spare += earned;
        self.bound();
    }

    /// The buckets have another size.
    fn resize(&mut self) {
        let cap = self.cap();
        self.hungry.clear();
        for (number, own) in &mut self.own {
            self.spare += own.has.saturating_sub(cap);
            own.has = own.has.min(cap);
            if own.has < cap {
                // From what is common, so that a new one has something at once.
                let given = (cap - own.has).min(self.spare);
                own.has += given;
                self.spare -= given;
            }
            if own.has < cap {
                self.hungry.insert(*number);
            }
        }
        self.bound();
    }

    fn bound(&mut self) {
        let kept: u128 = match self.own.len() {
            0 => 0,
            // Those that are full need no sum.
            all => {
                let hungry = self.hungry.iter().filter_map(|number| self.own.get(number));
                let hungry: u128 = hungry.map(|own| own.has).sum();
                hungry + self.cap() * (all - self.hungry.len()) as u128
            }
        };
        self.spare = self.spare.min(self.most().saturating_sub(kept));
    }
}

/// In the unit that is counted in.
const BYTE: u128 = 1_000_000;
/// As much is waited for by who has that much to say.
const WORTHWHILE: u64 = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_secs(1_000);

    fn at(millis: u64) -> Timestamp {
        START.after(Duration::from_millis(millis))
    }

    #[test]
    fn a_flood_that_is_alone_has_it_all() {
        let mut rate = SharedRate::new(100_000, START);
        for number in 0..10 {
            rate.join(number, START);
        }
        let mut sent = 0;
        let mut now = START;
        while now < at(10_000) {
            match rate.take(3, 64 << 10, now) {
                0 => now = rate.next_room(3),
                took => sent += took,
            }
        }
        assert!((1_000_000..=1_100_000).contains(&sent), "{sent}");
    }

    #[test]
    fn floods_have_the_same_and_who_is_quiet_is_not_behind_them() {
        let mut rate = SharedRate::new(100_000, START);
        for number in 0..4 {
            rate.join(number, START);
        }
        let mut sent = [0usize; 3];
        for milli in 0..10_000 {
            for (number, sent) in sent.iter_mut().enumerate() {
                *sent += rate.take(number as u64, 64 << 10, at(milli));
            }
            // A key's echo, every hundred milliseconds: at once, each time.
            if milli % 100 == 0 {
                assert_eq!(rate.take(3, 10, at(milli)), 10, "{milli}");
            }
        }
        let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
        // The burst at the beginning is whose turn it was.
        assert!(*most - *least <= 110_000, "{sent:?}");
        assert!(*least >= 250_000, "{sent:?}");
    }

    #[test]
    fn who_comes_and_goes_gains_nothing() {
        let mut rate = SharedRate::new(10_000, START);
        let mut sent = 0;
        for number in 0..1_000 {
            rate.join(number, START);
            sent += rate.take(number, 1 << 20, START);
            rate.leave(number, START);
        }
        assert_eq!(sent, 10_000);
        assert!(!rate.is_full(at(999)));
        assert!(rate.is_full(at(1_000)));
    }

    proptest! {
        /// Whatever they do: no span has more than its bytes and one second's worth; what was waited
        /// for is there; who took nothing for a second has its share at once.
        #[test]
        fn whoever_wants_what(
            per_second in 1024u64..2_000_000,
            steps in prop::collection::vec((0u8..8, 0u64..6, 0usize..70_000, 0u64..700_000), 1..150),
        ) {
            let mut rate = SharedRate::new(per_second, START);
            let (mut now, mut sent) = (START, 0u128);
            // Since when each is here and has taken nothing.
            let mut here: BTreeMap<u64, Timestamp> = BTreeMap::new();
            for (what, number, want, wait) in steps {
                match what {
                    0 => {
                        if here.insert(number, now).is_none() {
                            rate.join(number, now);
                        }
                        // Shares are smaller now: all begin anew.
                        here.values_mut().for_each(|since| *since = now);
                    }
                    1 => {
                        rate.leave(number, now);
                        here.remove(&number);
                        here.values_mut().for_each(|since| *since = now);
                    }
                    2 => now = now.after(Duration::from_micros(wait)),
                    3 if here.contains_key(&number) => {
                        // Its share, for who was quiet.
                        let quiet = now.since(here[&number]) >= Duration::from_secs(1);
                        let share = (per_second / (2 * here.len() as u64)) as usize;
                        let took = rate.take(number, share.min(4096), now);
                        if quiet {
                            prop_assert_eq!(took, share.min(4096));
                        }
                        sent += took as u128;
                        here.insert(number, now);
                    }
                    4 if here.contains_key(&number) && want > 0 => {
                        if rate.take(number, want, now) == 0 {
                            let later = rate.next_room(number);
                            prop_assert!(later > now && later.since(now) <= Duration::from_secs(2 * 6));
                            now = later;
                            let took = rate.take(number, want, now);
                            prop_assert!(took > 0, "it was there at {later:?}");
                            sent += took as u128;
                        }
                        here.insert(number, now);
                    }
                    _ if here.contains_key(&number) => {
                        let took = rate.take(number, want, now);
                        rate.give_back(number, took / 3);
                        sent += (took - took / 3) as u128;
                        here.insert(number, now);
                    }
                    _ => {}
                }
                let earned = now.since(START).as_micros() * u128::from(per_second) / BYTE;
                prop_assert!(sent <= earned + u128::from(per_second), "{} of {}", sent, earned);
            }
        }
    }
}
