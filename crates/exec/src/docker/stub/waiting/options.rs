use std::{num::NonZeroUsize, time::Duration};

/// How many stubs wait in containers for sessions to come, and for how long.
///
/// ```
/// use std::{num::NonZeroUsize, time::Duration};
/// use longshore_exec::WaitingStubs;
///
/// let waiting = WaitingStubs::default()
///     .with_per_container(NonZeroUsize::new(2).unwrap())
///     .with_in_all(NonZeroUsize::new(20).unwrap())
///     .with_longest_wait(Duration::from_secs(60));
/// assert_ne!(waiting, WaitingStubs::default());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingStubs {
    pub(super) per_container: NonZeroUsize,
    pub(super) in_all: NonZeroUsize,
    pub(super) longest_wait: Duration,
}

impl WaitingStubs {
    /// How many wait in one container, one by default: so many sessions may be opened there at the
    /// same moment without being started by the engine. Sessions of root and of other users need
    /// stubs of their own, and share this number; one that was asked for within the last minute does
    /// not make room for the others.
    #[must_use]
    pub fn with_per_container(mut self, count: NonZeroUsize) -> Self {
        self.per_container = count;
        self
    }

    /// How many wait in all containers of the engine together; 64 by default. Of more, those go that
    /// wait where nobody was let in for the longest time, and for a minute at least.
    #[must_use]
    pub fn with_in_all(mut self, count: NonZeroUsize) -> Self {
        self.in_all = count;
        self
    }

    /// How long one waits without being used; five minutes by default. Then it is let go, and none
    /// waits there until somebody is let into that container again.
    #[must_use]
    pub fn with_longest_wait(mut self, time: Duration) -> Self {
        self.longest_wait = time;
        self
    }
}

impl Default for WaitingStubs {
    fn default() -> Self {
        Self {
            per_container: NonZeroUsize::MIN,
            in_all: NonZeroUsize::new(64).unwrap_or(NonZeroUsize::MIN),
            longest_wait: Duration::from_secs(300),
        }
    }
}
