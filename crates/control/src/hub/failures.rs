use std::{collections::HashMap, time::Duration};

use longshore_core::Timestamp;

/// Which failures to take in a node are worth a line in the log: one for each address in a while,
/// with the number of those before it that got none. Who is not let in must not fill the disk.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_address: HashMap<String, Told>,
}

#[derive(Debug)]
struct Told {
    at: Timestamp,
    untold: u64,
}

impl Failures {
    /// Counts a failure of an address. `Some` when it is to be logged: how many were not since the
    /// line before.
    pub(super) fn note(&mut self, address: &str, now: Timestamp) -> Option<u64> {
        if !self.by_address.contains_key(address) && self.by_address.len() >= MOST {
            self.by_address.retain(|_, told| now.since(told.at) < QUIET);
            if self.by_address.len() >= MOST {
                return None;
            }
        }
        match self.by_address.get_mut(address) {
            Some(told) if now.since(told.at) < QUIET && now >= told.at => {
                told.untold += 1;
                None
            }
            Some(told) => {
                told.at = now;
                Some(std::mem::take(&mut told.untold))
            }
            None => {
                let told = Told { at: now, untold: 0 };
                self.by_address.insert(address.to_owned(), told);
                Some(0)
            }
        }
    }
}

/// How long an address has no further line.
const QUIET: Duration = Duration::from_secs(10);
/// So many addresses get lines at a time; the failures of others are not logged.
const MOST: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_gets_a_line_in_ten_seconds_with_the_number_of_the_others() {
        let start = Timestamp::from_secs(1000);
        let mut failures = Failures::default();
        assert_eq!(failures.note("a", start), Some(0));
        for _ in 0..500 {
            assert_eq!(failures.note("a", start.after(QUIET / 2)), None);
        }
        assert_eq!(failures.note("b", start.after(QUIET / 2)), Some(0));
        assert_eq!(failures.note("a", start.after(QUIET)), Some(500));
        assert_eq!(failures.note("a", start.after(QUIET)), None);
    }

    #[test]
    fn many_addresses_take_bounded_room() {
        let start = Timestamp::from_secs(1000);
        let mut failures = Failures::default();
        for number in 0..10 * MOST {
            failures.note(&number.to_string(), start);
        }
        assert_eq!(failures.by_address.len(), MOST);
        assert_eq!(failures.note("late", start.after(QUIET)), Some(0));
        assert_eq!(failures.by_address.len(), 1);
    }
}
