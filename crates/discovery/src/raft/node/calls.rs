//! This member's own calls, from their beginning to their answer.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use longshore_core::{Error, ErrorKind, LeaseId, Random, Result, Timestamp};

use super::{Machine, Message, Outcome, RequestId, Ticket};
use crate::raft::{
    command::{Action, Command},
    wire::encode_command,
};

#[derive(Debug)]
pub(super) struct Calls {
    member: u8,
    incarnation: u64,
    /// Numbers of calls are their tickets too.
    last: u64,
    requests: BTreeMap<u64, Pending<Bytes>>,
    confirms: BTreeMap<u64, Pending<Question>>,
}

#[derive(Debug)]
struct Pending<T> {
    what: T,
    deadline: Timestamp,
    /// When it was last sent to a leader.
    sent: Option<Timestamp>,
}

#[derive(Debug)]
struct Question {
    lease: Option<LeaseId>,
    /// What has to be applied here, once the leader has said so.
    index: Option<u64>,
    lives: bool,
}

impl Calls {
    /// Numbers begin anywhere: an answer that was meant for us before a restart meets no call.
    pub(super) fn new(me: usize, incarnation: u64, random: &dyn Random) -> Self {
        Self {
            // A list has at most seven.
            member: u8::try_from(me).unwrap_or(u8::MAX),
            incarnation,
            last: random.next_u64() >> 1,
            requests: BTreeMap::new(),
            confirms: BTreeMap::new(),
        }
    }

    pub(super) fn request(&mut self, action: Action, deadline: Timestamp) -> Ticket {
        self.last += 1;
        let oldest = self.requests.keys().next().copied().unwrap_or(self.last);
        let command = Command {
            request: Some(RequestId {
                member: self.member,
                incarnation: self.incarnation,
                number: self.last,
            }),
            settled: oldest,
            action,
        };
        let pending = Pending {
            what: encode_command(&command),
            deadline,
            sent: None,
        };
        self.requests.insert(self.last, pending);
        self.last
    }

    pub(super) fn confirm(&mut self, lease: Option<LeaseId>, deadline: Timestamp) -> Ticket {
        self.last += 1;
        let what = Question {
            lease,
            index: None,
            lives: true,
        };
        let pending = Pending {
            what,
            deadline,
            sent: None,
        };
        self.confirms.insert(self.last, pending);
        self.last
    }

    /// What the leader decides is nobody's request.
    pub(super) fn of_the_leader(&self, action: Action) -> Bytes {
        encode_command(&Command {
            request: None,
            settled: 0,
            action,
        })
    }

    /// What was never sent, or too long ago; or all.
    pub(super) fn take_due(
        &mut self,
        now: Timestamp,
        patience: Duration,
        all: bool,
    ) -> Vec<Message> {
        let is_due =
            |sent: Option<Timestamp>| all || sent.is_none_or(|at| now.since(at) >= patience);
        let mut messages = Vec::new();
        for pending in self.requests.values_mut() {
            if is_due(pending.sent) {
                pending.sent = Some(now);
                messages.push(Message::Propose(pending.what.clone()));
            }
        }
        for (id, pending) in &mut self.confirms {
            if pending.what.index.is_none() && is_due(pending.sent) {
                pending.sent = Some(now);
                let lease = pending.what.lease;
                messages.push(Message::Confirm { id: *id, lease });
            }
        }
        messages
    }

    /// Our own request was carried out, or came too late in the eyes of all: `newer` is what they
    /// know of us.
    pub(super) fn done(
        &mut self,
        request: RequestId,
        outcome: Outcome,
        newer: u64,
        answers: &mut Vec<(Ticket, Result<Outcome>)>,
    ) {
        if request.incarnation == self.incarnation
            && self.requests.remove(&request.number).is_some()
        {
            answers.push((request.number, Ok(outcome)));
        }
        // The disk was lost, and the clock has gone back.
        if newer > self.incarnation {
            self.incarnation = newer.saturating_add(1);
        }
    }

    /// The leader said up to where to read.
    pub(super) fn confirmed(&mut self, id: u64, index: u64, lives: bool) {
        if let Some(pending) = self.confirms.get_mut(&id) {
            pending.what.index = Some(index);
            pending.what.lives = lives;
        }
    }

    /// Answers the questions for which enough is applied.
    pub(super) fn applied(
        &mut self,
        machine: &Machine,
        answers: &mut Vec<(Ticket, Result<Outcome>)>,
    ) {
        let applied = machine.applied.index;
        let is_done = |_: &u64, pending: &mut Pending<Question>| {
            !pending.what.lives || pending.what.index.is_some_and(|index| index <= applied)
        };
        for (id, pending) in self.confirms.extract_if(.., is_done) {
            let answer = match (pending.what.lives, pending.what.lease) {
                (false, Some(lease)) => {
                    Err(Error::not_found("the lease has ended").with_context("lease", lease.0))
                }
                _ => Ok(Outcome::Done {
                    revision: machine.store.revision(),
                    deleted: 0,
                }),
            };
            answers.push((id, answer));
        }
    }

    /// A snapshot took the place of entries that may have been ours.
    pub(super) fn skipped(
        &mut self,
        machine: &Machine,
        answers: &mut Vec<(Ticket, Result<Outcome>)>,
    ) {
        let Some(session) = machine.sessions.get(&self.member) else {
            return;
        };
        if session.incarnation != self.incarnation {
            return;
        }
        for (number, outcome) in &session.outcomes {
            if self.requests.remove(number).is_some() {
                answers.push((*number, Ok(outcome.clone())));
            }
        }
    }

    /// Answers what took too long.
    pub(super) fn give_up(
        &mut self,
        now: Timestamp,
        why: &str,
        answers: &mut Vec<(Ticket, Result<Outcome>)>,
    ) {
        for (id, pending) in self.requests.extract_if(.., |_, call| call.deadline <= now) {
            let error = match pending.sent {
                None => Error::unavailable(why.to_owned()),
                Some(_) => Error::new(
                    ErrorKind::Timeout,
                    format!("{why}; the change may still take effect, at most once"),
                ),
            };
            answers.push((id, Err(error)));
        }
        for (id, _) in self.confirms.extract_if(.., |_, call| call.deadline <= now) {
            answers.push((id, Err(Error::unavailable(why.to_owned()))));
        }
    }

    pub(super) fn may_take_effect(&self, ticket: Ticket) -> bool {
        let pending = self.requests.get(&ticket);
        pending.is_some_and(|pending| pending.sent.is_some())
    }

    pub(super) fn is_overdue(&self, now: Timestamp) -> bool {
        self.requests.values().any(|call| call.deadline <= now)
            || self.confirms.values().any(|call| call.deadline <= now)
    }

    /// When something is to be done: given up, or sent again to a leader, after so long.
    pub(super) fn next_deadline(&self, patience: Option<Duration>) -> Option<Timestamp> {
        let again = |deadline: Timestamp, sent: Option<Timestamp>| match (sent, patience) {
            (Some(at), Some(patience)) => deadline.min(at.after(patience)),
            _ => deadline,
        };
        let requests = self
            .requests
            .values()
            .map(|call| (call.deadline, call.sent));
        let confirms = self.confirms.values().map(|call| {
            // What the leader has answered is not asked again.
            let asked = call.sent.filter(|_| call.what.index.is_none());
            (call.deadline, asked)
        });
        requests
            .chain(confirms)
            .map(|(deadline, sent)| again(deadline, sent))
            .min()
    }
}
