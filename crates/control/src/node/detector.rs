use std::time::Duration;

use longshore_core::Timestamp;

/// What an observation of a node speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The engine answers: a ping, a proxied request.
    Answer,
    /// The engine works: it lists its containers. An engine whose workers hang still answers pings,
    /// so an answer does not speak against a failure to work.
    Work,
}

/// Counts failures in a row. Failures that overlap in time, or follow each other within the window,
/// are one failure seen several times.
#[derive(Debug)]
pub(super) struct Detector {
    limit: u32,
    window: Duration,
    answer: u32,
    work: u32,
    counted_at: Option<Timestamp>,
}

impl Detector {
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        Self {
            limit: limit.max(1),
            window,
            answer: 0,
            work: 0,
            counted_at: None,
        }
    }

    /// Takes a failure of a call that began at `started`. Says whether it was counted.
    pub(super) fn failure(&mut self, depth: Depth, started: Timestamp, now: Timestamp) -> bool {
        let same = self.counted_at.is_some_and(|at| {
            !self.window.is_zero() && (started < at || now.since(at) < self.window)
        });
        if same {
            return false;
        }
        self.counted_at = Some(now);
        let count = match depth {
            Depth::Answer => &mut self.answer,
            Depth::Work => &mut self.work,
        };
        *count = count.saturating_add(1);
        true
    }

    pub(super) fn success(&mut self, depth: Depth) {
        self.answer = 0;
        if depth == Depth::Work {
            self.work = 0;
        }
        if self.failures() == 0 {
            self.counted_at = None;
        }
    }

    pub(super) fn failures(&self) -> u32 {
        self.answer.max(self.work)
    }

    pub(super) fn is_over(&self) -> bool {
        self.failures() >= self.limit
    }

    /// What kind of failure is the worse one.
    pub(super) fn depth(&self) -> Depth {
        if self.work > self.answer {
            Depth::Work
        } else {
            Depth::Answer
        }
    }

    /// Swarm's HealthIndicator of a healthy node: 100 − failures × 100 / limit.
    pub(super) fn indicator(&self) -> u8 {
        let failures = self.failures().min(self.limit);
        let lost = u64::from(failures) * 100 / u64::from(self.limit);
        100 - u8::try_from(lost).unwrap_or(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    #[test]
    fn the_indicator_is_swarms() {
        let mut detector = Detector::new(3, Duration::ZERO);
        let mut seen = vec![detector.indicator()];
        for _ in 0..3 {
            detector.failure(Depth::Answer, at(0), at(0));
            seen.push(detector.indicator());
        }
        assert_eq!(seen, [100, 67, 34, 0]);
    }

    #[test]
    fn failures_that_overlap_count_once() {
        let mut detector = Detector::new(3, Duration::from_secs(1));
        // Thirty requests hang from the same moment on and time out one after the other.
        for number in 0..30 {
            detector.failure(Depth::Answer, at(0), at(30_000 + number * 2_000));
        }
        assert_eq!(detector.failures(), 1);
        // One that began after the first had failed is another failure.
        assert!(detector.failure(Depth::Answer, at(95_000), at(100_000)));
        // One right behind it is not.
        assert!(!detector.failure(Depth::Answer, at(100_100), at(100_200)));
        assert_eq!(detector.failures(), 2);
    }

    #[test]
    fn window_zero_counts_each_like_swarm() {
        let mut detector = Detector::new(3, Duration::ZERO);
        for _ in 0..3 {
            detector.failure(Depth::Answer, at(0), at(1));
        }
        assert!(detector.is_over());
    }

    #[test]
    fn answers_do_not_hide_an_engine_that_does_not_work() {
        let mut detector = Detector::new(3, Duration::from_secs(1));
        for round in 0..3 {
            detector.failure(Depth::Work, at(round * 60_000), at(round * 60_000 + 30_000));
            detector.success(Depth::Answer);
        }
        assert!(detector.is_over());
        assert_eq!(detector.depth(), Depth::Work);
        detector.success(Depth::Work);
        assert_eq!(detector.failures(), 0);
    }
}
