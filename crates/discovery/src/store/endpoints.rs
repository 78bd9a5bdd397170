//! Which of several servers is asked. Pure.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A place in a ring of servers: stays with one that answers, goes on from one that does not.
#[derive(Debug, Default)]
pub(crate) struct Rotation(AtomicUsize);

impl Rotation {
    /// The server to ask now, of `count`.
    pub(crate) fn current(&self, count: usize) -> usize {
        self.0.load(Ordering::Relaxed) % count.max(1)
    }

    /// `failed` did not answer. When somebody else noticed first, nothing moves.
    pub(crate) fn leave(&self, failed: usize, count: usize) {
        let count = count.max(1);
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |at| {
                (at % count == failed).then_some((failed + 1) % count)
            });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_until_its_server_fails_and_goes_round() {
        let rotation = Rotation::default();
        assert_eq!((rotation.current(3), rotation.current(3)), (0, 0));
        rotation.leave(0, 3);
        rotation.leave(0, 3);
        assert_eq!(
            rotation.current(3),
            1,
            "two failures of one server count once"
        );
        rotation.leave(1, 3);
        rotation.leave(2, 3);
        assert_eq!(rotation.current(3), 0);
    }
}
