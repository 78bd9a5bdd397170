//! How a command ended, from what the engine knows.

use std::time::Duration;

use longshore_core::{
    ClockExt, ErrorKind, ExitStatus, Result, SessionId, Signal, Timestamp, WorkloadId,
};

use super::{api::ExecState, context::Context};

/// The engine's knowledge of one command.
#[derive(Clone, Debug)]
pub(super) struct ExitFacts {
    context: Context,
    workload: WorkloadId,
    id: SessionId,
    started: Timestamp,
}

impl ExitFacts {
    /// Of a command that starts now.
    pub(super) fn new(context: &Context, workload: WorkloadId, id: SessionId) -> Self {
        Self {
            context: context.clone(),
            workload,
            id,
            started: context.api.clock.now(),
        }
    }

    /// Asks once. `None` while it runs.
    pub(super) async fn ask(&self, complaint: Option<String>) -> Result<Option<ExitStatus>> {
        match self.context.api.inspect_exec(self.id.as_str()).await {
            Ok(state) if !state.running && state.exit_code.is_some() => {
                let status = classify(&state, complaint);
                Ok(Some(self.complete(status).await))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Some(self.gone().await)),
            Err(error) => Err(error),
        }
    }

    /// Asks until the end is known, after the stream has ended. An engine that restarts is waited
    /// for.
    pub(super) async fn find(&self) -> Result<ExitStatus> {
        let clock = &self.context.api.clock;
        let deadline = clock.now().after(PATIENCE);
        let mut pause = SHORTEST_PAUSE;
        loop {
            let failure = match self.ask(None).await {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => None,
                Err(error) => Some(error),
            };
            if clock.now() >= deadline {
                return match failure {
                    Some(error) => Err(error),
                    None => Ok(ExitStatus::unknown(
                        "lost: the connection ended and the command still runs",
                    )),
                };
            }
            clock.sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Adds what the engine alone knows.
    pub(super) async fn complete(&self, status: ExitStatus) -> ExitStatus {
        if status.signal != Some(Signal::KILL) {
            return status;
        }
        match self.ran_out_of_memory().await {
            Ok(true) => status
                .with_out_of_memory()
                .with_reason("oom: the kernel ended it, the container's memory was used up"),
            Ok(false) => status,
            Err(error) => {
                tracing::debug!(error = error.chain(), "whether memory ran out is not known");
                status
            }
        }
    }

    /// In the engine's own time, which may differ from ours.
    async fn ran_out_of_memory(&self) -> Result<bool> {
        let api = &self.context.api;
        let until = api.engine_time().await?;
        let lasted = api.clock.now().since(self.started);
        let since = until.before(lasted).before(START_DELAY);
        // The event may come a moment after the end that it explains.
        let until = until.after(Duration::from_secs(1));
        api.ran_out_of_memory(&self.workload, since, until).await
    }

    /// The engine does not know the command. Never a success, whatever became of it.
    async fn gone(&self) -> ExitStatus {
        match self.context.api.inspect_container(&self.workload).await {
            Ok(container) if container.state.running => ExitStatus::unknown(
                "lost: the engine does not know the command any more, it may have been restarted",
            ),
            Ok(_) => ExitStatus::unknown("container-gone: the container was stopped"),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                ExitStatus::unknown("container-gone: the container was removed")
            }
            Err(error) => ExitStatus::unknown(format!("lost: {}", error.message())),
        }
    }
}

/// What the engine's codes mean. `complaint` is the engine's own output, if it began with one.
pub(super) fn classify(state: &ExecState, complaint: Option<String>) -> ExitStatus {
    let status = state.exit_code.map_or_else(ExitStatus::default, |code| {
        let signal = u8::try_from(code - 128).ok().map(Signal::new);
        match signal {
            // A shell says 130 for a child that was interrupted; these two nobody says for others.
            Some(Ok(signal)) if code == 137 || code == 143 => ExitStatus::signaled(signal),
            _ => ExitStatus::exited(code),
        }
    });
    if complaint
        .as_deref()
        .is_some_and(|text| text.contains(DETACHED))
    {
        // The engine's code, 126, says nothing of the command, which may well run on.
        return ExitStatus::unknown("lost: the detach keys were typed, and the engine let go");
    }
    if !matches!(state.exit_code, Some(126 | 127)) {
        return status;
    }
    // A shell gives these codes too; only the engine's own words, or a command that never had a
    // process, tell the difference.
    match complaint {
        Some(complaint) => status.with_reason(format!("start-failed: {complaint}")),
        None if state.pid == 0 => {
            status.with_reason("start-failed: the command could not be started")
        }
        None => status,
    }
}

/// What the engine writes when it was left by its detach keys (measured on 20.10).
const DETACHED: &str = "read escape sequence";
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// From the start of a command to our knowing of it.
const START_DELAY: Duration = Duration::from_millis(200);
/// An engine that restarts is back within this.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(code: Option<i64>, pid: i64, complaint: Option<&str>, expected: &ExitStatus) {
        let state = ExecState {
            running: false,
            exit_code: code,
            pid,
        };
        assert_eq!(classify(&state, complaint.map(str::to_owned)), *expected);
    }

    #[test]
    fn codes_mean_what_they_say() {
        check(Some(0), 7, None, &ExitStatus::exited(0));
        check(Some(1), 7, None, &ExitStatus::exited(1));
        check(Some(137), 7, None, &ExitStatus::signaled(Signal::KILL));
        check(Some(143), 7, None, &ExitStatus::signaled(Signal::TERM));
        check(Some(130), 7, None, &ExitStatus::exited(130));
        check(None, 7, None, &ExitStatus::default());
    }

    #[test]
    fn a_failed_start_is_told_from_a_shells_126_and_127() {
        check(Some(126), 7, None, &ExitStatus::exited(126));
        let silent = ExitStatus::exited(127);
        let silent = silent.with_reason("start-failed: the command could not be started");
        check(Some(127), 0, None, &silent);
        let said = ExitStatus::exited(126).with_reason("start-failed: OCI runtime exec failed: x");
        check(Some(126), 0, Some("OCI runtime exec failed: x"), &said);
    }

    #[test]
    fn detach_keys_are_no_end_of_the_command() {
        let text = "exec attach failed: error on attach stdin: read escape sequence";
        let lost = "lost: the detach keys were typed, and the engine let go";
        check(Some(126), 7, Some(text), &ExitStatus::unknown(lost));
        check(Some(0), 7, Some(text), &ExitStatus::unknown(lost));
    }
}
