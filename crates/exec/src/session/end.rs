use std::fmt;

use longshore_core::{Error, ErrorKind, ExitStatus, Signal};
use serde::{Deserialize, Serialize};

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum EndReason {
    /// The process ended by itself.
    Exited,
    /// A signal ended the process.
    Signaled,
    /// The kernel ended the process for lack of memory.
    Oom,
    /// The container was removed, or stopped under the process.
    ContainerGone,
    /// The process never ran.
    StartFailed,
    /// Leave to be in here was withdrawn or ran out.
    AuthExpired,
    /// Nothing came in or out for too long.
    Idle,
    /// It went on for as long as a session may.
    MaxDuration,
    /// A person ended it.
    EndedByOperator,
    /// The server was shut down.
    ServerShutdown,
    /// The client did not come back in time, or the process's fate could not be learnt.
    Lost,
}

impl EndReason {
    /// The word on the wire and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signaled => "signaled",
            Self::Oom => "oom",
            Self::ContainerGone => "container-gone",
            Self::StartFailed => "start-failed",
            Self::AuthExpired => "auth-expired",
            Self::Idle => "idle",
            Self::MaxDuration => "max-duration",
            Self::EndedByOperator => "ended-by-operator",
            Self::ServerShutdown => "server-shutdown",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a session ended. A code that is not known is `None`, never 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SessionEnd {
    /// Why.
    pub reason: EndReason,
    /// The exit code; 128 + signal number where a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i64>,
    /// The signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<Signal>,
    /// What kind of error kept the process from starting.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "kind")]
    pub error: Option<ErrorKind>,
    /// What else is known, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl SessionEnd {
    /// An end without a known code.
    pub fn new(reason: EndReason) -> Self {
        Self {
            reason,
            code: None,
            signal: None,
            error: None,
            text: None,
        }
    }

    /// Adds what else is known.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// The process could not be started.
    pub fn start_failed(error: &Error) -> Self {
        let code = error
            .context("exit_code")
            .and_then(|code| code.parse().ok());
        Self {
            code,
            error: Some(error.kind()),
            ..Self::new(EndReason::StartFailed).with_text(error.to_string())
        }
    }

    /// Whether the process ended by itself with code 0.
    pub fn is_success(&self) -> bool {
        self.reason == EndReason::Exited && self.code == Some(0)
    }

    /// What core calls it.
    pub fn to_status(&self) -> ExitStatus {
        let mut status = ExitStatus::default();
        status.code = self.code;
        status.signal = self.signal;
        status.out_of_memory = self.reason == EndReason::Oom;
        status.reason = match (&self.text, self.reason) {
            (Some(text), _) => Some(text.clone()),
            (None, EndReason::Exited | EndReason::Signaled | EndReason::Oom) => None,
            (None, reason) => Some(reason.to_string()),
        };
        status
    }
}

/// As a backend tells it. A code of 126 or 127 with a reason is an engine that could not start the
/// command: a shell that ends with such a code of its own gives no reason.
impl From<ExitStatus> for SessionEnd {
    fn from(status: ExitStatus) -> Self {
        let reason = match (&status.code, &status.reason) {
            _ if status.out_of_memory => EndReason::Oom,
            _ if status.signal.is_some() => EndReason::Signaled,
            (Some(126 | 127), Some(_)) => EndReason::StartFailed,
            (Some(_), _) => EndReason::Exited,
            (None, Some(text)) if is_container_gone(text) => EndReason::ContainerGone,
            (None, _) => EndReason::Lost,
        };
        Self {
            reason,
            code: status.code,
            signal: status.signal,
            error: None,
            text: status.reason,
        }
    }
}

/// The Docker backend's reasons begin with a word; others say it in a sentence.
fn is_container_gone(text: &str) -> bool {
    match text.split_once(": ") {
        Some(("container-gone", _)) => true,
        Some(("lost", _)) => false,
        _ => text.contains("removed"),
    }
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.reason)?;
        match (self.signal, self.code) {
            (Some(signal), _) => write!(f, " by {signal}")?,
            (None, Some(code)) => write!(f, " with code {code}")?,
            (None, None) => {}
        }
        match &self.text {
            Some(text) => write!(f, " ({text})"),
            None => Ok(()),
        }
    }
}

/// An error's kind as its word. A word that is not known is none.
mod kind {
    use longshore_core::ErrorKind;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde's shape")]
    pub(super) fn serialize<S: Serializer>(
        kind: &Option<ErrorKind>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(kind.map_or("", ErrorKind::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<ErrorKind>, D::Error> {
        let word = String::deserialize(deserializer)?;
        Ok(KNOWN.into_iter().find(|kind| kind.as_str() == word))
    }

    const KNOWN: [ErrorKind; 9] = [
        ErrorKind::InvalidInput,
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::PermissionDenied,
        ErrorKind::ResourceExhausted,
        ErrorKind::Unavailable,
        ErrorKind::Timeout,
        ErrorKind::Unsupported,
        ErrorKind::Internal,
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: ExitStatus, reason: EndReason, code: Option<i64>) {
        let end = SessionEnd::from(status);
        assert_eq!((end.reason, end.code), (reason, code));
        let text = serde_json::to_string(&end).unwrap();
        assert_eq!(serde_json::from_str::<SessionEnd>(&text).unwrap(), end);
    }

    #[test]
    fn every_status_has_its_reason_and_no_false_zero() {
        check(ExitStatus::exited(7), EndReason::Exited, Some(7));
        check(ExitStatus::exited(127), EndReason::Exited, Some(127));
        check(
            ExitStatus::exited(127).with_reason("OCI runtime exec failed"),
            EndReason::StartFailed,
            Some(127),
        );
        check(
            ExitStatus::signaled(Signal::KILL),
            EndReason::Signaled,
            Some(137),
        );
        let mut oom = ExitStatus::signaled(Signal::KILL);
        oom.out_of_memory = true;
        check(oom, EndReason::Oom, Some(137));
        check(
            ExitStatus::unknown("the container was removed"),
            EndReason::ContainerGone,
            None,
        );
        for (text, reason) in [
            (
                "container-gone: the container was stopped",
                EndReason::ContainerGone,
            ),
            (
                "container-gone: the container was removed",
                EndReason::ContainerGone,
            ),
            (
                "lost: it may have been restarted or removed",
                EndReason::Lost,
            ),
            ("who knows", EndReason::Lost),
        ] {
            check(ExitStatus::unknown(text), reason, None);
        }
    }
}
