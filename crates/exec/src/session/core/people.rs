//! Who is told who is here.

use super::SessionCore;
use crate::session::{Person, ViewerId};

impl SessionCore {
    /// The connection is told who is here, and again whenever that changes. Who holds the session, may
    /// write in it or may be given that is told of everybody; who has leave to look only, of those who
    /// hold the session and write in it, and of itself.
    pub fn accept_people(&mut self, id: ViewerId) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.told_people = Some(NEVER);
        }
    }

    /// Tells a connection who is here once more, if it is told at all.
    pub fn tell_people(&mut self, id: ViewerId) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.told_people = viewer.told_people.map(|_| NEVER);
        }
    }

    /// Who is here, as a connection may know it, in the order in which they came.
    pub fn people(&self, of: ViewerId) -> Vec<Person> {
        let sees_all = self.viewers.get(&of).is_some_and(|it| !it.only_looks);
        let here = self.viewers.iter().filter(|(_, it)| !it.superseded);
        let here = here.map(|(id, viewer)| Person {
            holds: self.owner == Some(*id),
            writes: self.writer == Some(*id),
            is_you: of == *id,
            ..Person::of(*id, viewer)
        });
        here.filter(|person| sees_all || person.holds || person.writes || person.is_you)
            .collect()
    }

    /// Somebody came or left, or another writes now.
    pub(super) fn people_changed(&mut self) {
        self.people_version += 1;
    }

    /// What a connection has not been told yet of who is here. Only the newest is told.
    pub(super) fn untold_people(&mut self, id: ViewerId) -> Option<Vec<Person>> {
        let version = self.people_version;
        let told = self.viewers.get_mut(&id)?.told_people.as_mut()?;
        if *told == version {
            return None;
        }
        *told = version;
        Some(self.people(id))
    }
}

/// No version of who is here: they begin at 1.
const NEVER: u64 = 0;
