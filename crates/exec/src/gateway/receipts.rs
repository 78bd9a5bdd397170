use std::collections::VecDeque;

/// What a client has received whose protocol has no acknowledgements, by its answers to pings: a pong
/// carries its ping's payload (RFC 6455, section 5.5.3), and comes behind everything that was sent
/// before. So the window of such a client counts what is on its way, and not what was handed to the
/// kernel, whose buffers hold megabytes.
///
/// Little output is asked nothing about, so an interactive session has no more pings than others.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    sent: u64,
    /// Bytes since the last question.
    unasked: usize,
    /// Offsets that were asked about, in order. There are as many as the session's window has room
    /// for.
    asked: VecDeque<u64>,
    /// No answer can be read.
    blind: bool,
}

/// What to do behind output that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It counts as received.
    Acknowledge(u64),
    /// Send a ping with this number.
    Ask(u64),
    /// An answer is on its way.
    Wait,
}

impl Receipts {
    /// Output before `offset` was sent, the last of it in so many bytes, to a client that may have
    /// `window` bytes of it unacknowledged. A window is asked about four times: one that could grow
    /// belongs to a fast way, where more would only cost.
    pub(super) fn sent(&mut self, offset: u64, bytes: usize, window: u64) -> Next {
        self.sent = offset;
        if self.blind {
            return Next::Acknowledge(offset);
        }
        self.unasked += bytes;
        if self.unasked as u64 >= step(window) {
            self.unasked = 0;
            self.asked.push_back(offset);
            return Next::Ask(offset);
        }
        match self.asked.is_empty() {
            true => Next::Acknowledge(offset),
            false => Next::Wait,
        }
    }

    /// Whether answers can't be read, because input waits before them. Then what was sent counts as
    /// received, as a process may take input again only when its output goes on; gives up to where.
    pub(super) fn set_blind(&mut self, blind: bool) -> Option<u64> {
        self.blind = blind;
        if !blind || self.asked.is_empty() {
            return None;
        }
        self.asked.clear();
        Some(self.sent)
    }

    /// What a ping carries that is not sent for this: the newest question without an answer.
    pub(super) fn open(&self) -> Option<u64> {
        self.asked.back().copied()
    }

    /// A pong with this payload; gives up to where output was received. A client may answer the
    /// newest of several pings only, and may send a pong that was not asked for.
    pub(super) fn answered(&mut self, payload: &[u8]) -> Option<u64> {
        let token = u64::from_be_bytes(payload.try_into().ok()?);
        self.asked.binary_search(&token).ok()?;
        while self.asked.front().is_some_and(|asked| *asked <= token) {
            self.asked.pop_front();
        }
        // What no question is open about is little.
        match self.asked.is_empty() {
            true => Some(self.sent),
            false => Some(token),
        }
    }
}

/// How many bytes are asked about at a time.
fn step(window: u64) -> u64 {
    (window / 4).max(STEP as u64)
}

/// A twelfth of a second on a link of 100 kB/s. Not more than the smallest window of a session, or
/// that would bound nothing.
const STEP: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pong(token: u64) -> [u8; 8] {
        token.to_be_bytes()
    }

    #[test]
    fn little_is_not_asked_about_and_a_flood_is() {
        let mut receipts = Receipts::default();
        assert_eq!(receipts.sent(10, 10, 0), Next::Acknowledge(10));
        assert_eq!(receipts.sent(9_000, 8_990, 0), Next::Ask(9_000));
        assert_eq!(receipts.sent(9_010, 10, 0), Next::Wait);
        assert_eq!(receipts.sent(20_000, 10_990, 0), Next::Ask(20_000));
        assert_eq!(receipts.open(), Some(20_000));
        assert_eq!(receipts.sent(20_001, 1, 0), Next::Wait);
        assert_eq!(receipts.answered(&pong(9_000)), Some(9_000));
        assert_eq!(receipts.answered(&pong(9_000)), None, "once");
        assert_eq!(receipts.answered(&pong(20_000)), Some(20_001));
        assert_eq!(receipts.open(), None);
        assert_eq!(receipts.sent(20_002, 1, 0), Next::Acknowledge(20_002));
    }

    #[test]
    fn a_large_window_is_asked_about_four_times() {
        let asked = |window: u64| {
            let mut receipts = Receipts::default();
            let sent = (1..=window / 1024).map(|piece| receipts.sent(piece * 1024, 1024, window));
            sent.filter(|next| matches!(next, Next::Ask(_))).count()
        };
        assert_eq!([8 << 10, 16 << 10, 32 << 10].map(asked), [1, 2, 4]);
        assert_eq!([64 << 10, 1 << 20].map(asked), [4, 4]);
    }

    #[test]
    fn only_what_was_asked_is_answered() {
        let mut receipts = Receipts::default();
        receipts.sent(10_000, 10_000, 0);
        receipts.sent(20_000, 10_000, 0);
        for payload in [&b""[..], b"1234567", &pong(u64::MAX), &pong(15_000)] {
            assert_eq!(receipts.answered(payload), None);
        }
        // The newest answers for those before it.
        assert_eq!(receipts.answered(&pong(20_000)), Some(20_000));
    }

    #[test]
    fn nothing_waits_for_answers_that_are_not_read() {
        let mut receipts = Receipts::default();
        receipts.sent(10_000, 10_000, 0);
        receipts.sent(10_001, 1, 0);
        assert_eq!(receipts.set_blind(true), Some(10_001));
        assert_eq!(receipts.set_blind(true), None);
        assert_eq!(receipts.sent(90_000, 79_999, 0), Next::Acknowledge(90_000));
        assert_eq!(receipts.set_blind(false), None);
        assert_eq!(receipts.answered(&pong(10_000)), None, "it comes late");
        assert_eq!(receipts.sent(100_000, 10_000, 0), Next::Ask(100_000));
    }

    proptest! {
        /// Whatever is sent and answered, all of it is acknowledged once every question is answered,
        /// and no question is asked for less than a step.
        #[test]
        fn nothing_stays_unacknowledged(pieces in prop::collection::vec((1usize..20_000, any::<bool>()), 1..100)) {
            let mut receipts = Receipts::default();
            let (mut offset, mut acknowledged, mut asked) = (0, 0, 0);
            for (piece, answers) in pieces {
                offset += piece as u64;
                match receipts.sent(offset, piece, 0) {
                    Next::Acknowledge(up_to) => acknowledged = up_to,
                    Next::Ask(token) => {
                        prop_assert!(token - asked >= STEP as u64);
                        asked = token;
                    }
                    Next::Wait => {}
                }
                if answers && let Some(open) = receipts.open() {
                    acknowledged = receipts.answered(&pong(open)).unwrap();
                }
                prop_assert!(offset - acknowledged < STEP as u64 || receipts.open().is_some());
            }
            if let Some(open) = receipts.open() {
                acknowledged = receipts.answered(&pong(open)).unwrap();
            }
            prop_assert_eq!(acknowledged, offset);
        }
    }
}
