use crate::session::{EndReason, SessionEnd};

use super::Visit;

/// What LAIN's users are shown at the end, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LainText {
    /// The process ended.
    Quit,
    /// Not allowed, for whatever reason.
    NotAuthorized,
    /// No such application, process or instance.
    NotFound,
    /// The shell could not be started.
    CannotEnter,
    /// The container could not be attached to.
    CannotAttach,
    /// The replay is over.
    ReplayDone,
    /// The replay failed.
    ReplayFailed,
}

impl LainText {
    /// The text with its colours.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Quit => "\x1b[32m>>> You quit the container safely.\x1b[0m",
            Self::NotAuthorized => "\x1b[31m>>> Authorization failed.\x1b[0m",
            Self::NotFound => "\x1b[31m>>> Container is not found.\x1b[0m",
            Self::CannotEnter => "\x1b[31m>>> Can't enter your container, try again.\x1b[0m",
            Self::CannotAttach => "\x1b[31m>>> Can't attach your container, try again.\x1b[0m",
            Self::ReplayDone => "\x1b[32m>>> Session replay done.\x1b[0m",
            Self::ReplayFailed => "\x1b[31m>>> Replay session failed, please try again.\x1b[0m",
        }
    }

    /// The text of a failed visit.
    pub fn failed(visit: Visit) -> Self {
        match visit {
            Visit::Enter => Self::CannotEnter,
            Visit::Attach => Self::CannotAttach,
        }
    }
}

/// What a session's end is shown as. Entry knew no ends but these; the others are told in its style.
pub(super) fn of_end(end: &SessionEnd, visit: Visit) -> String {
    match end.reason {
        EndReason::Exited | EndReason::Signaled => LainText::Quit.as_str().to_owned(),
        EndReason::StartFailed => LainText::failed(visit).as_str().to_owned(),
        EndReason::AuthExpired => LainText::NotAuthorized.as_str().to_owned(),
        other => red(&format!("The session was ended: {other}.")),
    }
}

pub(super) fn red(text: &str) -> String {
    format!(
        "\x1b[31m>>> {}\x1b[0m",
        longshore_core::printable(text, 300)
    )
}
