use std::{mem, time::Duration};

use bytes::{Bytes, BytesMut};
use longshore_core::{ExecOutput, OutputKind, Timestamp};

use crate::session::recorder::MOST_RECORDED as MOST;

/// Output that is recorded next, in one.
///
/// What a recorder does for a piece costs more than its bytes, so a flood is recorded in large ones:
/// it is held for a moment, until there is enough of it. Nothing else is held.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    kind: Option<OutputKind>,
    /// A single piece, as it is.
    first: Bytes,
    /// More than one.
    all: BytesMut,
    /// When its first piece came.
    since: Timestamp,
    flood: Flood,
}

impl Gathered {
    pub(super) fn len(&self) -> usize {
        self.first.len() + self.all.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.kind.is_none()
    }

    pub(super) fn has_room(&self) -> bool {
        self.len() < MOST
    }

    /// When it is recorded; `None`: there is nothing.
    pub(super) fn due(&self) -> Option<Timestamp> {
        self.kind?;
        Some(match self.flood.is_on() && self.has_room() {
            true => self.since.after(HELD),
            false => self.since,
        })
    }

    /// Takes a piece in; gives back what does not go with the rest.
    pub(super) fn add(&mut self, piece: ExecOutput, now: Timestamp) -> Option<ExecOutput> {
        if self.is_empty() {
            self.flood.add(piece.bytes.len(), now);
            (self.kind, self.first, self.since) = (Some(piece.kind), piece.bytes, now);
            return None;
        }
        if Some(piece.kind) != self.kind || self.len() + piece.bytes.len() > MOST {
            return Some(piece);
        }
        self.flood.add(piece.bytes.len(), now);
        if self.all.is_empty() {
            self.all.reserve(MOST);
            self.all.extend_from_slice(&mem::take(&mut self.first));
        }
        self.all.extend_from_slice(&piece.bytes);
        None
    }

    pub(super) fn take(&mut self) -> Option<ExecOutput> {
        let kind = self.kind.take()?;
        let bytes = match self.all.is_empty() {
            true => mem::take(&mut self.first),
            false => self.all.split().freeze(),
        };
        Some(ExecOutput { kind, bytes })
    }
}

/// Whether much output comes in a short time.
#[derive(Debug, Default)]
struct Flood {
    since: Timestamp,
    bytes: usize,
    /// So it was in the span before.
    before: bool,
}

impl Flood {
    fn add(&mut self, bytes: usize, now: Timestamp) {
        let passed = now.since(self.since);
        if passed >= SPAN {
            self.before = self.bytes > MUCH && passed < 2 * SPAN;
            (self.since, self.bytes) = (now, 0);
        }
        self.bytes += bytes;
    }

    fn is_on(&self) -> bool {
        self.before || self.bytes > MUCH
    }
}

/// How long a flood waits until there is more of it.
const HELD: Duration = Duration::from_millis(1);
/// More than this in so short a time is a flood.
const MUCH: usize = 32 << 10;
const SPAN: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(kind: OutputKind, length: usize) -> ExecOutput {
        let bytes = vec![b'x'; length].into();
        ExecOutput { kind, bytes }
    }

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(1_000_000 + micros)
    }

    #[test]
    fn a_few_lines_wait_for_nothing() {
        let mut gathered = Gathered::default();
        assert_eq!(gathered.due(), None);
        for round in 0..100 {
            let now = at(round * 5_000);
            assert_eq!(gathered.add(piece(OutputKind::Stdout, 1000), now), None);
            assert_eq!(gathered.due(), Some(now));
            assert_eq!(gathered.take().unwrap().bytes.len(), 1000);
            assert!(gathered.is_empty() && gathered.take().is_none());
        }
    }

    #[test]
    fn a_flood_waits_until_there_is_enough_but_not_for_long() {
        let mut gathered = Gathered::default();
        let mut waits = |now: u64, length| {
            gathered.add(piece(OutputKind::Stdout, length), at(now));
            let due = gathered.due().unwrap();
            gathered.take();
            due.since(at(now))
        };
        assert_eq!(waits(0, 20 << 10), Duration::ZERO);
        assert_eq!(waits(100, 20 << 10), HELD, "this is a flood");
        assert_eq!(waits(10_200, 1), HELD, "it was one until now");
        assert_eq!(waits(20_300, 1), Duration::ZERO, "and is over");
        assert_eq!(waits(20_400, MOST), Duration::ZERO, "it is enough");
        assert_eq!(waits(20_500, 1), HELD);
        assert_eq!(waits(60_000, 1), Duration::ZERO, "it was long ago");
    }

    #[test]
    fn what_goes_together_is_one_piece_with_the_time_of_its_first() {
        let mut gathered = Gathered::default();
        for number in 0..4 {
            let given = gathered.add(piece(OutputKind::Stderr, MOST / 4), at(number * 100));
            assert_eq!(given, None);
        }
        assert_eq!(gathered.due(), Some(at(0)));
        let other = piece(OutputKind::Stderr, 1);
        assert_eq!(gathered.add(other.clone(), at(500)), Some(other));
        let whole = gathered.take().unwrap();
        assert_eq!((whole.kind, whole.bytes.len()), (OutputKind::Stderr, MOST));
        assert_eq!(gathered.add(piece(OutputKind::Stderr, 1), at(600)), None);
        let other = piece(OutputKind::Stdout, 1);
        assert_eq!(gathered.add(other.clone(), at(600)), Some(other));
        // Larger than all, but by itself.
        gathered.take();
        assert_eq!(
            gathered.add(piece(OutputKind::Stdout, 2 * MOST), at(700)),
            None
        );
        assert_eq!(gathered.take().unwrap().bytes.len(), 2 * MOST);
    }
}
