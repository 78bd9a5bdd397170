//! How far a candidacy has come.

use longshore_core::{Expect, Revision, Timestamp};

#[derive(Clone, Debug)]
pub(super) enum Stage {
    /// Not ours, as far as is known; to be read at this time.
    Look { at: Timestamp },
    /// Free: to be taken.
    Take { expect: Expect },
    /// Ours.
    Own {
        /// When we learnt it.
        since: Timestamp,
        /// Which must stay; `None` until it was read once.
        revision: Option<Revision>,
        claim: Claim,
    },
}

/// From owning the lock to leading.
#[derive(Clone, Debug)]
pub(super) enum Claim {
    ReadToken {
        at: Timestamp,
    },
    /// From this time on a new token may be written.
    WriteToken {
        expect: Expect,
        at: Timestamp,
    },
    /// To be led by once the lock was seen to be ours after the token was written. If the store was
    /// wiped in between, it is not.
    Confirm {
        token: u64,
        at: Timestamp,
    },
    /// Led; to be looked after at this time.
    Lead {
        token: u64,
        look: Option<Timestamp>,
    },
}

impl Stage {
    /// When its next call is due.
    pub(super) fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Look { at } => Some(*at),
            Self::Take { .. } => Some(Timestamp::ZERO),
            Self::Own { claim, .. } => match claim {
                Claim::ReadToken { at }
                | Claim::WriteToken { at, .. }
                | Claim::Confirm { at, .. } => Some(*at),
                Claim::Lead { look, .. } => *look,
            },
        }
    }
}
