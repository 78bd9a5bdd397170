use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use longshore_core::OutputKind;

/// The output of a session in one order: bytes of both outputs under running offsets, of which the
/// oldest are forgotten.
///
/// Bytes lie in one ring and neighbouring bytes of one output are one run, so that a program which
/// prints byte by byte costs no more than one which prints pages.
#[derive(Debug, Default)]
pub(super) struct OutputLog {
    bytes: VecDeque<u8>,
    runs: VecDeque<Run>,
    base: u64,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    kind: OutputKind,
    /// The offset behind its last byte.
    end: u64,
}

impl OutputLog {
    /// The offset of the oldest byte that is kept.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The offset behind the newest byte.
    pub(super) fn head(&self) -> u64 {
        self.base + self.bytes.len() as u64
    }

    /// How much is kept.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How often the output changes within what is kept.
    pub(super) fn runs(&self) -> usize {
        self.runs.len()
    }

    pub(super) fn push(&mut self, kind: OutputKind, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.extend(bytes);
        let end = self.head();
        match self.runs.back_mut() {
            Some(run) if run.kind == kind => run.end = end,
            _ => self.runs.push_back(Run { kind, end }),
        }
    }

    /// At most `most` bytes of one output from `offset` on; `None` where there are none.
    pub(super) fn read(&self, offset: u64, most: usize) -> Option<(OutputKind, Bytes)> {
        if offset < self.base || offset >= self.head() || most == 0 {
            return None;
        }
        let run = self.runs[self.runs.partition_point(|run| run.end <= offset)];
        let start = (offset - self.base) as usize;
        let length = most.min((run.end - offset) as usize);
        let mut copy = BytesMut::with_capacity(length);
        let (front, back) = self.bytes.as_slices();
        if start < front.len() {
            copy.extend_from_slice(&front[start..front.len().min(start + length)]);
        }
        if start + length > front.len() {
            let from = start.saturating_sub(front.len());
            copy.extend_from_slice(&back[from..start + length - front.len()]);
        }
        Some((run.kind, copy.freeze()))
    }

    /// Forgets what lies before `offset`, and gives memory back that was needed once.
    pub(super) fn trim(&mut self, offset: u64) {
        let offset = offset.min(self.head());
        if offset <= self.base {
            return;
        }
        self.bytes.drain(..(offset - self.base) as usize);
        self.base = offset;
        while self.runs.front().is_some_and(|run| run.end <= offset) {
            self.runs.pop_front();
        }
        if self.bytes.capacity() > SPARE && self.bytes.len() < self.bytes.capacity() / 4 {
            self.bytes.shrink_to(self.bytes.len() * 2);
        }
        if self.runs.capacity() > SPARE / 64 && self.runs.len() < self.runs.capacity() / 4 {
            self.runs.shrink_to(self.runs.len() * 2);
        }
    }

    /// The newest offset such that at most `runs` runs are kept from there on.
    pub(super) fn start_of_last(&self, runs: usize) -> u64 {
        match self.runs.len().checked_sub(runs + 1) {
            Some(last_dropped) => self.runs[last_dropped].end,
            None => self.base,
        }
    }
}

/// Below this, unused capacity is kept.
const SPARE: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is pushed, trimmed and read, what is kept is what was pushed.
        #[test]
        fn what_is_kept_is_what_was_pushed(
            pieces in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..40), 0u64..60), 1..60),
            most in 1usize..50,
        ) {
            let mut log = OutputLog::default();
            let mut whole = Vec::new();
            for (error, bytes, trim) in pieces {
                let kind = if error { OutputKind::Stderr } else { OutputKind::Stdout };
                log.push(kind, &bytes);
                whole.extend(bytes.iter().map(|byte| (kind, *byte)));
                log.trim(log.base() + trim.saturating_sub(20));
                prop_assert_eq!(log.head(), whole.len() as u64);
                let mut offset = log.base();
                while let Some((kind, bytes)) = log.read(offset, most) {
                    prop_assert!(!bytes.is_empty() && bytes.len() <= most);
                    for byte in bytes {
                        prop_assert_eq!((kind, byte), whole[offset as usize]);
                        offset += 1;
                    }
                }
                prop_assert_eq!(offset, log.head());
                let start = log.start_of_last(2);
                let mut kinds: Vec<_> = whole[start as usize..].iter().map(|(kind, _)| *kind).collect();
                kinds.dedup();
                prop_assert!(kinds.len() <= 2);
            }
        }
    }

    #[test]
    fn memory_is_given_back() {
        let mut log = OutputLog::default();
        log.push(OutputKind::Stdout, &vec![0; 1 << 20]);
        log.trim(log.head() - 10);
        assert!(log.bytes.capacity() <= SPARE, "{}", log.bytes.capacity());
    }
}
