use longshore_core::Timestamp;

use super::MuxOptions;

/// A token bucket for frames that cost work and serve nothing: the answer to floods of pings,
/// empty frames and rapid resets.
#[derive(Debug)]
pub(super) struct NuisanceBudget {
    burst: u64,
    rate: u64,
    /// In millionths of a frame, so that a bucket can fill by microseconds.
    left: u64,
    at: Timestamp,
}

impl NuisanceBudget {
    pub(super) fn new(options: &MuxOptions, now: Timestamp) -> Self {
        let burst = u64::from(options.nuisance_burst) * FRAME;
        Self {
            burst,
            rate: u64::from(options.nuisance_rate),
            left: burst,
            at: now,
        }
    }

    /// Takes one; false when there is none left.
    #[must_use]
    pub(super) fn spend(&mut self, now: Timestamp) -> bool {
        let passed = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.at = self.at.max(now);
        self.left = self
            .left
            .saturating_add(passed.saturating_mul(self.rate))
            .min(self.burst);
        let enough = self.left >= FRAME;
        self.left = self.left.saturating_sub(FRAME);
        enough
    }
}

const FRAME: u64 = 1_000_000;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_passes_and_a_flood_does_not() {
        let options = MuxOptions {
            nuisance_burst: 10,
            nuisance_rate: 2,
            ..Default::default()
        };
        let now = Timestamp::from_secs(1);
        let mut budget = NuisanceBudget::new(&options, now);
        assert!((0..10).all(|_| budget.spend(now)));
        assert!(!budget.spend(now));
        let later = now.after(Duration::from_secs(1));
        assert!(budget.spend(later) && budget.spend(later) && !budget.spend(later));
    }
}
