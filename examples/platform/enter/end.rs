//! How a visit ends, in words and as an exit code.

use longshore::{
    Error, ErrorKind, Result,
    core::printable,
    exec::session::{EndReason, SHELLS, SessionEnd},
};

use super::Kind;
use crate::{Failure, say::note};

/// The exit code of everything that is not the command's own, as with ssh.
pub const OURS: u8 = 255;

/// How much of what the other side says of an end is shown.
const MOST_SAID: usize = 400;

/// The same failure with that code.
pub fn ours(failure: Failure) -> Failure {
    Failure {
        code: OURS,
        ..failure
    }
}

/// A session that did not come to be.
pub fn refused(error: &Error, kind: Kind, name: &str) -> Failure {
    // What the other side said is whole; what happened on the way is told with its causes.
    let why = match error.context("close_code") {
        Some(_) => error.message().to_owned(),
        None => error.chain(),
    };
    let text = match error.kind() {
        ErrorKind::PermissionDenied if why.starts_with("cleanup ") => {
            format!("{why}; the control plane is told so with --exec-least-cleanup")
        }
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated if kind == Kind::Watch => format!(
            "you may not look on at {name}, or not with --approve: {why}; the control plane decides by \
             who you are for it (your user on its socket, your certificate on TLS)"
        ),
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => format!(
            "you may not enter {name}: {why}; the control plane decides by who you are for it (your \
             user on its socket, your certificate on TLS)"
        ),
        ErrorKind::NotFound if why.contains("instead of upgrading") => {
            format!("{why}: the endpoint has no exec gateway; is it a longshore control plane?")
        }
        ErrorKind::NotFound | ErrorKind::Closed if kind == Kind::Watch => {
            format!("{why}; 'platform sessions --live' shows those that go on")
        }
        ErrorKind::ResourceExhausted if kind == Kind::Watch => {
            format!("{why}; somebody who looks on has to leave first")
        }
        ErrorKind::NotFound => format!("{why}; 'docker ps -a' shows what there is"),
        ErrorKind::Conflict if why.contains(NOT_RUNNING) => not_running(name),
        ErrorKind::ResourceExhausted => format!("{why}; end another session, or try again later"),
        _ => why,
    };
    ours(Failure::new(text))
}

/// A session that was.
pub fn told(end: Result<SessionEnd>, name: &str, has_command: bool) -> Result<(), Failure> {
    let end = match end {
        Ok(end) => end,
        Err(error) => {
            let text = format!(
                "the session in {name} is lost, and how its command ended is not known: {}",
                error.chain()
            );
            return Err(ours(Failure::new(text)));
        }
    };
    let code = end.code.and_then(|code| u8::try_from(code).ok());
    match end.reason {
        EndReason::Exited | EndReason::Signaled => match code {
            Some(0) if end.reason == EndReason::Exited => Ok(()),
            Some(code) => Err(Failure::silent(code)),
            None => Err(ours(Failure::new(format!(
                "the command in {name}: {}",
                printable(&end.to_string(), MOST_SAID)
            )))),
        },
        EndReason::StartFailed if !has_command && code.is_some() => {
            let text = format!(
                "{name} has no shell ({} were tried) and there is no stub to help out: name a command, \
                 platform enter {name} -- PROGRAM",
                SHELLS.join(", ")
            );
            Err(Failure {
                message: text,
                code: code.unwrap_or(OURS),
            })
        }
        EndReason::StartFailed => {
            let why = printable(
                end.text.as_deref().unwrap_or("no reason is known"),
                MOST_SAID,
            );
            Err(Failure {
                message: match why.ends_with(NOT_RUNNING) {
                    true => not_running(name),
                    false => format!("it can't be run in {name}: {why}"),
                },
                code: code.unwrap_or(OURS),
            })
        }
        reason => Err(Failure {
            message: format!("{name}: {}", sentence(reason, &end)),
            code: code.unwrap_or(OURS),
        }),
    }
}

/// What others have said of it does nothing to our terminal.
fn has_ended(end: &SessionEnd, name: &str) -> String {
    let end = end.to_string();
    format!("{name} has ended: {}", printable(&end, MOST_SAID))
}

/// A session at which we looked on. What its process says is not our exit code.
pub fn watched(end: Result<SessionEnd>, name: &str) -> Result<(), Failure> {
    match end {
        Ok(end) => {
            note(format_args!("platform: {}", has_ended(&end, name)));
            Ok(())
        }
        Err(error) => Err(ours(Failure::new(format!(
            "{name} is lost, and whether it goes on is not known: {}",
            error.chain()
        )))),
    }
}

fn not_running(name: &str) -> String {
    format!(
        "{name} is not running: `docker start {name}` first; what it said before: `docker logs {name}`"
    )
}

/// How engines say it.
const NOT_RUNNING: &str = "not running";

fn sentence(reason: EndReason, end: &SessionEnd) -> String {
    let text = match reason {
        EndReason::Oom => "the command was ended because memory ran out",
        EndReason::ContainerGone => "the container was stopped or removed",
        EndReason::AuthExpired => "you may not be in there any longer",
        EndReason::Idle => "the session was ended because nothing happened in it for too long",
        EndReason::MaxDuration => "the session was ended because it went on for as long as one may",
        EndReason::EndedByOperator => "the session was ended by its operator",
        EndReason::ServerShutdown => "the session was ended because the control plane is stopped",
        _ => "the session is lost, and how its command ended is not known",
    };
    match &end.text {
        Some(more) => format!("{text} ({})", printable(more, MOST_SAID)),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use longshore::core::{ExitStatus, Signal};

    use super::*;

    #[track_caller]
    fn check(end: SessionEnd, code: u8, words: &str) {
        let failure = told(Ok(end), "web", true).expect_err("it is no success");
        assert_eq!(failure.code, code);
        let told = &failure.message;
        assert!(
            told.contains(words) && told.is_empty() == words.is_empty(),
            "{told}"
        );
    }

    #[test]
    fn exit_codes_are_passed_on_and_nothing_is_a_false_success() {
        assert!(told(Ok(ExitStatus::exited(0).into()), "web", true).is_ok());
        check(ExitStatus::exited(7).into(), 7, "");
        check(ExitStatus::exited(127).into(), 127, "");
        check(ExitStatus::signaled(Signal::KILL).into(), 137, "");
        let not_found = ExitStatus::exited(127).with_reason("no such file");
        check(
            not_found.into(),
            127,
            "it can't be run in web: no such file",
        );
        let mut stopped = SessionEnd::new(EndReason::StartFailed);
        stopped.text = Some("container dc93b5f3 is not running".to_owned());
        check(
            stopped,
            OURS,
            "web is not running: `docker start web` first",
        );
        check(
            SessionEnd::new(EndReason::ContainerGone),
            OURS,
            "stopped or removed",
        );
        check(
            SessionEnd::new(EndReason::Exited),
            OURS,
            "the command in web",
        );
        check(SessionEnd::new(EndReason::Lost), OURS, "not known");
        let lost = told(Err(Error::unavailable("no route")), "web", true).expect_err("it is lost");
        assert!(
            lost.code == OURS && lost.message.contains("no route"),
            "{lost:?}"
        );
    }

    #[test]
    fn what_is_said_of_an_end_does_not_steer_our_terminal() {
        let said = format!("bye\x1b]0;owned\x07\r{}", "a".repeat(10_000));
        let end = SessionEnd::new(EndReason::EndedByOperator).with_text(said);
        let failed = told(Ok(end.clone()), "web", true).expect_err("it is no success");
        for text in [has_ended(&end, "web"), failed.message] {
            assert!(text.contains("bye") && text.len() < 600, "{text}");
            assert!(!text.contains(char::is_control), "{text:?}");
        }
    }

    #[test]
    fn a_container_without_a_shell_says_what_to_do() {
        let end = SessionEnd::from(ExitStatus::exited(127).with_reason("no such file"));
        let failure = told(Ok(end), "web", false).expect_err("there is no shell");
        assert_eq!(failure.code, 127);
        let told = failure.message;
        assert!(
            told.contains("/bin/sh") && told.contains("-- PROGRAM"),
            "{told}"
        );
    }

    #[test]
    fn refusals_say_what_to_do() {
        let denied = Error::new(ErrorKind::PermissionDenied, "not allowed");
        let missing = Error::not_found("No such container: web");
        let text = "cannot attach to a container that is not running";
        let stopped = Error::new(ErrorKind::Conflict, text);
        for (kind, error, words) in [
            (Kind::Enter, &denied, "may not enter web"),
            (Kind::Attach, &missing, "docker ps -a"),
            (
                Kind::Attach,
                &stopped,
                "`docker start web` first; what it said before: `docker logs web`",
            ),
            (Kind::Watch, &denied, "may not look on at web"),
            (Kind::Watch, &missing, "platform sessions --live"),
        ] {
            let failure = refused(error, kind, "web");
            assert!(
                failure.code == OURS && failure.message.contains(words),
                "{failure:?}"
            );
        }
    }
}
