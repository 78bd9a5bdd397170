use std::time::Duration;

use longshore_core::Timestamp;

use crate::session::UserTime;

/// How long the sessions of a user have run together in the period that is now.
///
/// A period begins with the first session that opens in none, and where one follows another with
/// sessions that go on, right behind it.
#[derive(Debug)]
pub(super) struct SharedTime {
    limit: UserTime,
    began: Timestamp,
    used: Duration,
    /// Until when it is counted.
    counted: Timestamp,
    running: u32,
}

impl SharedTime {
    pub(super) fn new(limit: UserTime, now: Timestamp) -> Self {
        Self {
            limit,
            began: now,
            used: Duration::ZERO,
            counted: now,
            running: 0,
        }
    }

    pub(super) fn limit(&self) -> UserTime {
        self.limit
    }

    pub(super) fn used(&self) -> Duration {
        self.used
    }

    pub(super) fn start(&mut self, now: Timestamp) {
        self.count(now);
        if self.running == 0 && self.used.is_zero() {
            self.began = self.counted;
        }
        self.running += 1;
    }

    pub(super) fn stop(&mut self, now: Timestamp) {
        self.count(now);
        self.running = self.running.saturating_sub(1);
    }

    pub(super) fn is_used_up(&mut self, now: Timestamp) -> bool {
        self.count(now);
        self.used >= self.limit.time
    }

    /// Whether it is as if no session had been there.
    pub(super) fn is_unused(&mut self, now: Timestamp) -> bool {
        self.count(now);
        self.running == 0 && self.used.is_zero()
    }

    pub(super) fn next_period(&self) -> Timestamp {
        self.began.after(self.limit.every)
    }

    /// When it may be used up; at the latest the end of the period, behind which it is counted anew.
    pub(super) fn deadline(&mut self, now: Timestamp) -> Option<Timestamp> {
        self.count(now);
        let running = self.running.max(1);
        let left = self.limit.time.saturating_sub(self.used);
        // Rounded up: a moment too early there would be nothing to do.
        let left = left.as_micros().div_ceil(u128::from(running));
        let left = Duration::from_micros(u64::try_from(left).unwrap_or(u64::MAX));
        (self.running > 0).then(|| self.counted.after(left).min(self.next_period()))
    }

    fn count(&mut self, now: Timestamp) {
        if now <= self.counted {
            return;
        }
        let over = now.since(self.next_period());
        if now >= self.next_period() {
            let every = self.limit.every.as_micros().max(1);
            let into = Duration::from_micros((over.as_micros() % every) as u64);
            self.began = now.before(into);
            self.counted = self.began;
            self.used = Duration::ZERO;
        }
        let passed = now.since(self.counted);
        self.used = self
            .used
            .saturating_add(passed.saturating_mul(self.running));
        self.counted = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(time: u64, every: u64) -> UserTime {
        UserTime {
            time: Duration::from_secs(time),
            every: Duration::from_secs(every),
        }
    }

    const fn at(seconds: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn sessions_at_the_same_time_count_each() {
        let mut time = SharedTime::new(limit(100, 1000), at(0));
        time.start(at(50));
        assert_eq!(time.deadline(at(50)), Some(at(150)));
        time.start(at(90));
        assert_eq!(time.deadline(at(90)), Some(at(120)));
        time.stop(at(100));
        assert_eq!(time.deadline(at(100)), Some(at(140)));
        assert!(!time.is_used_up(at(139)));
        assert!(time.is_used_up(at(140)));
        // Until the period is over, which began with its first session.
        time.stop(at(141));
        assert!(time.is_used_up(at(1049)));
        assert!(!time.is_used_up(at(1050)) && time.is_unused(at(1050)));
    }

    #[test]
    fn a_session_that_goes_on_uses_the_next_period() {
        let mut time = SharedTime::new(limit(100, 150), at(0));
        time.start(at(0));
        time.stop(at(60));
        time.start(at(140));
        assert_eq!(time.deadline(at(140)), Some(at(150)));
        assert!(!time.is_used_up(at(249)));
        assert!(time.is_used_up(at(250)));
        assert_eq!(time.next_period(), at(300));
    }

    proptest! {
        /// Whenever it is looked at, no period has more than its time and what a look was late by;
        /// and the deadline is never late.
        #[test]
        fn time_is_counted_whoever_looks_when(
            steps in prop::collection::vec((0u8..3, 0u64..40), 1..80),
        ) {
            let mut time = SharedTime::new(limit(100, 300), at(0));
            let (mut now, mut running, mut began, mut used) = (0u64, 0u64, 0u64, 0u64);
            for (what, wait) in steps {
                let deadline = time.deadline(at(now));
                // By hand, second by second.
                for _ in 0..wait {
                    now += 1;
                    used += running;
                    if now >= began + 300 {
                        (began, used) = (began + 300, 0);
                    }
                    let is_out = used >= 100;
                    if is_out {
                        prop_assert!(deadline.is_none_or(|deadline| deadline <= at(now)));
                    }
                }
                prop_assert_eq!(time.is_used_up(at(now)), used >= 100);
                match what {
                    0 => {
                        if running == 0 && used == 0 {
                            began = now;
                        }
                        time.start(at(now));
                        running += 1;
                    }
                    1 if running > 0 => {
                        time.stop(at(now));
                        running -= 1;
                    }
                    _ => {}
                }
            }
        }
    }
}
