//! What a leader does.

use longshore_core::Timestamp;

use super::{
    Core, Message, Position, Role, Snapshot,
    progress::{Leading, Transfer},
};

impl Core {
    /// Says that it is there, and steps down when a majority has not been heard.
    pub(super) fn lead(&mut self, now: Timestamp) {
        let (majority, me) = (self.majority(), self.me);
        let Role::Leader(leading) = &mut self.role else {
            return;
        };
        // Twice the time, as the others wait no longer than that for us.
        let patience = leading.times().election * 2;
        let others = leading.peers.iter().enumerate();
        let heard = others
            .filter(|(peer, progress)| {
                *peer == me || progress.counts && now.since(progress.heard) < patience
            })
            .count();
        if heard < majority && now.since(leading.since) >= patience {
            let term = self.hard.term;
            self.follow(term, None, now);
            return;
        }
        if now >= leading.heartbeat_due {
            self.send_heartbeats(now);
        }
    }

    /// A round for the questions that wait for one.
    pub(super) fn start_round(&mut self, now: Timestamp) {
        if let Role::Leader(leading) = &mut self.role
            && leading
                .asked
                .back()
                .is_some_and(|(round, ..)| *round > leading.round)
        {
            leading.round += 1;
            self.send_heartbeats(now);
        }
    }

    pub(super) fn send_heartbeats(&mut self, now: Timestamp) {
        let (term, commit) = (self.hard.term, self.commit);
        for peer in self.peers() {
            let Role::Leader(leading) = &mut self.role else {
                return;
            };
            leading.heartbeat_due = now.after(self.times.heartbeat);
            let (round, matched) = (leading.round, leading.peers[peer].matched);
            let commit = commit.min(matched);
            self.send(
                peer,
                Message::Heartbeat {
                    term,
                    commit,
                    round,
                },
            );
        }
        if self.count == 1
            && let Role::Leader(leading) = &mut self.role
        {
            leading.heartbeat_due = now.after(self.times.heartbeat);
        }
    }

    /// Sends entries to those who lack some: one message on its way to each.
    pub(super) fn replicate(&mut self, now: Timestamp) {
        let (term, commit, last) = (self.hard.term, self.commit, self.log.last().index);
        for peer in self.peers() {
            let patience = self.times.election / 2;
            let Role::Leader(leading) = &mut self.role else {
                return;
            };
            let progress = &mut leading.peers[peer];
            let waits = progress.sent.is_some_and(|at| now.since(at) < patience);
            if waits {
                continue;
            }
            let message = if let Some(transfer) = &progress.transfer {
                transfer.message(term)
            } else if progress.next <= last
                && let Some(before) = self.log.term_at(progress.next - 1)
            {
                Message::Append {
                    term,
                    before: Position {
                        term: before,
                        index: progress.next - 1,
                    },
                    commit,
                    entries: self.log.from(progress.next, MOST_BYTES),
                }
            } else {
                continue;
            };
            progress.sent = Some(now);
            self.send(peer, message);
        }
    }

    /// Begins to send the state to who is behind the log.
    pub(crate) fn start_transfer(&mut self, peer: usize, snapshot: Snapshot) {
        if let Role::Leader(leading) = &mut self.role {
            let progress = &mut leading.peers[peer];
            progress.transfer = Some(Transfer {
                snapshot,
                offset: 0,
            });
            progress.sent = None;
        }
    }

    pub(super) fn on_appended(
        &mut self,
        from: usize,
        term: u64,
        matched: Result<u64, u64>,
        counts: bool,
        now: Timestamp,
    ) {
        let last = self.log.last().index;
        let Some(leading) = self.answer_to_us(term, now) else {
            return;
        };
        let progress = &mut leading.peers[from];
        progress.heard = now;
        progress.counts = counts;
        progress.sent = None;
        match matched {
            Ok(matched) => {
                progress.matched = progress.matched.max(matched.min(last));
                progress.next = progress.matched + 1;
            }
            // Perhaps an old answer, or from somebody who lost a disk: to know less is safe.
            Err(hint) => {
                progress.next = (hint + 1).min(progress.next).max(1);
                progress.matched = progress.matched.min(progress.next - 1);
            }
        }
    }

    pub(super) fn on_heartbeat_answer(
        &mut self,
        from: usize,
        term: u64,
        (round, last): (u64, u64),
        counts: bool,
        now: Timestamp,
    ) {
        let Some(leading) = self.answer_to_us(term, now) else {
            return;
        };
        let progress = &mut leading.peers[from];
        progress.heard = now;
        progress.counts = counts;
        progress.round = progress.round.max(round.min(leading.round));
        // It lost its disk; nothing else would tell while nothing is written.
        if last < progress.matched {
            progress.matched = last;
            progress.next = last + 1;
        }
    }

    pub(super) fn on_snapshot_part(
        &mut self,
        from: usize,
        term: u64,
        at: Position,
        received: u64,
        counts: bool,
        now: Timestamp,
    ) {
        let Some(leading) = self.answer_to_us(term, now) else {
            return;
        };
        let progress = &mut leading.peers[from];
        progress.heard = now;
        progress.counts = counts;
        let Some(transfer) = &mut progress.transfer else {
            return;
        };
        if transfer.snapshot.at != at {
            return;
        }
        progress.sent = None;
        transfer.offset = received.min(transfer.snapshot.data.len() as u64);
        if received >= transfer.snapshot.data.len() as u64 {
            progress.transfer = None;
            progress.next = at.index + 1;
        }
    }

    /// What a majority has is agreed on (§5.3, §5.4.2).
    pub(super) fn count_matches(&mut self) {
        let (majority, me, stable) = (self.majority(), self.me, self.stable);
        let own = self.counts.then_some(stable);
        let Role::Leader(leading) = &self.role else {
            return;
        };
        let peers = leading.peers.iter().enumerate();
        let agreed = reached(
            peers.map(|(peer, progress)| match peer == me {
                true => own.unwrap_or(0),
                false => progress.counted(progress.matched),
            }),
            majority,
        );
        if agreed > self.commit && self.log.term_at(agreed) == Some(self.hard.term) {
            self.commit = agreed;
        }
    }

    /// A majority that answered a round knew no later leader then.
    pub(super) fn count_rounds(&mut self) {
        let (majority, me) = (self.majority(), self.me);
        let Role::Leader(leading) = &mut self.role else {
            return;
        };
        let peers = leading.peers.iter().enumerate();
        let answered = reached(
            peers.map(|(peer, progress)| match peer == me {
                true => leading.round,
                false => progress.counted(progress.round),
            }),
            majority,
        );
        while let Some((round, id, index)) = leading.asked.front().copied()
            && round <= answered
        {
            leading.asked.pop_front();
            self.confirmed.push_back((id, index));
        }
    }

    fn answer_to_us(&mut self, term: u64, now: Timestamp) -> Option<&mut Leading> {
        if !self.is_current(term, now) {
            return None;
        }
        match &mut self.role {
            Role::Leader(leading) => Some(leading),
            _ => None,
        }
    }
}

impl Transfer {
    fn message(&self, term: u64) -> Message {
        let data = &self.snapshot.data;
        let start = usize::try_from(self.offset).map_or(data.len(), |at| at.min(data.len()));
        let end = (start + PART).min(data.len());
        Message::Snapshot {
            term,
            at: self.snapshot.at,
            offset: start as u64,
            total: data.len() as u64,
            part: data.slice(start..end),
        }
    }
}

impl super::Progress {
    fn counted(&self, number: u64) -> u64 {
        match self.counts {
            true => number,
            false => 0,
        }
    }
}

/// What at least `majority` have reached.
fn reached(numbers: impl Iterator<Item = u64>, majority: usize) -> u64 {
    let mut numbers: Vec<_> = numbers.collect();
    numbers.sort_unstable_by_key(|number| std::cmp::Reverse(*number));
    numbers.get(majority - 1).copied().unwrap_or(0)
}

/// Of entries in one message; a single one may be larger.
const MOST_BYTES: usize = 1 << 20;

/// Of a snapshot in one message.
const PART: usize = 512 << 10;
