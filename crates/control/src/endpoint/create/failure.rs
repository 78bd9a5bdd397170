use crate::{Admission, NameGuard, endpoint::error::ApiError};

/// Why a create failed on a node, and so what may help.
pub(super) enum Failure {
    /// It would fail anywhere.
    Final(ApiError),
    /// Another node may take it.
    Refused(ApiError),
    /// The node neither has the image nor can get it.
    NoImage(ApiError),
}

impl Failure {
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Final(_))
    }

    pub(super) fn into_error(self) -> ApiError {
        match self {
            Self::Final(error) | Self::Refused(error) | Self::NoImage(error) => error,
        }
    }
}

/// A create that failed, and what it still holds.
pub(in crate::endpoint) struct Unmade {
    pub(in crate::endpoint) error: ApiError,
    /// The room on the node whose answer was lost: it may have been made there. Only for who
    /// [looks](Lost::Look) himself.
    pub(in crate::endpoint) room: Option<Admission>,
    /// The name, for another try.
    pub(in crate::endpoint) name: Option<NameGuard>,
}

impl From<ApiError> for Unmade {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            room: None,
            name: None,
        }
    }
}

/// What to do where an engine's answer was lost, and it does not say either what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::endpoint) enum Lost {
    /// Go on elsewhere; what is found later is removed.
    GoOn,
    /// Stop: whoever asked looks before he tries again.
    Look,
}
