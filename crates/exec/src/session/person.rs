use longshore_core::printable;

use super::{ViewerId, viewer::Viewer};

/// Somebody at a session, as those who are there are told of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Person {
    /// The connection.
    pub connection: ViewerId,
    /// The name, where it is known; at most 128 characters, with nothing in it that a terminal would
    /// act on.
    pub name: Option<String>,
    /// Whether the session is theirs: the right to write comes back to them.
    pub holds: bool,
    /// Whether they have the right to write.
    pub writes: bool,
    /// Whether they have leave to look only: the right to write is not passed on to them.
    pub only_looks: bool,
    /// Whether it is the connection that is told.
    pub is_you: bool,
}

impl Person {
    /// Somebody who looks on and may be given the right to write.
    pub fn new(connection: ViewerId, name: Option<&str>) -> Self {
        Self {
            connection,
            name: name.map(|name| printable(name, LONGEST_NAME).into_owned()),
            holds: false,
            writes: false,
            only_looks: false,
            is_you: false,
        }
    }

    pub(super) fn of(id: ViewerId, viewer: &Viewer) -> Self {
        Self {
            only_looks: viewer.only_looks,
            ..Self::new(id, viewer.who.as_deref())
        }
    }

    /// Whether the right to write can be passed on to them now.
    pub fn may_be_granted(&self) -> bool {
        !self.only_looks && !self.writes
    }
}

const LONGEST_NAME: usize = 128;
