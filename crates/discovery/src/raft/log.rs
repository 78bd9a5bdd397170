//! The log behind the last snapshot. Pure.

use std::collections::VecDeque;

use bytes::Bytes;

/// A place in the log: which entry, and in which term it was made. The order is Raft's "at least as
/// up-to-date" (§5.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    pub(super) term: u64,
    pub(super) index: u64,
}

/// One entry. Without data it only marks the beginning of a term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Position,
    pub(super) data: Bytes,
}

#[derive(Debug, Default)]
pub(super) struct Log {
    /// What is before the first entry.
    base: Position,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Log {
    /// What a disk held. Entries that do not follow on each other are a defect of the disk, so what
    /// comes behind a gap is left out.
    pub(super) fn new(base: Position, entries: Vec<Entry>) -> Self {
        let mut log = Self {
            base,
            ..Self::default()
        };
        for entry in entries {
            if entry.at.index == log.last().index + 1 {
                log.push(entry);
            }
        }
        log
    }

    pub(super) fn base(&self) -> Position {
        self.base
    }

    pub(super) fn last(&self) -> Position {
        self.entries.back().map_or(self.base, |entry| entry.at)
    }

    /// Bytes of data that are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The term of an entry, while it or its place is known.
    pub(super) fn term_at(&self, index: u64) -> Option<u64> {
        match index {
            0 => Some(0),
            index if index == self.base.index => Some(self.base.term),
            index => self.entry(index).map(|entry| entry.at.term),
        }
    }

    pub(super) fn entry(&self, index: u64) -> Option<&Entry> {
        let offset = index.checked_sub(self.base.index + 1)?;
        self.entries.get(usize::try_from(offset).ok()?)
    }

    /// Entries from `from` on, at least one if there is one, and then as many as fit.
    pub(super) fn from(&self, from: u64, most_bytes: usize) -> Vec<Entry> {
        let (mut found, mut bytes) = (Vec::new(), 0);
        let mut next = from.max(self.base.index + 1);
        while let Some(entry) = self.entry(next) {
            bytes += entry.data.len() + OVERHEAD;
            if !found.is_empty() && bytes > most_bytes {
                break;
            }
            found.push(entry.clone());
            next += 1;
        }
        found
    }

    pub(super) fn push(&mut self, entry: Entry) {
        debug_assert_eq!(entry.at.index, self.last().index + 1, "a gap in the log");
        self.bytes += entry.data.len() + OVERHEAD;
        self.entries.push_back(entry);
    }

    /// Drops this entry and all behind it.
    pub(super) fn truncate(&mut self, from: u64) {
        while self.last().index >= from
            && let Some(entry) = self.entries.pop_back()
        {
            self.bytes -= entry.data.len() + OVERHEAD;
        }
    }

    /// Drops entries up to this one; they are in a snapshot.
    pub(super) fn compact(&mut self, up_to: u64) {
        while self.base.index < up_to
            && let Some(entry) = self.entries.pop_front()
        {
            self.bytes -= entry.data.len() + OVERHEAD;
            self.base = entry.at;
        }
    }

    /// A snapshot takes the place of everything, but for entries that follow on it.
    pub(super) fn reset(&mut self, base: Position) {
        if self.term_at(base.index) == Some(base.term) && base.index >= self.base.index {
            self.compact(base.index);
            return;
        }
        *self = Self {
            base,
            ..Self::default()
        };
    }
}

/// What an entry costs beside its data.
const OVERHEAD: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        let at = Position { term, index };
        Entry {
            at,
            data: Bytes::from_static(b"x"),
        }
    }

    #[test]
    fn what_follows_on_a_snapshot_stays() {
        let at = |term, index| Position { term, index };
        let mut log = Log::new(at(0, 0), vec![entry(1, 1), entry(1, 2), entry(2, 3)]);
        log.reset(at(1, 2));
        assert_eq!((log.base(), log.last()), (at(1, 2), at(2, 3)));
        log.reset(at(3, 3));
        assert_eq!(
            (log.base(), log.last(), log.bytes()),
            (at(3, 3), at(3, 3), 0)
        );
        assert_eq!(
            (log.term_at(2), log.term_at(3), log.term_at(4)),
            (None, Some(3), None)
        );
    }

    #[test]
    fn a_gap_ends_the_log() {
        let log = Log::new(Position::default(), vec![entry(1, 1), entry(1, 3)]);
        assert_eq!(log.last().index, 1);
    }
}
