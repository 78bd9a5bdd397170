use longshore_core::Timestamp;

use super::{rate::Rate, user::Share};

/// What holds the output of a session back: its own rate, and the part it has in its user's.
#[derive(Debug, Default)]
pub(super) struct Bandwidth {
    rate: Option<Rate>,
    share: Option<Share>,
}

impl Bandwidth {
    pub(super) fn new(rate: Option<Rate>) -> Self {
        Self { rate, share: None }
    }

    pub(super) fn set_share(&mut self, share: Share) {
        self.share = Some(share);
    }

    pub(super) fn share(&self) -> Option<&Share> {
        self.share.as_ref()
    }

    /// As many of these bytes as may go now, one at least; or when some may.
    pub(super) fn take(&mut self, want: usize, now: Timestamp) -> Result<usize, Timestamp> {
        let want = match &mut self.rate {
            Some(rate) => match rate.room(now) {
                0 => return Err(rate.next_room()),
                room => want.min(room),
            },
            None => want,
        };
        let granted = match &self.share {
            Some(share) => share.take(want, now)?,
            None => want,
        };
        if let Some(rate) = &mut self.rate {
            rate.spend(granted);
        }
        Ok(granted)
    }

    /// Bytes that were taken and did not go.
    pub(super) fn give_back(&mut self, bytes: usize) {
        if let Some(rate) = &mut self.rate {
            rate.give_back(bytes);
        }
        if let Some(share) = &self.share {
            share.give_back(bytes);
        }
    }
}
