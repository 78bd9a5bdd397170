//! What happens to one workload, decided without waiting for anything.

use std::{collections::VecDeque, time::Duration};

use longshore_core::{
    Backoff, Error, ErrorKind, EventAction, ExitStatus, Random, RestartPolicy, Result, Signal,
    Timestamp, WorkloadState,
};

/// The life of a workload as a state machine: told what happened and what is wanted, it says what
/// to do next. Whoever drives it starts processes, sends signals and watches the deadline.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    policy: RestartPolicy,
    state: WorkloadState,
    /// Stopped or killed on purpose since the last start, so that no policy starts it again.
    left_alone: bool,
    stop_asked: bool,
    restarts: u32,
    runs: u64,
    started: Option<Timestamp>,
    finished: Option<Timestamp>,
    exit: Option<ExitStatus>,
    error: String,
    kill_at: Option<Timestamp>,
    restart_at: Option<Timestamp>,
    backoff: Backoff,
    steps: VecDeque<Step>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Step {
    /// Start the process, and say whether it worked.
    Spawn,
    /// Ask all its processes to end.
    Terminate,
    /// Send a signal to its first process.
    Signal(Signal),
    /// Kill all its processes.
    Kill,
    /// Tell of an event.
    Tell(EventAction, Vec<(&'static str, String)>),
}

/// What others may want to wait for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Phase {
    /// Whether it runs, or is about to run again.
    pub(crate) active: bool,
    /// Whether it was removed.
    pub(crate) gone: bool,
    /// How many runs were begun.
    pub(crate) runs: u64,
    /// How the last run ended.
    pub(crate) exit: Option<ExitStatus>,
}

impl Lifecycle {
    pub(crate) fn new(policy: RestartPolicy) -> Self {
        Self {
            policy,
            state: WorkloadState::Created,
            left_alone: false,
            stop_asked: false,
            restarts: 0,
            runs: 0,
            started: None,
            finished: None,
            exit: None,
            error: String::new(),
            kill_at: None,
            restart_at: None,
            backoff: Backoff::new(FIRST_DELAY, LONGEST_DELAY),
            steps: VecDeque::new(),
        }
    }

    pub(crate) fn state(&self) -> WorkloadState {
        self.state
    }

    pub(crate) fn is_active(&self) -> bool {
        matches!(
            self.state,
            WorkloadState::Running | WorkloadState::Restarting
        )
    }

    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    pub(crate) fn started(&self) -> Option<Timestamp> {
        self.started
    }

    pub(crate) fn finished(&self) -> Option<Timestamp> {
        self.finished
    }

    pub(crate) fn exit(&self) -> Option<&ExitStatus> {
        self.exit.as_ref()
    }

    pub(crate) fn error(&self) -> &str {
        &self.error
    }

    pub(crate) fn phase(&self) -> Phase {
        Phase {
            active: self.is_active(),
            gone: false,
            runs: self.runs,
            exit: self.exit.clone(),
        }
    }

    /// Somebody wants it to run.
    pub(crate) fn start(&mut self) {
        if self.state == WorkloadState::Running {
            return;
        }
        self.left_alone = false;
        self.stop_asked = false;
        self.restarts = 0;
        self.restart_at = None;
        self.backoff.reset();
        self.steps.push_back(Step::Spawn);
    }

    /// The process runs.
    pub(crate) fn spawned(&mut self, now: Timestamp) {
        self.state = WorkloadState::Running;
        self.runs += 1;
        self.started = Some(now);
        self.error.clear();
        self.tell(EventAction::Start, Vec::new());
    }

    /// The process could not be started. Asked for by somebody, that is the answer; tried by the
    /// policy, it counts as an end.
    pub(crate) fn spawn_failed(
        &mut self,
        reason: String,
        code: i64,
        now: Timestamp,
        random: &dyn Random,
    ) {
        self.error = reason;
        if self.state == WorkloadState::Restarting {
            self.ended(ExitStatus::exited(code), now, random);
        } else {
            self.exit = Some(ExitStatus::exited(code).with_reason(self.error.clone()));
        }
    }

    /// Somebody wants it to end, politely for a while.
    pub(crate) fn stop(&mut self, grace: Duration, now: Timestamp) {
        match self.state {
            WorkloadState::Running => {
                self.left_alone = true;
                self.stop_asked = true;
                let kill_at = now.after(grace);
                if self.kill_at.is_none_or(|earlier| kill_at < earlier) {
                    self.kill_at = Some(kill_at);
                }
                self.steps.push_back(Step::Terminate);
                self.tell_signal(Signal::TERM);
            }
            WorkloadState::Restarting => {
                self.left_alone = true;
                self.restart_at = None;
                self.state = WorkloadState::Exited;
                self.tell(EventAction::Stop, Vec::new());
            }
            _ => {}
        }
    }

    /// Somebody sends a signal.
    pub(crate) fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.state != WorkloadState::Running {
            return Err(not_running("signal"));
        }
        // As with Docker: who kills it does not want it back.
        if matches!(signal, Signal::KILL | Signal::TERM) {
            self.left_alone = true;
        }
        let step = match signal {
            Signal::KILL => Step::Kill,
            other => Step::Signal(other),
        };
        self.steps.push_back(step);
        self.tell_signal(signal);
        Ok(())
    }

    /// The process has ended, and all its output is kept.
    pub(crate) fn ended(&mut self, exit: ExitStatus, now: Timestamp, random: &dyn Random) {
        let code = exit.code.map_or_else(String::new, |code| code.to_string());
        self.tell(EventAction::Die, vec![("exitCode", code)]);
        if self.stop_asked {
            self.tell(EventAction::Stop, Vec::new());
        }
        let ran = self.started.map_or(Duration::ZERO, |at| now.since(at));
        if ran >= STEADY {
            self.backoff.reset();
        }
        let again = !self.left_alone && self.policy_restarts(&exit);
        self.kill_at = None;
        self.stop_asked = false;
        self.finished = Some(now);
        self.exit = Some(exit);
        if again {
            self.state = WorkloadState::Restarting;
            self.restart_at = Some(now.after(self.backoff.next_delay(random)));
        } else {
            self.state = WorkloadState::Exited;
        }
    }

    /// It was made, renamed or removed.
    pub(crate) fn tell(&mut self, action: EventAction, attributes: Vec<(&'static str, String)>) {
        self.steps.push_back(Step::Tell(action, attributes));
    }

    /// When to call [`tick`](Self::tick).
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        match (self.kill_at, self.restart_at) {
            (Some(kill), Some(restart)) => Some(kill.min(restart)),
            (kill, restart) => kill.or(restart),
        }
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.steps.push_back(Step::Kill);
            self.tell_signal(Signal::KILL);
        }
        if self.restart_at.is_some_and(|at| at <= now) {
            self.restart_at = None;
            self.restarts = self.restarts.saturating_add(1);
            self.steps.push_back(Step::Spawn);
        }
    }

    /// What to do next; call until it is `None`.
    pub(crate) fn next_step(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    fn policy_restarts(&self, exit: &ExitStatus) -> bool {
        match self.policy {
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure(limit) => {
                !exit.is_success() && (limit == 0 || self.restarts < limit)
            }
            _ => false,
        }
    }

    fn tell_signal(&mut self, signal: Signal) {
        let number = signal.number().to_string();
        self.tell(EventAction::Kill, vec![("signal", number)]);
    }
}

/// A refusal that trying again does not change.
pub(crate) fn not_running(what: &'static str) -> Error {
    Error::new(
        ErrorKind::Conflict,
        format!("cannot {what} a container that is not running"),
    )
    .with_retryable(false)
}

/// Docker's figures: 100 ms doubling up to a minute, starting over after ten steady seconds.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
const STEADY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
