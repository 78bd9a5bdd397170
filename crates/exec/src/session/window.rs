use std::{collections::VecDeque, time::Duration};

use longshore_core::Timestamp;

/// How much output may be on its way to a viewer that acknowledges.
///
/// It grows while what was sent comes back acknowledged well within the target delay, and halves,
/// once per round trip, when that takes longer: so a fast link is filled and a slow one never holds
/// more than about the target's worth, and an interrupt is not stuck behind megabytes. The idea is
/// that of delay-based congestion control (Brakmo and Peterson, *TCP Vegas*, 1995).
#[derive(Debug)]
pub(super) struct Window {
    size: u64,
    smallest: u64,
    largest: u64,
    target: Duration,
    /// Offsets behind pieces that were sent, and when.
    sent: VecDeque<(u64, Timestamp)>,
    /// No second halving until this was acknowledged.
    halved_until: u64,
    /// Whether sending stopped for want of room since the last acknowledgement.
    full: bool,
}

impl Window {
    pub(super) fn new(first: u64, smallest: u64, largest: u64, target: Duration) -> Self {
        Self {
            size: first.clamp(smallest, largest.max(smallest)),
            smallest,
            largest: largest.max(smallest),
            target,
            sent: VecDeque::new(),
            halved_until: 0,
            full: false,
        }
    }

    /// How much may be unacknowledged.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How much more may be sent, with so much unacknowledged.
    pub(super) fn room(&mut self, unacknowledged: u64) -> usize {
        let room = self.size.saturating_sub(unacknowledged);
        self.full |= room == 0;
        usize::try_from(room).unwrap_or(usize::MAX)
    }

    /// Bytes up to `end` were sent.
    pub(super) fn sent(&mut self, end: u64, now: Timestamp) {
        // Without marks nothing is learnt from the next acknowledgements, no more.
        if self.sent.len() < MOST_MARKS {
            self.sent.push_back((end, now));
        }
    }

    /// Bytes up to `offset`, `new` of them for the first time, were consumed.
    pub(super) fn acknowledged(&mut self, offset: u64, new: u64, now: Timestamp) {
        let mut delay = None;
        while let Some((end, at)) = self.sent.front().copied()
            && end <= offset
        {
            delay = Some(now.since(at));
            self.sent.pop_front();
        }
        let Some(delay) = delay else { return };
        if delay > self.target {
            if offset >= self.halved_until {
                self.size = (self.size / 2).max(self.smallest);
                self.halved_until = self.sent.back().map_or(offset, |(end, _)| *end);
            }
        } else if delay < self.target / 2 && self.full {
            self.size = (self.size + new).min(self.largest);
        }
        self.full = false;
    }
}

const MOST_MARKS: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends through a link of so many bytes a second for a while; gives the size in the end and
    /// the longest that a byte took in the second half.
    fn run(bytes_per_second: u64) -> (u64, Duration) {
        let target = Duration::from_millis(250);
        let mut window = Window::new(64 << 10, 8 << 10, 1 << 20, target);
        let (mut sent, mut acknowledged, mut longest) = (0u64, 0u64, Duration::ZERO);
        let mut flight: VecDeque<(u64, Timestamp)> = VecDeque::new();
        let mut free_at = Timestamp::ZERO;
        for step in 0..20_000u64 {
            let now = Timestamp::from_micros(step * 1000);
            while let Some((end, at)) = flight.front().copied()
                && at <= now
            {
                flight.pop_front();
                window.acknowledged(end, end - acknowledged, now);
                acknowledged = end;
            }
            loop {
                let piece = window.room(sent - acknowledged).min(4096) as u64;
                if piece == 0 {
                    break;
                }
                sent += piece;
                window.sent(sent, now);
                free_at = free_at
                    .max(now)
                    .after(Duration::from_micros(piece * 1_000_000 / bytes_per_second));
                if step > 10_000 {
                    longest = longest.max(free_at.since(now));
                }
                flight.push_back((sent, free_at));
            }
        }
        (window.size, longest)
    }

    #[test]
    fn a_slow_link_holds_a_quarter_of_a_second_at_most() {
        let (size, longest) = run(100_000);
        assert!(size <= 64 << 10, "{size}");
        assert!(longest <= Duration::from_millis(400), "{longest:?}");
    }

    #[test]
    fn a_fast_link_is_filled() {
        let (size, _) = run(50 << 20);
        assert_eq!(size, 1 << 20);
    }
}
