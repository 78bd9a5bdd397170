use std::{collections::HashMap, time::Duration};

use longshore_core::{Repeats, Timestamp};

/// Which failures to take in a node are worth a line in the log: for each address what is new, and
/// the same again after growing pauses, with the number of those that got none. Who is not let in
/// must not fill the disk.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_address: HashMap<String, Address>,
}

#[derive(Debug)]
struct Address {
    /// Each kind has its own, so that two in turn are not new each time.
    by_kind: HashMap<String, Repeats>,
    last: Timestamp,
}

impl Failures {
    /// Counts a failure of an address, of this kind. `Some` when it is to be logged: how many were
    /// not since the line before.
    pub(super) fn note(&mut self, address: &str, kind: &str, now: Timestamp) -> Option<u64> {
        if !self.by_address.contains_key(address) && self.by_address.len() >= MOST {
            self.by_address
                .retain(|_, known| now.since(known.last) < FORGOTTEN);
            if self.by_address.len() >= MOST {
                return None;
            }
        }
        let known = self.by_address.entry(address.to_owned());
        let known = known.or_insert_with(|| Address {
            by_kind: HashMap::new(),
            last: now,
        });
        known.last = now;
        if !known.by_kind.contains_key(kind) && known.by_kind.len() >= MOST_KINDS {
            return None;
        }
        let repeats = known.by_kind.entry(kind.to_owned()).or_default();
        repeats.say(kind, now)
    }
}

/// An address that failed no more for so long makes place for others.
const FORGOTTEN: Duration = Duration::from_secs(60);
/// So many addresses get lines at a time; the failures of others are not logged.
const MOST: usize = 256;
/// More than there are.
const MOST_KINDS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_a_line_for_what_is_new_and_then_seldom() {
        let start = Timestamp::from_secs(1000);
        let mut failures = Failures::default();
        assert_eq!(failures.note("a", "x", start), Some(0));
        for _ in 0..500 {
            assert_eq!(failures.note("a", "x", start), None);
        }
        assert_eq!(failures.note("b", "x", start), Some(0));
        assert_eq!(failures.note("a", "x", start.after(FORGOTTEN)), Some(500));
        assert_eq!(failures.note("a", "y", start.after(FORGOTTEN)), Some(0));
        // By turns they are not new.
        for _ in 0..10 {
            assert_eq!(failures.note("a", "x", start.after(FORGOTTEN)), None);
            assert_eq!(failures.note("a", "y", start.after(FORGOTTEN)), None);
        }
    }

    #[test]
    fn many_addresses_take_bounded_room() {
        let start = Timestamp::from_secs(1000);
        let mut failures = Failures::default();
        for number in 0..10 * MOST {
            failures.note(&number.to_string(), "x", start);
        }
        assert_eq!(failures.by_address.len(), MOST);
        assert_eq!(failures.note("late", "x", start.after(FORGOTTEN)), Some(0));
        assert_eq!(failures.by_address.len(), 1);
    }
}
