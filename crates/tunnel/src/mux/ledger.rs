use super::options::MAX_STREAMS;
use crate::frame::Hello;

/// What one direction of a carrier has under way or unread, kept alike by sender and receiver.
///
/// Every stream has a small reserve of its own; what it holds above that comes out of a pool that
/// all streams share. So the receiver's memory is bounded however many streams are open, and
/// streams that are not read can use up the pool but never another stream's reserve: each goes on,
/// if more slowly.
///
/// The receiver's count is never above the sender's, because bytes count when they leave and credit
/// when it comes back. So a count above the bound is proof that the sender broke the rule.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    reserve: u32,
    pool: u32,
    used: u32,
}

impl Ledger {
    /// The direction towards `receiver`.
    pub(super) fn new(receiver: &Hello, sender: &Hello) -> Self {
        let streams = receiver.max_streams.min(MAX_STREAMS) + sender.max_streams.min(MAX_STREAMS);
        let reserve = (receiver.carrier_credit / 4 / streams.max(1))
            .clamp(MIN_RESERVE, receiver.stream_credit.max(MIN_RESERVE));
        let pool = receiver
            .carrier_credit
            .saturating_sub(reserve.saturating_mul(streams));
        Self {
            reserve,
            pool,
            used: 0,
        }
    }

    /// How many bytes a stream that holds `held` may add.
    pub(super) fn room(&self, held: u32) -> u32 {
        self.reserve
            .saturating_sub(held)
            .saturating_add(self.pool.saturating_sub(self.used))
    }

    /// A stream that holds `held` adds `bytes`; false when that breaks the bound.
    #[must_use]
    pub(super) fn add(&mut self, held: &mut u32, bytes: u32) -> bool {
        if bytes > self.room(*held) {
            return false;
        }
        let before = self.excess(*held);
        *held += bytes;
        self.used += self.excess(*held) - before;
        true
    }

    /// A stream that holds `held` gives back `bytes`, at most what it holds.
    pub(super) fn remove(&mut self, held: &mut u32, bytes: u32) {
        let before = self.excess(*held);
        *held = held.saturating_sub(bytes);
        self.used -= before - self.excess(*held);
    }

    /// Whether so much of the pool is in use that credit should come back early.
    pub(super) fn is_tight(&self) -> bool {
        self.used >= self.pool / 2
    }

    /// Whether the pool has recovered; apart from [`is_tight`](Self::is_tight), so that one frame
    /// does not change the mode to and fro.
    pub(super) fn is_relaxed(&self) -> bool {
        self.used < self.pool / 4
    }

    pub(super) fn reserve(&self) -> u32 {
        self.reserve
    }

    fn excess(&self, held: u32) -> u32 {
        held.saturating_sub(self.reserve)
    }
}

const MIN_RESERVE: u32 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(max_streams: u32, carrier_credit: u32) -> Hello {
        Hello {
            lowest_version: 1,
            highest_version: 1,
            max_streams,
            stream_credit: 256 * 1024,
            carrier_credit,
        }
    }

    #[test]
    fn streams_that_are_not_read_leave_others_their_reserve() {
        let hello = hello(10, 1 << 20);
        let mut ledger = Ledger::new(&hello, &hello);
        let mut hogs = [0u32; 9];
        for hog in &mut hogs {
            let room = ledger.room(*hog).min(256 * 1024);
            assert!(ledger.add(hog, room));
        }
        let mut other = 0;
        assert_eq!(ledger.room(other), ledger.reserve());
        assert!(ledger.add(&mut other, ledger.reserve()));
        assert!(!ledger.add(&mut other, 1));
        assert!(hogs.iter().sum::<u32>() + other <= 1 << 20);
        ledger.remove(&mut hogs[0], 1000);
        assert!(ledger.add(&mut other, 1000));
    }

    #[test]
    fn the_bound_holds_for_absurd_settings() {
        let ledger = Ledger::new(&hello(u32::MAX, 1024), &hello(u32::MAX, 1024));
        assert_eq!(ledger.room(0), MIN_RESERVE);
    }
}
