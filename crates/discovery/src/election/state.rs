use longshore_core::Timestamp;

use super::FencingToken;

/// An election as one participant sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ElectionState {
    /// The address of the leader, this one included. `None` when nobody leads or, for longer than a
    /// time to live, nobody could be asked.
    pub leader: Option<String>,
    /// This one's own leadership and its end unless renewed.
    pub leading: Option<(FencingToken, Timestamp)>,
    /// When the store last answered.
    pub last_success: Option<Timestamp>,
    /// Why the store's last failure was one, and when; it stays until the next one.
    pub last_error: Option<(String, Timestamp)>,
}

impl ElectionState {
    pub(super) fn leading_until(&self, token: FencingToken, now: Timestamp) -> Option<Timestamp> {
        let (held, until) = self.leading?;
        (held == token && now < until).then_some(until)
    }
}
