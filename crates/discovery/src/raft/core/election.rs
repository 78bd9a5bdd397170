//! Who leads.

use longshore_core::Timestamp;

use super::{
    super::log::{Entry, Position},
    Core, HardState, Leading, Message, Role, Vote,
};
use bytes::Bytes;

impl Core {
    /// Waits once to twice the election time, so that rarely two begin together.
    pub(super) fn put_off_election(&mut self, now: Timestamp) {
        let wait = self.times.election.mul_f64(1.0 + self.random.unit());
        self.election_due = now.after(wait);
    }

    pub(super) fn follow(&mut self, term: u64, leader: Option<usize>, now: Timestamp) {
        if term > self.hard.term {
            self.hard = HardState { term, vote: None };
            self.hard_changed = true;
            self.incoming = None;
        }
        if !matches!(self.role, Role::Follower) {
            self.role = Role::Follower;
            self.confirmed.clear();
            self.put_off_election(now);
        }
        self.leader = leader;
        if leader.is_some() {
            self.heard = Some(now);
            self.put_off_election(now);
        }
    }

    pub(super) fn campaign(&mut self, now: Timestamp) {
        self.put_off_election(now);
        self.leader = None;
        if !self.counts {
            return;
        }
        let mut votes = vec![false; self.count];
        votes[self.me] = true;
        self.role = Role::Scout(votes);
        let (term, last) = (self.hard.term + 1, self.log.last());
        for peer in self.peers() {
            self.send(peer, Message::PreVote { term, last });
        }
        self.count_scouting(now);
    }

    fn stand(&mut self, now: Timestamp) {
        self.put_off_election(now);
        self.hard = HardState {
            term: self.hard.term + 1,
            vote: Some(Vote::For(self.me)),
        };
        self.hard_changed = true;
        self.incoming = None;
        let mut votes = vec![false; self.count];
        votes[self.me] = true;
        self.role = Role::Candidate(votes);
        let (term, last) = (self.hard.term, self.log.last());
        for peer in self.peers() {
            self.send(peer, Message::Vote { term, last });
        }
        self.count_votes(now);
    }

    pub(super) fn on_pre_vote(&mut self, from: usize, term: u64, last: Position, now: Timestamp) {
        let granted = self.counts
            && term > self.hard.term
            && last >= self.log.last()
            && !self.hears_a_leader(now);
        let term = match granted {
            true => term,
            false => self.hard.term,
        };
        self.send(from, Message::PreVoted { term, granted });
    }

    pub(super) fn on_pre_voted(&mut self, from: usize, term: u64, granted: bool, now: Timestamp) {
        if !granted {
            self.is_current(term, now);
            return;
        }
        if let Role::Scout(votes) = &mut self.role
            && term == self.hard.term + 1
        {
            votes[from] = true;
            self.count_scouting(now);
        }
    }

    pub(super) fn on_vote(&mut self, from: usize, term: u64, last: Position, now: Timestamp) {
        // Somebody whom a majority hears needs no successor.
        if term > self.hard.term && self.hears_a_leader(now) {
            return;
        }
        let granted = self.is_current(term, now)
            && self.counts
            && last >= self.log.last()
            && self.hard.vote.is_none_or(|vote| vote == Vote::For(from));
        if granted && self.hard.vote.is_none() {
            self.hard.vote = Some(Vote::For(from));
            self.hard_changed = true;
            self.put_off_election(now);
        }
        let term = self.hard.term;
        self.send(from, Message::Voted { term, granted });
    }

    pub(super) fn on_voted(&mut self, from: usize, term: u64, granted: bool, now: Timestamp) {
        if self.is_current(term, now)
            && granted
            && let Role::Candidate(votes) = &mut self.role
        {
            votes[from] = true;
            self.count_votes(now);
        }
    }

    fn count_scouting(&mut self, now: Timestamp) {
        if let Role::Scout(votes) = &self.role
            && count(votes) >= self.majority()
        {
            self.stand(now);
        }
    }

    fn count_votes(&mut self, now: Timestamp) {
        if let Role::Candidate(votes) = &self.role
            && count(votes) >= self.majority()
        {
            self.take_office(now);
        }
    }

    fn take_office(&mut self, now: Timestamp) {
        let last = self.log.last().index;
        self.role = Role::Leader(Leading::new(self.count, last + 1, self.times, now));
        self.leader = Some(self.me);
        // Entries of earlier terms are only agreed on with one of our own (§5.4.2).
        let at = Position {
            term: self.hard.term,
            index: last + 1,
        };
        let data = Bytes::new();
        self.log.push(Entry { at, data });
    }

    fn hears_a_leader(&self, now: Timestamp) -> bool {
        self.is_leader()
            || self.leader.is_some()
                && self
                    .heard
                    .is_some_and(|at| now.since(at) < self.times.election)
    }
}

fn count(votes: &[bool]) -> usize {
    votes.iter().filter(|given| **given).count()
}
