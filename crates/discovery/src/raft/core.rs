//! Raft itself, as a pure state machine: who leads, and which entries are agreed on.
//!
//! After Ongaro and Ousterhout, *In Search of an Understandable Consensus Algorithm*, 2014, with what
//! Ongaro's thesis adds: pre-votes (§9.6), a leader that steps down when it hears no majority (§6.2),
//! reads confirmed by a round of heartbeats (§6.4). The members are fixed.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use longshore_core::{Random, Timestamp};

mod election;
mod following;
mod leading;
mod progress;

use progress::{Leading, Progress};

use super::{
    RaftTimes,
    log::{Entry, Log, Position},
    message::Message,
};

/// What must be on the disk before anything of it is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HardState {
    pub(super) term: u64,
    pub(super) vote: Option<Vote>,
}

/// What became of the one vote of a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    For(usize),
    /// Perhaps given before the disk was lost.
    Spent,
}

/// The state itself, as of a place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) at: Position,
    pub(super) data: Bytes,
}

#[derive(Debug)]
enum Role {
    Follower,
    /// Asks whether it would be elected.
    Scout(Vec<bool>),
    Candidate(Vec<bool>),
    Leader(Leading),
}

/// What has to be written, since the last time that was asked.
#[derive(Debug, Default)]
pub(super) struct Unsaved {
    pub(super) hard: Option<HardState>,
    /// From here on the log on the disk is void.
    pub(super) truncate: Option<u64>,
    pub(super) entries: Vec<Entry>,
}

#[derive(Debug)]
pub(super) struct Core {
    me: usize,
    count: usize,
    times: RaftTimes,
    random: Arc<dyn Random>,
    hard: HardState,
    log: Log,
    /// Agreed on up to here.
    commit: u64,
    /// On the disk up to here.
    stable: u64,
    role: Role,
    leader: Option<usize>,
    /// When the leader was last heard.
    heard: Option<Timestamp>,
    election_due: Timestamp,
    /// Whether our word counts for a majority: not while a lost disk is being filled.
    counts: bool,
    incoming: Option<following::Incoming>,
    received: Option<Snapshot>,
    hard_changed: bool,
    truncated: Option<u64>,
    messages: Vec<(usize, Message)>,
    confirmed: VecDeque<(u64, u64)>,
}

impl Core {
    pub(super) fn new(
        (me, count): (usize, usize),
        times: RaftTimes,
        hard: HardState,
        log: Log,
        random: Arc<dyn Random>,
        now: Timestamp,
    ) -> Self {
        let mut core = Self {
            me,
            count,
            times,
            random,
            hard,
            commit: log.base().index,
            stable: log.last().index,
            log,
            role: Role::Follower,
            leader: None,
            heard: None,
            election_due: now,
            counts: false,
            incoming: None,
            received: None,
            hard_changed: false,
            truncated: None,
            messages: Vec::new(),
            confirmed: VecDeque::new(),
        };
        if count > 1 {
            core.put_off_election(now);
        }
        core
    }

    pub(super) fn term(&self) -> u64 {
        self.hard.term
    }

    pub(super) fn leader(&self) -> Option<usize> {
        self.leader
    }

    pub(super) fn is_leader(&self) -> bool {
        matches!(self.role, Role::Leader(_))
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    pub(super) fn commit(&self) -> u64 {
        self.commit
    }

    /// The first entry of our own term, if we lead: what is applied once it is, is all there was.
    pub(super) fn first_of_term(&self) -> Option<u64> {
        match &self.role {
            Role::Leader(leading) => Some(leading.first),
            _ => None,
        }
    }

    /// Whether a leader was heard of late.
    pub(super) fn is_led(&self, now: Timestamp) -> bool {
        self.is_leader()
            || self.leader.is_some()
                && self
                    .heard
                    .is_some_and(|at| now.since(at) < self.times.election * 2)
    }

    /// From now on our word counts, or not.
    pub(super) fn set_counts(&mut self, counts: bool) {
        self.counts = counts;
    }

    /// Forgets the vote of this term and all before, in favour of nobody: it may have been given.
    pub(super) fn spend_votes(&mut self, up_to: u64) {
        if up_to >= self.hard.term {
            self.hard = HardState {
                term: up_to,
                vote: Some(Vote::Spent),
            };
            self.hard_changed = true;
        }
    }

    /// Stands for election soon, as everybody begins at the same moment.
    pub(super) fn hasten(&mut self, now: Timestamp) {
        self.election_due = now.after(self.times.heartbeat);
    }

    /// Takes a peer's message about the log.
    pub(super) fn handle(&mut self, from: usize, message: Message, now: Timestamp) {
        match message {
            Message::PreVote { term, last } => self.on_pre_vote(from, term, last, now),
            Message::PreVoted { term, granted } => self.on_pre_voted(from, term, granted, now),
            Message::Vote { term, last } => self.on_vote(from, term, last, now),
            Message::Voted { term, granted } => self.on_voted(from, term, granted, now),
            Message::Append {
                term,
                before,
                commit,
                entries,
            } => self.on_append(from, term, before, commit, entries, now),
            Message::Appended {
                term,
                matched,
                counts,
            } => self.on_appended(from, term, matched, counts, now),
            Message::Heartbeat {
                term,
                commit,
                round,
            } => self.on_heartbeat(from, term, commit, round, now),
            Message::HeartbeatAnswer {
                term,
                round,
                last,
                counts,
            } => self.on_heartbeat_answer(from, term, (round, last), counts, now),
            Message::Snapshot {
                term,
                at,
                offset,
                total,
                part,
            } => self.on_snapshot(from, term, at, (offset, total), &part, now),
            Message::SnapshotPart {
                term,
                at,
                received,
                counts,
            } => self.on_snapshot_part(from, term, at, received, counts, now),
            // Not about the log.
            Message::Propose(_)
            | Message::Confirm { .. }
            | Message::Confirmed { .. }
            | Message::Ask(_)
            | Message::Status(_) => {}
        }
    }

    /// Does what is due.
    pub(super) fn tick(&mut self, now: Timestamp) {
        match &self.role {
            Role::Leader(_) => self.lead(now),
            _ if now >= self.election_due => self.campaign(now),
            _ => {}
        }
    }

    pub(super) fn next_deadline(&self) -> Timestamp {
        match &self.role {
            Role::Leader(leading) => leading.next_deadline(),
            _ => self.election_due,
        }
    }

    /// Appends a command, if we lead.
    pub(super) fn propose(&mut self, data: Bytes) -> Option<Position> {
        let Role::Leader(_) = self.role else {
            return None;
        };
        let at = Position {
            term: self.hard.term,
            index: self.log.last().index + 1,
        };
        self.log.push(Entry { at, data });
        Some(at)
    }

    /// Asks for a confirmation that we led after this call, if we lead; see
    /// [`poll_confirmed`](Self::poll_confirmed).
    pub(super) fn confirm(&mut self, id: u64) -> bool {
        let commit = self.commit;
        let Role::Leader(leading) = &mut self.role else {
            return false;
        };
        leading.ask(id, commit);
        true
    }

    /// A confirmation, and what has to be applied before anything is read by it. Those that were
    /// asked for before leadership was lost never come.
    pub(super) fn poll_confirmed(&mut self) -> Option<(u64, u64)> {
        self.confirmed.pop_front()
    }

    /// Sends what can be sent. Call it before what is sent and unsaved is taken.
    pub(super) fn settle(&mut self, now: Timestamp) {
        if self.is_leader() {
            self.start_round(now);
            self.replicate(now);
            let before = self.commit;
            self.count_matches();
            if self.commit > before {
                // The others wait for it, for their own calls; the next heartbeat may be far.
                self.send_heartbeats(now);
            }
            self.count_rounds();
        }
    }

    /// Somebody who is behind the log and needs the state itself.
    pub(super) fn needs_snapshot(&self) -> Option<usize> {
        let Role::Leader(leading) = &self.role else {
            return None;
        };
        let base = self.log.base().index;
        let is_behind = |peer: &Progress| peer.next <= base && peer.transfer.is_none();
        (0..self.count).find(|peer| *peer != self.me && is_behind(&leading.peers[*peer]))
    }

    /// A snapshot that a leader sent whole.
    pub(super) fn take_received(&mut self) -> Option<Snapshot> {
        self.received.take()
    }

    /// The state is now as of this place.
    pub(super) fn installed(&mut self, at: Position) {
        self.log.reset(at);
        self.commit = self.commit.max(at.index);
        if self.log.len() == 0 {
            self.stable = at.index;
            self.truncated = Some(at.index + 1);
        }
        self.stable = self.stable.max(at.index);
    }

    /// The state up to here is in a snapshot of our own.
    pub(super) fn compact(&mut self, up_to: u64) {
        self.log.compact(up_to.min(self.commit));
    }

    pub(super) fn take_messages(&mut self) -> Vec<(usize, Message)> {
        std::mem::take(&mut self.messages)
    }

    pub(super) fn take_unsaved(&mut self) -> Unsaved {
        Unsaved {
            hard: std::mem::take(&mut self.hard_changed).then_some(self.hard),
            truncate: self.truncated.take(),
            entries: match self.log.last().index > self.stable {
                true => self.log.from(self.stable + 1, usize::MAX),
                false => Vec::new(),
            },
        }
    }

    /// Everything up to this place is on the disk.
    pub(super) fn saved(&mut self, up_to: Position) {
        if self.log.term_at(up_to.index) == Some(up_to.term) {
            self.stable = self.stable.max(up_to.index);
        }
    }

    fn send(&mut self, to: usize, message: Message) {
        self.messages.push((to, message));
    }

    fn majority(&self) -> usize {
        self.count / 2 + 1
    }

    fn peers(&self) -> impl Iterator<Item = usize> + use<> {
        let me = self.me;
        (0..self.count).filter(move |peer| *peer != me)
    }

    /// Steps back where a peer is in a later term. Says whether the message is of our term then.
    fn is_current(&mut self, term: u64, now: Timestamp) -> bool {
        if term > self.hard.term {
            self.follow(term, None, now);
        }
        term == self.hard.term
    }

    fn truncate(&mut self, from: u64) {
        self.log.truncate(from);
        self.stable = self.stable.min(from - 1);
        self.truncated = Some(self.truncated.map_or(from, |before| before.min(from)));
    }
}

#[cfg(test)]
mod tests;
