//! The replicated state: the store, and which requests were carried out. Pure, and the same on every
//! member: nothing here depends on who and when.

use std::{collections::BTreeMap, time::Duration};

use longshore_core::{ErrorKind, LeaseId, Result, Timestamp};

use super::{
    command::{Action, Command, Outcome, Refusal, RequestId},
    log::Position,
};
use crate::{KvLimits, memory_kv::State};

#[derive(Debug)]
pub(super) struct Machine {
    pub(super) store: State,
    pub(super) sessions: BTreeMap<u8, Session>,
    pub(super) applied: Position,
}

/// What is remembered of a member's requests.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Session {
    pub(super) incarnation: u64,
    /// Every request before this one is over.
    pub(super) settled: u64,
    pub(super) outcomes: BTreeMap<u64, Outcome>,
}

impl Machine {
    pub(super) fn new() -> Self {
        Self {
            store: State::new(limits()),
            sessions: BTreeMap::new(),
            applied: Position::default(),
        }
    }

    /// Carries a command out, once. Gives what came of it where somebody waits for that.
    pub(super) fn apply(&mut self, command: Command) -> Option<(RequestId, Outcome)> {
        let Some(request) = command.request else {
            self.perform(command.action);
            return None;
        };
        let session = self.sessions.entry(request.member).or_default();
        if request.incarnation < session.incarnation {
            // From before the member's restart, and late: nobody waits for it. Or the member has lost
            // its disk and its clock has gone back; then it counts on from what it is told.
            let refusal = Refusal {
                kind: ErrorKind::Unavailable,
                message: "the manager has restarted since".to_owned(),
            };
            return Some((request, Outcome::Refused(refusal)));
        }
        if request.incarnation > session.incarnation {
            *session = Session {
                incarnation: request.incarnation,
                ..Session::default()
            };
        }
        if command.settled > session.settled {
            session.settled = command.settled;
            session.outcomes = session.outcomes.split_off(&command.settled);
        }
        if request.number < session.settled {
            return None;
        }
        if let Some(known) = session.outcomes.get(&request.number) {
            return Some((request, known.clone()));
        }
        let outcome = self.perform(command.action);
        let session = self.sessions.entry(request.member).or_default();
        session.outcomes.insert(request.number, outcome.clone());
        while session.outcomes.len() > MOST_OUTCOMES
            && let Some((number, _)) = session.outcomes.pop_first()
        {
            session.settled = session.settled.max(number + 1);
        }
        Some((request, outcome))
    }

    /// How often a member has started, as far as its requests tell; one more after requests that
    /// claimed less.
    pub(super) fn newest_incarnation(&self, member: u8) -> u64 {
        let session = self.sessions.get(&member);
        session.map_or(0, |session| session.incarnation)
    }

    /// The leases there are, with their time to live.
    pub(super) fn leases(&self) -> impl Iterator<Item = (LeaseId, Duration)> {
        self.store.leases()
    }

    fn perform(&mut self, action: Action) -> Outcome {
        match self.try_perform(action) {
            Ok(outcome) => outcome,
            Err(error) => Outcome::Refused(Refusal::of(&error)),
        }
    }

    fn try_perform(&mut self, action: Action) -> Result<Outcome> {
        let mut deleted = 0;
        match action {
            Action::Apply(steps) => deleted = self.store.apply(steps)?.deleted as u64,
            // When it ends is the leader's to say, not the state's.
            Action::Grant(ttl) => {
                let lease = self.store.grant(ttl, Timestamp::ZERO)?;
                return Ok(Outcome::Granted {
                    lease: lease.id,
                    ttl: lease.ttl,
                });
            }
            Action::Revoke(lease) => self.store.revoke(lease),
            Action::Expire(leases) => leases
                .into_iter()
                .for_each(|lease| self.store.revoke(lease)),
        }
        Ok(Outcome::Done {
            revision: self.store.revision(),
            deleted,
        })
    }
}

/// What every member holds at most. Not a setting: members that differ would disagree on whether a
/// write fits.
pub(super) fn limits() -> KvLimits {
    KvLimits::default().with_bytes(128 << 20)
}

/// Of one member; more than it may have under way.
pub(super) const MOST_OUTCOMES: usize = 4096;
