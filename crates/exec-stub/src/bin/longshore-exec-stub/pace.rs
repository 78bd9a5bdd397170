//! When output is read next.

use std::time::{Duration, Instant};

/// A program writes a flood in pieces of a kilobyte or four, and whoever reads each at once wakes
/// everybody between here and its reader for it. A moment later many of them lie there together.
///
/// What comes after a pause is read at once, and what follows only when it is neither keys nor
/// plenty.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<Instant>,
    until: Option<Instant>,
}

impl Pace {
    /// For how long nothing is to be read.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        let until = self.until?;
        (now < until).then(|| until - now)
    }

    /// So much was there.
    pub(crate) fn took(&mut self, bytes: usize, now: Instant) {
        let follows = self
            .last
            .replace(now)
            .is_some_and(|last| now.duration_since(last) < SPAN * 2);
        let until = now + SPAN;
        self.until = (follows && (FEW..PLENTY).contains(&bytes)).then_some(until);
    }
}

/// A terminal holds twelve kilobytes at most (`tty_buffer_set_limit` in Linux's `pty.c`, and a page of
/// the line discipline), and programs fill that in less than a millisecond.
const SPAN: Duration = Duration::from_micros(250);
/// Less is keys and prompts.
const FEW: usize = 512;
/// As much is worth a turn of its own.
const PLENTY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_small_pieces_is_gathered() {
        let (start, mut pace) = (Instant::now(), Pace::default());
        let at = |micros| start + Duration::from_micros(micros);
        pace.took(1024, at(0));
        assert_eq!(pace.pause(at(0)), None, "nobody knew that more would come");
        pace.took(1024, at(100));
        assert_eq!(pace.pause(at(150)), Some(Duration::from_micros(200)));
        assert_eq!(pace.pause(at(350)), None);
        // It was read late.
        pace.took(12_000, at(420));
        assert!(pace.pause(at(420)).is_some());
        // A pause of its own.
        pace.took(12_000, at(2000));
        assert_eq!(pace.pause(at(2000)), None);
    }

    #[test]
    fn keys_and_large_pieces_hold_nobody_up() {
        for bytes in [1, 80, FEW - 1, PLENTY, 32 * 1024] {
            let (now, mut pace) = (Instant::now(), Pace::default());
            pace.took(bytes, now);
            pace.took(bytes, now);
            assert_eq!(pace.pause(now), None, "{bytes}");
        }
    }
}
