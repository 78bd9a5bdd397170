use std::time::Duration;

use crate::Random;

/// How long to wait between tries: doubling from `base` to `cap`, with jitter.
///
/// "Full jitter" (wait uniformly between 0 and the doubled delay) after Brooker, *Exponential
/// Backoff and Jitter*, AWS Architecture Blog 2015: it spreads a thousand clients that failed at
/// the same moment best. A floor of a tenth of the delay keeps a single client from spinning.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    attempts: u32,
}

impl Backoff {
    /// From the first delay and the longest.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap: cap.max(base),
            attempts: 0,
        }
    }

    /// How many delays were handed out since the last reset.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The delay before the next try.
    pub fn next_delay(&mut self, random: &dyn Random) -> Duration {
        let ceiling = self
            .base
            .checked_mul(1u32.checked_shl(self.attempts).unwrap_or(u32::MAX))
            .map_or(self.cap, |delay| delay.min(self.cap));
        self.attempts = self.attempts.saturating_add(1);
        let floor = ceiling / 10;
        floor + (ceiling - floor).mul_f64(random.unit())
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

/// 200 ms to 20 s: what longshore uses to reconnect.
impl Default for Backoff {
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(20))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeededRandom;

    #[test]
    fn delays_grow_to_the_cap_and_stay_within_it() {
        let random = SeededRandom::new(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        for attempt in 0..100u32 {
            let ceiling = Duration::from_millis(100)
                .checked_mul(1u32.checked_shl(attempt).unwrap_or(u32::MAX))
                .map_or(Duration::from_secs(5), |d| d.min(Duration::from_secs(5)));
            let delay = backoff.next_delay(&random);
            assert!(
                delay <= ceiling && delay >= ceiling / 10,
                "{attempt}: {delay:?}"
            );
        }
        backoff.reset();
        assert!(backoff.next_delay(&random) <= Duration::from_millis(100));
    }
}
