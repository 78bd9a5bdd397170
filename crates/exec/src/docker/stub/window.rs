use std::time::Duration;

use longshore_core::Timestamp;
use longshore_exec_stub::OUTPUT_WINDOW;

/// How much output may be under way between the stub and whoever takes it.
///
/// What has left the command comes before the answer to a ^C, and the engine's pipes and sockets on
/// the way hold some hundred kilobytes: seconds, where a client takes a hundred of them a second. So
/// the stub is given room for what its reader takes in a part of a second, and for a megabyte where
/// that is fast, however long the way: only time in which output waited for its reader counts against
/// it.
#[derive(Debug)]
pub(super) struct Window {
    size: usize,
    /// Room that the stub was given and no reader has used up.
    outstanding: usize,
    /// Since when, how much was taken, and how long that had waited.
    began: Timestamp,
    taken: usize,
    waited: Duration,
}

impl Window {
    /// As the stub begins.
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            size: OUTPUT_WINDOW,
            outstanding: OUTPUT_WINDOW,
            began: now,
            taken: 0,
            waited: Duration::ZERO,
        }
    }

    /// So much was taken, which had waited for its reader. Gives the room that the stub is to be
    /// told, once it is worth a word.
    pub(super) fn took(&mut self, bytes: usize, waited: Duration, now: Timestamp) -> Option<usize> {
        // A stub that says more than it may gains nothing.
        self.outstanding = self.outstanding.saturating_sub(bytes);
        self.taken = self.taken.saturating_add(bytes);
        self.waited += waited;
        if self.waited >= SLOW {
            self.size = (self.size / 2).max(SMALLEST);
            self.begin(now);
        } else if self.taken >= self.size {
            // A trickle says nothing of the way.
            if self.waited < QUICK && now.since(self.began) < TRICKLE {
                self.size = (self.size * 2).min(LARGEST);
            }
            self.begin(now);
        }
        let room = self.size.saturating_sub(self.outstanding);
        (room >= self.size / 4).then(|| {
            self.outstanding += room;
            room
        })
    }

    fn begin(&mut self, now: Timestamp) {
        (self.began, self.taken, self.waited) = (now, 0, Duration::ZERO);
    }
}

const SMALLEST: usize = 8 * 1024;
const LARGEST: usize = 1 << 20;
const QUICK: Duration = Duration::from_millis(100);
const SLOW: Duration = Duration::from_millis(300);
const TRICKLE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(100);

    /// A flood through a way of this delay to a reader of this rate, for so long: the size at its end,
    /// and what was taken.
    fn flood(window: &mut Window, delay: Duration, rate: usize, span: Duration) -> (usize, usize) {
        let mut now = NOW;
        // What is there for the reader, by when it arrives; the stub sends all that it may.
        let mut way = std::collections::VecDeque::from([(now, window.outstanding)]);
        let mut taken = 0;
        while now.since(NOW) < span {
            let (at, bytes) = way.pop_front().expect("room is given again");
            let piece = bytes.min(4096);
            if bytes > piece {
                way.push_front((at, bytes - piece));
            }
            let waited = match at > now {
                true => {
                    now = at;
                    Duration::ZERO
                }
                false => Duration::from_secs_f64(piece as f64 / rate as f64),
            };
            now = now.after(waited);
            taken += piece;
            if let Some(room) = window.took(piece, waited, now) {
                way.push_back((now.after(delay), room));
            }
        }
        (window.size, taken)
    }

    #[test]
    fn a_slow_reader_has_a_part_of_a_second_before_it() {
        for rate in [30_000, 100_000, 1_000_000] {
            let mut window = Window::new(NOW);
            window.size = LARGEST;
            let delay = Duration::from_millis(1);
            let (size, taken) = flood(&mut window, delay, rate, Duration::from_secs(20));
            assert!(size <= (rate * 3 / 10).max(SMALLEST), "{size} at {rate}");
            assert!(taken > rate * 19, "{taken} at {rate}");
        }
    }

    #[test]
    fn a_long_way_has_a_large_window() {
        let mut window = Window::new(NOW);
        let delay = Duration::from_millis(200);
        let (size, _) = flood(&mut window, delay, 1 << 30, Duration::from_secs(5));
        assert_eq!(size, LARGEST);
    }

    #[test]
    fn a_trickle_changes_nothing() {
        let mut window = Window::new(NOW);
        for key in 0..200_000 {
            let now = NOW.after(Duration::from_millis(100) * key);
            window.took(1, Duration::ZERO, now);
        }
        assert_eq!(window.size, OUTPUT_WINDOW);
    }

    proptest::proptest! {
        #[test]
        fn never_more_than_the_window_is_outstanding(
            pieces in proptest::collection::vec((0usize..100_000, 0u64..500), 0..200),
        ) {
            let (mut window, mut now) = (Window::new(NOW), NOW);
            let mut outstanding = OUTPUT_WINDOW;
            for (bytes, waited) in pieces {
                let bytes = bytes.min(outstanding);
                let waited = Duration::from_millis(waited);
                now = now.after(waited);
                outstanding -= bytes;
                let room = window.took(bytes, waited, now);
                proptest::prop_assert!(room.is_none_or(|room| outstanding + room <= LARGEST));
                outstanding += room.unwrap_or_default();
                // The stub is never left without room.
                proptest::prop_assert!(outstanding > 0);
            }
        }
    }
}
