use std::time::Duration;

use longshore_core::Timestamp;

/// When a stream is read next. An engine sends a terminal's flood in pieces of at most a page, some
/// thousands a second. Taken one by one each costs everybody behind it a turn; a moment later many
/// lie there together, in the socket's own buffer.
///
/// A single piece is never held up, and what follows only when it is neither keys nor plenty.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Since when there is somebody to read.
    ready: Option<Timestamp>,
}

impl Pace {
    /// Somebody is ready to read.
    pub(super) fn ready(&mut self, now: Timestamp) {
        self.ready.get_or_insert(now);
    }

    /// So much was read. Until when the next read waits, if it does.
    pub(super) fn took(&mut self, bytes: usize, now: Timestamp) -> Option<Timestamp> {
        let waited = self.ready.take().map(|ready| now.since(ready));
        let was_there = waited.is_some_and(|waited| waited < SPAN);
        (was_there && (FEW..PLENTY).contains(&bytes)).then(|| now.after(SPAN))
    }
}

const SPAN: Duration = Duration::from_millis(1);
/// Less is keys and prompts.
const FEW: usize = 512;
/// As much is worth a turn of its own.
const PLENTY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(7);

    fn at(micros: u64) -> Timestamp {
        NOW.after(Duration::from_micros(micros))
    }

    #[test]
    fn a_flood_of_small_pieces_is_gathered() {
        let mut pace = Pace::default();
        pace.ready(NOW);
        // Nobody knew that more would come.
        assert_eq!(pace.took(4096, at(3000)), None);
        pace.ready(at(3010));
        assert_eq!(pace.took(4096, at(3050)), Some(at(4050)));
        pace.ready(at(5000));
        assert_eq!(pace.took(12_000, at(5001)), Some(at(6001)));
    }

    #[test]
    fn keys_and_large_pieces_are_taken_at_once() {
        let mut pace = Pace::default();
        for bytes in [1, 80, FEW - 1, PLENTY, 64 * 1024] {
            pace.ready(NOW);
            assert_eq!(pace.took(bytes, at(10)), None, "{bytes}");
        }
    }
}
