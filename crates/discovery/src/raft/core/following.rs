//! What a follower does.

use bytes::Bytes;
use longshore_core::Timestamp;

use super::{Core, Entry, Message, Position, Role, Snapshot};

/// A snapshot of which parts came.
#[derive(Debug)]
pub(super) struct Incoming {
    at: Position,
    total: u64,
    data: Vec<u8>,
}

impl Core {
    pub(super) fn on_append(
        &mut self,
        from: usize,
        term: u64,
        before: Position,
        commit: u64,
        entries: Vec<Entry>,
        now: Timestamp,
    ) {
        let matched = match self.obeys(from, term, now) {
            true => self.append(before, commit, entries),
            false => Err(self.log.last().index),
        };
        let (term, counts) = (self.hard.term, self.counts);
        let answer = Message::Appended {
            term,
            matched,
            counts,
        };
        self.send(from, answer);
    }

    /// Takes entries in. Gives up to where the log is the leader's, or where it may be.
    fn append(&mut self, before: Position, commit: u64, entries: Vec<Entry>) -> Result<u64, u64> {
        let base = self.log.base().index;
        // What is in our snapshot was agreed on.
        if before.index >= base {
            match self.log.term_at(before.index) {
                Some(term) if term == before.term => {}
                Some(term) => return Err(self.start_of(term, before.index)),
                None => return Err(self.log.last().index),
            }
        }
        let mut last = before.index;
        for entry in entries {
            if entry.at.index != last + 1 || entry.at.term > self.hard.term {
                // No leader sends this.
                return Err(self.log.last().index);
            }
            last += 1;
            if last <= base {
                continue;
            }
            match self.log.term_at(last) {
                Some(term) if term == entry.at.term => continue,
                // Agreed on, so no leader has another one.
                Some(_) if last <= self.commit => return Err(self.commit),
                Some(_) => self.truncate(last),
                None => {}
            }
            self.log.push(entry);
        }
        self.commit = self.commit.max(commit.min(last));
        Ok(last)
    }

    /// Before the first entry of a term that the leader does not have there.
    fn start_of(&self, term: u64, mut index: u64) -> u64 {
        while index > self.commit && self.log.term_at(index) == Some(term) {
            index -= 1;
        }
        index.max(self.log.base().index)
    }

    pub(super) fn on_heartbeat(
        &mut self,
        from: usize,
        term: u64,
        commit: u64,
        round: u64,
        now: Timestamp,
    ) {
        let obeys = self.obeys(from, term, now);
        if obeys {
            // The leader knows that we have that much, but may be thinking of a disk that we lost.
            self.commit = self.commit.max(commit.min(self.log.last().index));
        }
        let (term, counts, last) = (self.hard.term, self.counts, self.log.last().index);
        let answer = Message::HeartbeatAnswer {
            term,
            round,
            last,
            counts,
        };
        self.send(from, answer);
    }

    pub(super) fn on_snapshot(
        &mut self,
        from: usize,
        term: u64,
        at: Position,
        (offset, total): (u64, u64),
        part: &Bytes,
        now: Timestamp,
    ) {
        if !self.obeys(from, term, now) {
            let (term, counts) = (self.hard.term, self.counts);
            let answer = Message::Appended {
                term,
                matched: Err(self.log.last().index),
                counts,
            };
            return self.send(from, answer);
        }
        let received = match at.index <= self.commit {
            // We are further already.
            true => total,
            false => self.collect(at, offset, total, part),
        };
        let (term, counts) = (self.hard.term, self.counts);
        let answer = Message::SnapshotPart {
            term,
            at,
            received,
            counts,
        };
        self.send(from, answer);
    }

    /// How much of a snapshot is there now.
    fn collect(&mut self, at: Position, offset: u64, total: u64, part: &Bytes) -> u64 {
        if total > LARGEST_SNAPSHOT {
            return 0;
        }
        let known = self
            .incoming
            .take()
            .filter(|known| known.at == at && known.total == total);
        let mut incoming = known.unwrap_or_else(|| Incoming {
            at,
            total,
            data: Vec::new(),
        });
        let received = incoming.data.len() as u64;
        if offset == received && received + part.len() as u64 <= total {
            incoming.data.extend_from_slice(part);
        }
        let received = incoming.data.len() as u64;
        if received == total {
            self.received = Some(Snapshot {
                at,
                data: incoming.data.into(),
            });
        } else {
            self.incoming = Some(incoming);
        }
        received
    }

    /// Follows the leader of a term that is not over; says whether it is one.
    fn obeys(&mut self, from: usize, term: u64, now: Timestamp) -> bool {
        if !self.is_current(term, now) || matches!(self.role, Role::Leader(_)) {
            return false;
        }
        self.follow(term, Some(from), now);
        true
    }
}

/// More than the state and its history may ever take.
const LARGEST_SNAPSHOT: u64 = 1 << 30;
