//! The state of the connection, in words.

use longshore::exec::client::Link;

/// What of it a person knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    state: State,
    /// Bytes that are known to be missing.
    missed: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Up,
    Down,
    /// It is there again, and what it has cost is not known.
    Unsure,
}

impl Status {
    pub fn is_connected(self) -> bool {
        self.state != State::Down
    }

    /// What there is to say at a change. That nothing was lost is said when it is known; what was is
    /// said at its place in the output.
    pub fn of(&mut self, link: &Link, way_out: &str) -> Option<String> {
        let was = self.state;
        match link {
            Link::Down(why) => {
                self.state = State::Down;
                Some(format!("{why}; trying to come back{way_out}"))
            }
            Link::Up { missed: None } => {
                self.state = State::Unsure;
                (was == State::Down).then(|| "connected again".to_owned())
            }
            Link::Up {
                missed: Some(missed),
            } => {
                let before = std::mem::replace(&mut self.missed, *missed);
                self.state = State::Up;
                let text = match (was, *missed > before) {
                    (State::Up, _) | (State::Unsure, true) => return None,
                    (State::Down, true) => "connected again",
                    (State::Down, false) => "connected again, and nothing was lost",
                    (State::Unsure, false) => "nothing was lost",
                };
                Some(text.to_owned())
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(links: &[Link], expected: &[&str]) {
        let mut status = Status::default();
        let told = links
            .iter()
            .filter_map(|link| status.of(link, "; ~. leaves"));
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

    fn up(missed: impl Into<Option<u64>>) -> Link {
        Link::Up {
            missed: missed.into(),
        }
    }

    #[test]
    fn nothing_is_said_to_be_whole_before_that_is_known() {
        let down = Link::Down("gone".to_owned());
        let lost = "gone; trying to come back; ~. leaves";
        let whole = "connected again, and nothing was lost";
        check(&[down.clone(), up(0)], &[lost, whole]);
        check(&[down.clone(), up(7)], &[lost, "connected again"]);
        let unsure = [down.clone(), up(None), up(0)];
        check(&unsure, &[lost, "connected again", "nothing was lost"]);
        let gap = [down.clone(), up(None), up(7)];
        check(&gap, &[lost, "connected again"]);
        // What was missed before is not missed again.
        let twice = [down.clone(), up(7), down, up(7)];
        check(&twice, &[lost, "connected again", lost, whole]);
    }
}
