use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
};

use longshore_core::{Error, ErrorKind, Result};

/// The number of a leadership. Of two, the later one is larger: who keeps the largest that it has
/// seen, and refuses smaller ones, can't be told anything by a leader that is none any more.
///
/// It stands as a decimal number beside the lock (`…/leader-token`) and grows by compare-and-swap,
/// so it needs nothing of a store's own revisions, which differ between stores and begin anew when
/// a store is wiped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(u64);

impl FencingToken {
    /// From a number that was carried by a message.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What stands in front of whatever only the leader may change: it remembers the largest token and
/// lets nothing older through.
///
/// ```
/// use longshore_core::ErrorKind;
/// use longshore_discovery::{Fence, FencingToken};
///
/// let fence = Fence::new();
/// fence.admit(FencingToken::new(8))?;
/// fence.admit(FencingToken::new(8))?;
/// let late = fence.admit(FencingToken::new(7)).unwrap_err();
/// assert_eq!(late.kind(), ErrorKind::Stale);
/// # Ok::<(), longshore_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Fence(AtomicU64);

impl Fence {
    /// Lets every token through at first.
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// The largest token so far.
    pub fn highest(&self) -> FencingToken {
        FencingToken(self.0.load(Ordering::SeqCst))
    }

    /// Lets a token through that is not older than any before it.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] for an older one: whoever sent it is not the leader any more.
    pub fn admit(&self, token: FencingToken) -> Result<()> {
        let before = self.0.fetch_max(token.0, Ordering::SeqCst);
        if token.0 >= before {
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::Stale, "a newer leader was elected: step down")
                .with_context("token", token)
                .with_context("newest", before),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l2_a_fence_refuses_every_older_token_and_says_so() {
        let fence = Fence::new();
        for (token, passes) in [
            (3, true),
            (3, true),
            (7, true),
            (3, false),
            (6, false),
            (8, true),
        ] {
            let admitted = fence.admit(FencingToken::new(token));
            assert_eq!(admitted.is_ok(), passes, "{token}");
            if let Err(error) = admitted {
                assert_eq!(error.kind(), ErrorKind::Stale);
                assert_eq!(error.context("newest"), Some("7"));
            }
        }
        assert_eq!(fence.highest().get(), 8);
    }
}
