use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{
    AttachRequest, Cleanup, Clock, ClockExt, Error, ExecBackend, ExecOutput, ExecOutputStream,
    ExecRequest, ExecSession, Result, TerminalSize,
};

use super::{EndReason, SessionEnd};

/// What a session runs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Launch {
    /// A command.
    Exec(ExecRequest),
    /// The first of these commands that the container has; the request's own command is not used.
    FirstOf(ExecRequest, Vec<Vec<String>>),
    /// The container's own process.
    Attach(AttachRequest),
}

impl Launch {
    /// A login to a container: the first shell of [`SHELLS`] that it has, else [`HELPER_SHELL`].
    pub fn shell(request: ExecRequest) -> Self {
        let shells = SHELLS.into_iter().chain([HELPER_SHELL]);
        Self::FirstOf(
            request,
            shells.map(|shell| vec![shell.to_owned()]).collect(),
        )
    }

    /// What happens to its processes through this backend, as far as that is known; `None` for an
    /// attachment.
    pub(crate) fn cleanup(&self, backend: &dyn ExecBackend) -> Option<Cleanup> {
        match self {
            Self::Exec(request) | Self::FirstOf(request, _) => {
                request.cleanup.or_else(|| backend.default_cleanup())
            }
            Self::Attach(_) => None,
        }
    }

    /// The size of its terminal, if it has one that is known.
    pub(super) fn terminal(&self) -> Option<TerminalSize> {
        match self {
            Self::Exec(request) | Self::FirstOf(request, _) => {
                request.tty.then(|| request.size.unwrap_or_default())
            }
            Self::Attach(_) => None,
        }
    }
}

/// The shells that are tried, in this order.
pub const SHELLS: [&str; 4] = ["/bin/bash", "bash", "/bin/sh", "sh"];

/// What a login falls back to where there is no shell: a helper that a backend brings along, as
/// `DockerExec` does with a stub. It runs programs with arguments and knows `cd`, `ls`, `cat` and a
/// few more; it is no shell. A backend that has none refuses this command.
pub const HELPER_SHELL: &str = "longshore-shell";

/// A process that runs.
pub(super) struct Started {
    pub(super) session: Arc<dyn ExecSession>,
    pub(super) output: Option<ExecOutputStream>,
    /// Output that was read to see whether it runs.
    pub(super) first: Option<ExecOutput>,
}

/// Starts it. Dropping the future ends what it started.
pub(super) async fn start(
    backend: &dyn ExecBackend,
    launch: &Launch,
    clock: &dyn Clock,
) -> Result<Started> {
    let (request, commands) = match launch {
        Launch::Attach(request) => return Ok(Started::new(backend.attach(request).await?)),
        Launch::Exec(request) => return Ok(Started::new(backend.exec(request).await?)),
        Launch::FirstOf(request, commands) => (request, commands),
    };
    let mut refused = None;
    let mut tried = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        let mut request = request.clone();
        request.command = command.clone();
        let is_helper = *command == [HELPER_SHELL];
        let error = match backend.exec(&request).await {
            // Nothing is left to be tried: whatever becomes of it is the session's own end.
            Ok(session) if index + 1 == commands.len() && !is_helper => {
                return Ok(Started::new(session));
            }
            Ok(session) => match runs(session, clock).await {
                Ok(started) => return Ok(started),
                Err(end) => not_started(&end),
            },
            Err(error) if error.context("exit_code").is_some() => error,
            Err(error) => return Err(error),
        };
        // That there is no helper explains nothing.
        if !is_helper || refused.is_none() {
            refused = Some(error);
            tried.push(command.join(" "));
        }
    }
    let refused = refused.unwrap_or_else(|| Error::invalid("no command to run was given"));
    Err(refused.with_context("tried", tried.join(", ")))
}

impl Started {
    fn new(session: Arc<dyn ExecSession>) -> Self {
        Self {
            output: session.take_output(),
            session,
            first: None,
        }
    }
}

/// Waits for a sign of life. An engine may say only in the output, or by the exit code, that there
/// is no such program.
async fn runs(session: Arc<dyn ExecSession>, clock: &dyn Clock) -> Result<Started, SessionEnd> {
    let mut started = Started::new(session);
    let Some(output) = &mut started.output else {
        return Ok(started);
    };
    tokio::select! {
        first = output.next() => {
            started.first = first.and_then(Result::ok);
        }
        _ = started.session.wait() => {}
        () = clock.sleep(SIGN_OF_LIFE) => return Ok(started),
    }
    let begins = |start: &[u8]| {
        let first = started.first.as_ref();
        first.is_none_or(|first| first.bytes.starts_with(start))
    };
    if !begins(b"OCI runtime") && !begins(b"exec") {
        return Ok(started);
    }
    let ended = clock.timeout(EXIT_LIMIT, "the exit code", started.session.wait());
    match ended.await {
        Ok(Ok(status)) if SessionEnd::from(status.clone()).reason == EndReason::StartFailed => {
            Err(status.into())
        }
        _ => Ok(started),
    }
}

fn not_started(end: &SessionEnd) -> Error {
    let text = end.text.clone().unwrap_or_else(|| end.to_string());
    Error::invalid(text).with_context("exit_code", end.code.unwrap_or(127))
}

const SIGN_OF_LIFE: Duration = Duration::from_millis(500);
const EXIT_LIMIT: Duration = Duration::from_secs(5);
