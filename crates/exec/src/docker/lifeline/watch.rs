use std::sync::Arc;

use longshore_core::{Error, ErrorKind, ExecRequest, Result};

use super::{
    Hold,
    line::SAID,
    refusals::{Place, Refused},
    seat::Seat,
};
use crate::{cleanup::Cleanup, docker::context::Context};

/// Who watches over a session.
#[derive(Clone, Debug, Default)]
pub(in crate::docker) struct Watch {
    /// `None` where there can be no lifeline just now.
    pub(in crate::docker) hold: Option<Arc<Hold>>,
    /// Whether the container has no shell to clean up with.
    pub(in crate::docker) shellless: bool,
}

impl Watch {
    /// Puts a session under a lifeline's watch before it begins: a shell in its container, or where
    /// that has none, one in a helper container beside it, if there is an image for it. Where neither
    /// can be, the session is to begin all the same.
    ///
    /// # Errors
    /// The engine could not be asked just now, or a shell in the container takes too long.
    pub(in crate::docker) async fn over(context: &Context, request: &ExecRequest) -> Result<Self> {
        let settings = &context.settings;
        if settings.cleanup == Cleanup::Nothing {
            return Ok(Self::default());
        }
        let lifelines = &context.shared.lifelines;
        let inside = Seat::Inside(request.user.clone());
        let beside = settings.sidecar_image.as_ref().map(|image| Place {
            workload: request.workload.clone(),
            user: request.user.clone(),
            image: image.clone(),
        });
        let mut refused = None;
        if let Some(place) = &beside {
            let now = context.api.clock.now();
            refused = lifelines.refusals.holds(place, now);
            if refused == Some(Refused { no_program: true }) {
                return Ok(Self::nobody(true));
            }
            // Whoever found that there is no shell had it made, and it serves all users.
            let stands = |seat: &Seat| lifelines.stands(context, &place.workload, seat);
            if refused.is_none() && stands(&place.seat()) && !stands(&inside) {
                return Ok(Self::beside(context, place, true).await);
            }
        }
        let joined = lifelines.join(context, &request.workload, inside).await;
        let error = match joined {
            Ok(hold) => return Ok(Self::by(hold, false)),
            Err(error) if error.is_retryable() => return Err(error),
            // What is wrong with the container itself, the session's own start says.
            Err(error) => error,
        };
        tracing::debug!(error = error.chain(), "no lifeline in the container");
        let said = error.context(SAID);
        let no_program = said.is_some_and(has_no_program);
        let is_useless = said.is_some_and(is_useless);
        match beside.filter(|_| is_useless && refused.is_none()) {
            Some(place) => Ok(Self::beside(context, &place, no_program).await),
            // A shell that could not start or go on for a moment may be able to later.
            None => Ok(Self::nobody(no_program)),
        }
    }

    /// By a helper. `no_program`: the container surely has no shell.
    async fn beside(context: &Context, place: &Place, no_program: bool) -> Self {
        let lifelines = &context.shared.lifelines;
        let joined = lifelines.join(context, &place.workload, place.seat());
        match joined.await {
            Ok(hold) => Self::by(hold, no_program),
            Err(error) => {
                let workload = &place.workload;
                tracing::debug!(%workload, error = error.chain(), "no lifeline beside it either");
                if is_lasting(&error) {
                    let now = context.api.clock.now();
                    let refused = Refused { no_program };
                    lifelines.refusals.note(place.clone(), refused, now);
                }
                Self::nobody(no_program)
            }
        }
    }

    fn by(hold: Hold, shellless: bool) -> Self {
        Self {
            hold: Some(Arc::new(hold)),
            shellless,
        }
    }

    /// Neither a shell in the container nor a helper, just now.
    fn nobody(shellless: bool) -> Self {
        Self {
            hold: None,
            shellless,
        }
    }
}

/// Whether the container has no shell, in the words of whichever engine.
fn has_no_program(said: &str) -> bool {
    NO_PROGRAM.iter().any(|words| said.contains(words))
}

/// Whether it has none that the script can do with. One without `tr` or `grep` leaves and says
/// nothing; without a `printf` of its own it names that.
fn is_useless(said: &str) -> bool {
    let words = ["permission denied", "exec format error", "not found"];
    said.is_empty() || has_no_program(said) || words.iter().any(|words| said.contains(words))
}

/// Whether the next try would be in vain as well. A container that has stopped may be started again,
/// and an engine that is away comes back.
fn is_lasting(error: &Error) -> bool {
    !matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable)
}

/// What engines say of a program that is not there.
const NO_PROGRAM: [&str; 2] = ["executable file not found", "no such file or directory"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_shell_is_told_from_what_is_wrong_with_the_container() {
        let missing = "OCI runtime exec failed: exec failed: container_linux.go:380: starting \
                       container process caused: exec: \"sh\": executable file not found in $PATH";
        for said in [
            missing,
            "",
            "exec /bin/sh: exec format error",
            "sh: permission denied",
            "sh: 5: printf: not found",
        ] {
            assert!(is_useless(said), "{said}");
        }
        assert!(has_no_program(missing) && !has_no_program(""));
        for said in [
            "unable to find user ann: no matching entries in passwd file",
            "Container 4a2 is not running",
            "fork: Resource temporarily unavailable",
            "sh: 12: Cannot fork",
            "sh: can't fork: Out of memory",
        ] {
            assert!(!is_useless(said), "{said}");
        }
    }

    #[test]
    fn a_container_that_stopped_or_an_engine_that_is_away_is_asked_again() {
        let error = |kind| Error::new(kind, "no");
        for kind in [ErrorKind::Conflict, ErrorKind::Unavailable] {
            assert!(!is_lasting(&error(kind)));
        }
        for kind in [ErrorKind::NotFound, ErrorKind::Timeout, ErrorKind::Internal] {
            assert!(is_lasting(&error(kind)));
        }
    }
}
