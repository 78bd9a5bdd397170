use std::time::Duration;

use longshore_core::Timestamp;

/// A token bucket of bytes, full at first.
#[derive(Debug)]
pub(crate) struct Rate {
    per_second: u64,
    most: u64,
    bytes: u64,
    filled: Timestamp,
}

impl Rate {
    /// That holds one second's worth.
    pub(super) fn new(per_second: u64, now: Timestamp) -> Self {
        Self::with_burst(per_second, per_second, now)
    }

    /// That holds so much.
    pub(crate) fn with_burst(per_second: u64, most: u64, now: Timestamp) -> Self {
        Self {
            per_second: per_second.max(1),
            most: most.max(1),
            bytes: most.max(1),
            filled: now,
        }
    }

    /// How many bytes may go now.
    pub(crate) fn room(&mut self, now: Timestamp) -> usize {
        let passed = now.since(self.filled).as_micros();
        let earned = passed.saturating_mul(u128::from(self.per_second)) / 1_000_000;
        if earned > 0 {
            self.bytes = self.most.min(self.bytes.saturating_add(earned as u64));
            self.filled = now;
        }
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }

    pub(crate) fn spend(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes as u64);
    }

    /// Bytes that were spent and did not go.
    pub(super) fn give_back(&mut self, bytes: usize) {
        let bytes = self.bytes.saturating_add(bytes as u64);
        self.bytes = self.most.min(bytes);
    }

    /// When there will be room for a worthwhile piece.
    pub(super) fn next_room(&self) -> Timestamp {
        let piece = self.per_second.min(4096);
        let missing = piece.saturating_sub(self.bytes).max(1);
        let micros = missing.saturating_mul(1_000_000).div_ceil(self.per_second);
        self.filled.after(Duration::from_micros(micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_its_bytes_and_the_burst() {
        let mut rate = Rate::new(1000, Timestamp::ZERO);
        let mut sent = 0;
        for millis in 0..10_000 {
            let now = Timestamp::from_micros(millis * 1000);
            let room = rate.room(now);
            rate.spend(room);
            sent += room;
            if room == 0 {
                assert!(rate.next_room() > now);
            }
        }
        assert!((9_900..=11_000).contains(&sent), "{sent}");
    }
}
