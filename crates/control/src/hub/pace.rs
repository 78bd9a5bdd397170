use longshore_core::Timestamp;

/// A token bucket for the frames of one control channel, so that an agent can't keep the control
/// plane busy with beats or with an engine that goes up and down.
#[derive(Debug)]
pub(super) struct Pace {
    /// In millionths of a frame, so that the bucket can fill by microseconds.
    left: u64,
    at: Timestamp,
}

impl Pace {
    /// How many frames a second may come in the long run.
    pub(super) const RATE: u64 = 20;

    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            left: BURST * FRAME,
            at: now,
        }
    }

    /// Counts a frame; false when there were too many.
    #[must_use]
    pub(super) fn take(&mut self, now: Timestamp) -> bool {
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.at = self.at.max(now);
        self.left = self
            .left
            .saturating_add(passed.saturating_mul(Self::RATE))
            .min(BURST * FRAME);
        let enough = self.left >= FRAME;
        self.left = self.left.saturating_sub(FRAME);
        enough
    }
}

const FRAME: u64 = 1_000_000;
/// How many may come at once: what a slow path held back.
const BURST: u64 = 100;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_steady_agent_passes_and_a_flood_does_not() {
        let mut now = Timestamp::from_secs(1000);
        let mut pace = Pace::new(now);
        for _ in 0..10_000 {
            now = now.after(Duration::from_millis(50));
            assert!(pace.take(now));
        }
        now = now.after(Duration::from_secs(1));
        assert!((0..BURST).all(|_| pace.take(now)));
        assert!(!pace.take(now));
        now = now.after(Duration::from_secs(1));
        assert!((0..Pace::RATE).all(|_| pace.take(now)));
        assert!(!pace.take(now));
    }

    #[test]
    fn a_clock_set_back_gives_nothing() {
        let now = Timestamp::from_secs(1000);
        let mut pace = Pace::new(now);
        assert!((0..BURST).all(|_| pace.take(now)));
        assert!(!pace.take(Timestamp::from_secs(10)) && !pace.take(now));
    }
}
