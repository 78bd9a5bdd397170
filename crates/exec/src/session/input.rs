use bytes::{Bytes, BytesMut};
use longshore_core::{Error, Result};

/// Input on its way to the process: received, taken for writing, written.
///
/// Offsets count every byte of the session's input. What comes twice is dropped, a hole is an
/// error, and no more than `capacity` bytes wait.
#[derive(Debug)]
pub(super) struct InputQueue {
    waiting: BytesMut,
    /// Received and not yet written, with what is being written now.
    unwritten: usize,
    next: u64,
    capacity: usize,
    ended: bool,
    /// The process takes no more: what comes goes nowhere.
    closed: bool,
}

impl InputQueue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            waiting: BytesMut::new(),
            unwritten: 0,
            next: 0,
            capacity,
            ended: false,
            closed: false,
        }
    }

    /// The offset of the next byte that was not received.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// The offset of the next byte that the process did not take.
    pub(super) fn taken(&self) -> u64 {
        self.next - self.unwritten as u64
    }

    /// How many bytes may still come.
    pub(super) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.unwritten)
    }

    /// Takes bytes in that begin at `offset`; gives those that are new.
    ///
    /// # Errors
    /// Bytes before them are missing, they do not fit, or the input has ended.
    pub(super) fn receive(&mut self, offset: u64, bytes: Bytes) -> Result<Bytes, InputFault> {
        if offset > self.next {
            return Err(InputFault::Hole {
                expected: self.next,
                offset,
            });
        }
        let known = (self.next - offset).min(bytes.len() as u64) as usize;
        let new = bytes.slice(known..);
        if new.is_empty() {
            return Ok(new);
        }
        if self.ended {
            return Err(InputFault::AfterEnd);
        }
        if !self.closed && new.len() > self.room() {
            return Err(InputFault::Overrun { room: self.room() });
        }
        self.next += new.len() as u64;
        if !self.closed {
            self.unwritten += new.len();
            self.waiting.extend_from_slice(&new);
        }
        Ok(new)
    }

    /// The input ends at `offset`. Saying it again changes nothing.
    pub(super) fn end(&mut self, offset: u64) -> Result<(), InputFault> {
        if offset != self.next {
            return Err(InputFault::Hole {
                expected: self.next,
                offset,
            });
        }
        self.ended = true;
        Ok(())
    }

    /// The next bytes to write, at most `most`. They count until [`written`](Self::written).
    pub(super) fn take(&mut self, most: usize) -> Option<Bytes> {
        if self.waiting.is_empty() {
            return None;
        }
        let piece = self.waiting.split_to(most.min(self.waiting.len())).freeze();
        if self.waiting.is_empty() {
            // Its memory belongs to the piece; the next input begins anew.
            self.waiting = BytesMut::new();
        }
        Some(piece)
    }

    pub(super) fn written(&mut self, bytes: usize) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// Drops what waits; it counts as taken. What is being written goes on.
    pub(super) fn drop_waiting(&mut self) {
        self.unwritten = self.unwritten.saturating_sub(self.waiting.len());
        self.waiting = BytesMut::new();
    }

    /// Whether everything was written and the end was said.
    pub(super) fn is_done(&self) -> bool {
        self.ended && self.unwritten == 0
    }

    /// The process takes no more. What waits is dropped and counts as taken, so that no client
    /// waits for it.
    pub(super) fn close(&mut self) {
        self.closed = true;
        self.waiting = BytesMut::new();
        self.unwritten = 0;
    }
}

/// Why input was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InputFault {
    /// Bytes before it are missing.
    Hole { expected: u64, offset: u64 },
    /// More than may wait.
    Overrun { room: usize },
    /// The end of the input was said before.
    AfterEnd,
}

impl From<InputFault> for Error {
    fn from(fault: InputFault) -> Self {
        let text = match fault {
            InputFault::Hole { expected, offset } => {
                format!("input at offset {offset} leaves a hole: the next byte is {expected}")
            }
            InputFault::Overrun { room } => {
                format!("more input than may wait: there is room for {room} bytes")
            }
            InputFault::AfterEnd => "input after the end of the input".to_owned(),
        };
        let hole = matches!(fault, InputFault::Hole { .. });
        Self::protocol(text).with_context("fault", if hole { "input-hole" } else { "input" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_twice_is_dropped_and_a_hole_is_refused() {
        let mut queue = InputQueue::new(8);
        assert_eq!(
            queue.receive(0, Bytes::from_static(b"abc")),
            Ok(Bytes::from_static(b"abc"))
        );
        assert_eq!(
            queue.receive(1, Bytes::from_static(b"bcd")),
            Ok(Bytes::from_static(b"d"))
        );
        assert_eq!(
            queue.receive(5, Bytes::from_static(b"x")),
            Err(InputFault::Hole {
                expected: 4,
                offset: 5
            })
        );
        assert_eq!(
            queue.receive(4, Bytes::from_static(b"12345")),
            Err(InputFault::Overrun { room: 4 })
        );
        assert_eq!(queue.take(2), Some(Bytes::from_static(b"ab")));
        assert_eq!((queue.taken(), queue.room()), (0, 4));
        queue.written(2);
        assert_eq!((queue.taken(), queue.room()), (2, 6));
        assert_eq!(queue.end(4), Ok(()));
        assert!(!queue.is_done());
        assert_eq!(
            queue.receive(4, Bytes::from_static(b"x")),
            Err(InputFault::AfterEnd)
        );
        assert_eq!(queue.take(9), Some(Bytes::from_static(b"cd")));
        queue.written(2);
        assert!(queue.is_done());
    }

    #[test]
    fn a_process_that_takes_no_more_holds_nobody_up() {
        let mut queue = InputQueue::new(4);
        queue.receive(0, Bytes::from_static(b"abcd")).unwrap();
        queue.close();
        assert_eq!((queue.taken(), queue.room()), (4, 4));
        queue
            .receive(4, Bytes::from_static(b"more than fits"))
            .unwrap();
        assert_eq!(queue.take(9), None);
        assert_eq!(queue.taken(), queue.next());
    }
}
