use std::time::Duration;

use longshore_core::{Backoff, Random, Timestamp};

/// The course of one piece of queued work through tries that fail. Pure: told what came of a step, it
/// says which is the next and when.
///
/// What it holds to: a reason that can't pass ends it; reasons that may pass end it after so many
/// failures; where an engine's answer was lost, nothing is made anew before that engine has said that
/// it has nothing and can't make it any more, so the work is never made twice; what was made is never
/// made again, only started. After a start that failed none follows before the engine was asked and
/// said that it never ran: not at once either where the answer was lost. So it never runs twice, and
/// what its user started and stopped meanwhile stays as he left it.
#[derive(Debug)]
pub(super) struct Course {
    backoff: Backoff,
    policy: Policy,
    /// When it gives up waiting for room.
    deadline: Option<Timestamp>,
    failures: u32,
    /// When an engine's answer was lost, so that what was asked of it may be done yet.
    lost_at: Option<Timestamp>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// Failures until it has failed.
    pub(super) most: u32,
    /// Before the second try; doubles.
    pub(super) pause: Duration,
    /// Longest pause.
    pub(super) longest: Duration,
    /// An engine makes or starts a container within this time, or never.
    pub(super) certain: Duration,
    /// Whether what is made is to be started.
    pub(super) start: bool,
}

/// What came of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It was not made.
    NotMade { passes: bool },
    /// An engine was asked to make it, and its answer was lost.
    Lost,
    /// It was made, or found to be.
    Made,
    /// The engine has nothing of it.
    Nothing,
    /// The engine did not say.
    Silent,
    /// The node left, with what it may have.
    Left,
    /// It was started.
    Started,
    /// The engine refused to start it.
    NotStarted { passes: bool },
    /// The engine was asked to start it, and its answer was lost.
    StartLost,
    /// It never ran.
    NeverRan,
    /// The engine did not say whether it ran.
    Unsaid { passes: bool },
}

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Find room, and have it made there.
    Make,
    /// Ask the engine whose answer was lost.
    Look,
    /// Start what was made.
    Start,
    /// Ask the engine whether it ran, after a start that failed.
    Check,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    At(Timestamp, Step),
    /// It is made, and started if it was to be.
    Done,
    /// It has failed, for the reason that was heard last.
    Fail,
}

impl Course {
    pub(super) fn new(policy: Policy, deadline: Option<Timestamp>) -> Self {
        let pause = policy.pause.min(policy.longest).max(SHORTEST);
        Self {
            backoff: Backoff::new(pause, policy.longest),
            policy,
            deadline,
            failures: 0,
            lost_at: None,
        }
    }

    /// How often it has failed.
    pub(super) fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn handle(&mut self, outcome: Outcome, now: Timestamp, random: &dyn Random) -> Next {
        match outcome {
            Outcome::NotMade { passes } => self.failed(passes, Step::Make, now, random),
            Outcome::Lost => {
                self.lost_at = Some(now);
                self.failed(true, Step::Look, now, random)
            }
            Outcome::Made if self.policy.start => Next::At(now, Step::Start),
            Outcome::Made | Outcome::Started => Next::Done,
            Outcome::Nothing => match self.not_certain(now, random) {
                Some(next) => Next::At(next, Step::Look),
                None => self.make_again(now),
            },
            Outcome::Silent => self.failed(true, Step::Look, now, random),
            Outcome::Left => self.make_again(now),
            Outcome::NotStarted { passes } => {
                self.lost_at = None;
                self.failed(passes, Step::Check, now, random)
            }
            Outcome::StartLost => {
                self.lost_at = Some(now);
                self.failed(true, Step::Check, now, random)
            }
            Outcome::NeverRan => match self.not_certain(now, random) {
                Some(next) => Next::At(next, Step::Check),
                None => Next::At(now, Step::Start),
            },
            Outcome::Unsaid { passes } => self.failed(passes, Step::Check, now, random),
        }
    }

    /// When to ask again, while an engine that hung may do yet what was asked of it.
    fn not_certain(&mut self, now: Timestamp, random: &dyn Random) -> Option<Timestamp> {
        let certain = self.lost_at?.after(self.policy.certain);
        if certain <= now {
            return None;
        }
        let next = now.after(self.backoff.next_delay(random));
        Some(next.min(certain))
    }

    fn failed(&mut self, passes: bool, step: Step, now: Timestamp, random: &dyn Random) -> Next {
        self.failures += 1;
        if !passes || self.failures >= self.policy.most {
            return Next::Fail;
        }
        let next = now.after(self.backoff.next_delay(random));
        match step {
            Step::Make => self.make_again(next),
            step => Next::At(next, step),
        }
    }

    fn make_again(&self, at: Timestamp) -> Next {
        match self.deadline {
            Some(deadline) if deadline <= at => Next::Fail,
            _ => Next::At(at, Step::Make),
        }
    }
}

/// An engine is not asked again and again without a pause, whatever the options say.
const SHORTEST: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
