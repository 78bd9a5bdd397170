//! How a command ended, from what the engine knows.

use std::time::Duration;

use longshore_core::{
    ClockExt, ErrorKind, ExitStatus, Result, SessionId, Signal, Timestamp, WorkloadId,
};

use super::{
    api::{Api, ExecState},
    context::Context,
};

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
        let api = &self.context.api;
        complete(api, &self.workload, self.started, status).await
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

/// What was known of a container when it was attached to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    pub(super) at: Timestamp,
    /// Memory had run out in this run of it: not what ended it.
    pub(super) out_of_memory: bool,
}

/// How the process of a container ended that was attached to, by the engine's code.
///
/// The engine's flag says that the kernel killed something in it since it was started, not what ended
/// it. It is believed where it was not up before.
///
/// # Cancel safety
/// Safe.
pub(super) async fn of_container(
    api: &Api,
    workload: &WorkloadId,
    before: Before,
    code: i64,
) -> ExitStatus {
    let status = meaning(code, &[&KILLS[..], &FAULTS].concat());
    if status.signal != Some(Signal::KILL) {
        return status;
    }
    // One that is removed with its end can only be asked about by its events.
    match api.inspect_container(workload).await {
        Ok(container) if container.state.oom_killed && !before.out_of_memory => {
            out_of_memory(status)
        }
        _ => complete(api, workload, before.at, status).await,
    }
}

/// Adds whether memory ran out just now, and not before a time of ours.
async fn complete(
    api: &Api,
    workload: &WorkloadId,
    started: Timestamp,
    status: ExitStatus,
) -> ExitStatus {
    if status.signal != Some(Signal::KILL) {
        return status;
    }
    match ran_out_of_memory(api, workload, started).await {
        Ok(true) => out_of_memory(status),
        Ok(false) => status,
        Err(error) => {
            tracing::debug!(error = error.chain(), "whether memory ran out is not known");
            status
        }
    }
}

/// In the engine's own time, which may differ from ours.
async fn ran_out_of_memory(api: &Api, workload: &WorkloadId, started: Timestamp) -> Result<bool> {
    let until = api.engine_time().await?;
    // What ran out of it earlier did not end this.
    let lasted = api.clock.now().since(started).min(LAST_MOMENTS);
    let since = until.before(lasted).before(START_DELAY);
    // The event may come a moment after the end that it explains.
    let until = until.after(Duration::from_secs(1));
    api.ran_out_of_memory(workload, since, until).await
}

fn out_of_memory(status: ExitStatus) -> ExitStatus {
    status
        .with_out_of_memory()
        .with_reason("oom: the kernel ended it, the container's memory was used up")
}

/// What a code above 128 says. An engine says 128 + n of a process that a signal ended, and a shell
/// says it with a code of its own of what it ran last: by the code alone the two can't be told
/// apart. Of these signals the first is believed; of the others the code is told as it is, with what
/// it may mean beside it.
fn meaning(code: i64, believed: &[Signal]) -> ExitStatus {
    let number = code
        .checked_sub(128)
        .and_then(|number| u8::try_from(number).ok());
    match number.map(Signal::new) {
        Some(Ok(signal)) if believed.contains(&signal) => ExitStatus::signaled(signal),
        Some(Ok(signal)) if signal.number() <= LAST_NAMED => ExitStatus::exited(code).with_reason(
            format!("128 + {signal}: that signal ended it, or what it ran last, as shells say"),
        ),
        _ => ExitStatus::exited(code),
    }
}

/// What the engine's codes mean. `complaint` is the engine's own output, if it began with one.
pub(super) fn classify(state: &ExecState, complaint: Option<String>) -> ExitStatus {
    let status = state
        .exit_code
        .map_or_else(ExitStatus::default, |code| meaning(code, &KILLS));
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
        None if state.pid == 0 => status.with_reason(UNEXPLAINED),
        None => status,
    }
}

/// Adds the engine's words to the end of a command that never began.
pub(super) fn explain(status: ExitStatus, words: Option<String>) -> ExitStatus {
    match words.filter(|words| !words.is_empty() && is_unexplained(&status)) {
        Some(words) => status.with_reason(format!("start-failed: {words}")),
        None => status,
    }
}

/// Whether a command never began and the engine has not said why.
pub(super) fn is_unexplained(status: &ExitStatus) -> bool {
    status.reason.as_deref() == Some(UNEXPLAINED)
}

const UNEXPLAINED: &str = "start-failed: the command could not be started";
/// What the engine writes when it was left by its detach keys (measured on 20.10).
const DETACHED: &str = "read escape sequence";
/// Sent from outside, to whoever runs: it ends with them more often than it tells of others.
const KILLS: [Signal; 2] = [Signal::KILL, Signal::TERM];
/// By which the kernel ends a process for what it did (ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS). A
/// container's own process is seldom a shell that tells of others; a session's often is.
const FAULTS: [Signal; 7] = [
    Signal::ILL,
    Signal::TRAP,
    Signal::ABRT,
    Signal::BUS,
    Signal::FPE,
    Signal::SEGV,
    Signal::SYS,
];
/// Those behind it have no names of their own, and codes that high are as likely a program's own.
const LAST_NAMED: u8 = 31;
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// From the start of a command to our knowing of it.
const START_DELAY: Duration = Duration::from_millis(200);
/// From the kernel's decision to our asking, on a loaded machine.
const LAST_MOMENTS: Duration = Duration::from_secs(5);
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
        check(Some(128), 7, None, &ExitStatus::exited(128));
        check(Some(160), 7, None, &ExitStatus::exited(160));
        check(Some(255), 7, None, &ExitStatus::exited(255));
        check(Some(i64::MIN), 7, None, &ExitStatus::exited(i64::MIN));
        // A shell says these of what it ran last, so they are not this command's for sure.
        for (code, signal) in [(130, "SIGINT"), (134, "SIGABRT"), (139, "SIGSEGV")] {
            let ended = "that signal ended it, or what it ran last, as shells say";
            let status = ExitStatus::exited(code);
            let status = status.with_reason(format!("128 + {signal}: {ended}"));
            check(Some(code), 7, None, &status);
        }
        check(None, 7, None, &ExitStatus::default());
    }

    #[test]
    fn a_container_s_own_process_is_believed_to_have_crashed() {
        let believed = [&KILLS[..], &FAULTS].concat();
        for (number, signal) in [(4, Signal::ILL), (6, Signal::ABRT), (11, Signal::SEGV)] {
            assert_eq!(
                meaning(128 + number, &believed),
                ExitStatus::signaled(signal)
            );
        }
        let interrupted = meaning(130, &believed);
        assert_eq!((interrupted.code, interrupted.signal), (Some(130), None));
        assert_eq!(meaning(0, &believed), ExitStatus::exited(0));
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
