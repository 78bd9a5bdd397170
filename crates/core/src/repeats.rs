use std::time::Duration;

use crate::Timestamp;

/// Which of the same words, said again and again, are worth a line in a log: what is new at once,
/// what is not after a minute, then two, four and so on up to an hour.
///
/// Pure: it is told what would be said and when.
///
/// ```
/// use std::time::Duration;
/// use longshore_core::{Repeats, Timestamp};
///
/// let mut repeats = Repeats::default();
/// let start = Timestamp::from_secs(1_000);
/// assert_eq!(repeats.say("refused", start), Some(0));
/// assert_eq!(repeats.say("refused", start.after(Duration::from_secs(30))), None);
/// // One line was left out.
/// assert_eq!(repeats.say("refused", start.after(Duration::from_secs(60))), Some(1));
/// assert_eq!(repeats.say("no route", start.after(Duration::from_secs(61))), Some(0));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Repeats {
    said: Option<Said>,
}

#[derive(Clone, Debug)]
struct Said {
    text: String,
    at: Timestamp,
    pause: Duration,
    left_out: u64,
}

impl Repeats {
    /// Something would be said. `Some` if it is to be: how many times the same was left out before.
    pub fn say(&mut self, text: &str, now: Timestamp) -> Option<u64> {
        match &mut self.said {
            Some(said) if said.text == text => {
                // A clock that was set back must not silence it for long.
                if now >= said.at && now.since(said.at) < said.pause {
                    said.left_out += 1;
                    return None;
                }
                said.at = now;
                said.pause = (said.pause * 2).min(LONGEST);
                Some(std::mem::take(&mut said.left_out))
            }
            _ => {
                self.said = Some(Said {
                    text: text.to_owned(),
                    at: now,
                    pause: FIRST,
                    left_out: 0,
                });
                Some(0)
            }
        }
    }

    /// It is over: the same is news when it is said again.
    pub fn reset(&mut self) {
        self.said = None;
    }
}

const FIRST: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_an_hour_and_what_is_new_is_said_at_once() {
        let mut repeats = Repeats::default();
        let start = Timestamp::from_secs(1_000_000);
        let said: Vec<u64> = (0..6 * 3600)
            .filter(|second| {
                let now = start.after(Duration::from_secs(*second));
                repeats.say("full", now).is_some()
            })
            .collect();
        assert_eq!(said[..5], [0, 60, 180, 420, 900]);
        let pauses: Vec<u64> = said.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(pauses[pauses.len() - 2..], [3600, 3600]);
        let later = start.after(Duration::from_secs(6 * 3600));
        assert_eq!(repeats.say("other", later), Some(0));
        assert_eq!(repeats.say("other", later), None);
        repeats.reset();
        assert_eq!(repeats.say("other", later), Some(0));
        // The clock was set back.
        assert_eq!(repeats.say("other", start), Some(0));
    }
}
