//! What a person is told at the beginning of a visit and at its end.

use longshore::exec::session::SessionEnd;

use super::{Kind, input::Stdin};

/// What is known of the process when we leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// It is the container's own and goes on.
    Stays,
    /// It has ended.
    Ended,
    /// It was to end, and that it did was not seen.
    Unseen,
    /// It was to end, and nothing was heard of it before we left.
    Late,
    /// The connection broke.
    Cut,
}

impl Farewell {
    /// After the session was given up; `None`: its end was not heard of in time.
    pub fn of(ended: Option<longshore::Result<SessionEnd>>) -> Self {
        match ended {
            None => Self::Late,
            Some(Err(_)) => Self::Cut,
            Some(Ok(end)) if end.code.is_some() => Self::Ended,
            Some(Ok(_)) => Self::Unseen,
        }
    }

    pub fn of_visit_to(self, name: &str) -> String {
        match self {
            Self::Stays => format!("left {name}, which goes on"),
            Self::Ended => format!("left {name}; what ran for you there is ended"),
            Self::Unseen => format!(
                "left {name}; what ran for you there was told to end, and nobody saw whether it did"
            ),
            Self::Late => format!(
                "left {name}; what ran for you there was told to end, and nothing was heard of it so far"
            ),
            Self::Cut => format!(
                "left {name} without a connection: what ran for you there is ended when nobody has \
                 come back for a while"
            ),
        }
    }
}

/// Says at the beginning of an attachment how to leave it, where there is somebody to leave. `reads`:
/// whether what is typed may get there.
pub fn greeting(
    kind: Kind,
    name: &str,
    stdin: Stdin,
    reads: bool,
    key: Option<&str>,
) -> Option<String> {
    if kind == Kind::Watch {
        let doing = match reads {
            true => "you may be lent the keyboard",
            false => "read-only",
        };
        let leaving = match (stdin, key) {
            (Stdin::Pipe, _) => return None,
            (Stdin::Keys, Some(key)) => {
                format!("{key}. at the beginning of a line leaves, {key}W says who is here")
            }
            (Stdin::Lines, Some(key)) => {
                format!("Ctrl-C leaves, or {key}. and Enter; {key}W and Enter says who is here")
            }
            (Stdin::Keys, None) => "close this terminal to leave".to_owned(),
            (Stdin::Lines, None) => "Ctrl-C leaves".to_owned(),
        };
        return Some(format!("looking on at {name}, {doing}; {leaving}"));
    }
    let doing = if reads {
        "attached to"
    } else {
        "looking on at"
    };
    match (stdin, key) {
        (Stdin::Pipe, _) => None,
        (Stdin::Keys, Some(key)) => Some(format!(
            "{doing} {name}; {key}. at the beginning of a line leaves, Ctrl-C goes to the program"
        )),
        (Stdin::Keys, None) => Some(format!(
            "{doing} {name}; close this terminal to leave, Ctrl-C goes to the program"
        )),
        (Stdin::Lines, Some(key)) => Some(format!(
            "{doing} {name}; Ctrl-C leaves, or {key}. and Enter, and it goes on"
        )),
        (Stdin::Lines, None) => Some(format!("{doing} {name}; Ctrl-C leaves, and it goes on")),
    }
}

#[cfg(test)]
mod tests {
    use longshore::{
        Error,
        core::ExitStatus,
        exec::session::{EndReason, SessionEnd},
    };

    use super::*;

    #[test]
    fn only_what_was_seen_to_end_is_said_to_be_ended() {
        let seen = SessionEnd::from(ExitStatus::exited(0));
        let unseen = SessionEnd::new(EndReason::EndedByOperator);
        for (ended, farewell, words) in [
            (Some(Ok(seen)), Farewell::Ended, "is ended"),
            (Some(Ok(unseen)), Farewell::Unseen, "nobody saw"),
            (None, Farewell::Late, "nothing was heard of it"),
            (
                Some(Err(Error::unavailable("gone"))),
                Farewell::Cut,
                "without a connection",
            ),
        ] {
            let is = Farewell::of(ended);
            assert_eq!(is, farewell);
            let told = is.of_visit_to("web");
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn a_pipe_is_not_greeted() {
        for kind in [Kind::Attach, Kind::Watch] {
            assert_eq!(greeting(kind, "web", Stdin::Pipe, true, Some("~")), None);
        }
        let told = greeting(Kind::Watch, "session a", Stdin::Lines, false, Some("~"));
        assert!(
            told.expect("somebody is there")
                .contains("read-only; Ctrl-C leaves")
        );
    }
}
