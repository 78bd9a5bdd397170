//! Who writes, of those who are here.

use longshore_core::{Error, ErrorKind, Result};

#[cfg(feature = "gateway")]
use super::Phase;
use super::SessionCore;
use crate::session::{Notice, Role, ViewerId};

/// What would come of passing the right to write on.
#[cfg(feature = "gateway")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prospect {
    /// Nothing: who asks has no say in it.
    Barred,
    /// Nothing: who would get it has it.
    Same,
    /// Somebody gets it, if it is here and may; with the name, where it is known.
    Passes(ViewerId, Option<String>),
}

impl SessionCore {
    /// Passes the right to write to another connection. Who writes may do so, and, also while another
    /// writes, the connection that holds the session by right: it may take the right back.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when `from` is neither of the two, or `to` has leave to look
    /// only; [`ErrorKind::NotFound`] when `to` is not here.
    pub fn grant(&mut self, from: ViewerId, to: ViewerId) -> Result<()> {
        if self.writer != Some(from) && self.owner != Some(from) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "only who writes, or holds the session, can pass on the right to write",
            ));
        }
        self.grant_from_outside(to)
    }

    /// Takes the right to write back.
    ///
    /// # Errors
    /// [`ErrorKind::PermissionDenied`] when the connection does not hold the session by right.
    pub fn take_back(&mut self, id: ViewerId) -> Result<()> {
        if self.owner != Some(id) {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "only who holds the session can take the right to write back",
            ));
        }
        self.grant_from_outside(id)
    }

    /// What a connection would change by passing the right to write on; `None`: by taking it back.
    #[cfg(feature = "gateway")]
    pub(in crate::session) fn prospect(&self, from: ViewerId, to: Option<ViewerId>) -> Prospect {
        let holds = self.owner == Some(from);
        let may = holds || to.is_some() && self.writer == Some(from);
        let heir = to.unwrap_or(from);
        match may {
            false => Prospect::Barred,
            true if self.writer == Some(heir) => Prospect::Same,
            true => {
                let who = self.viewers.get(&heir).and_then(|it| it.who.clone());
                Prospect::Passes(heir, who)
            }
        }
    }

    /// Whether a connection has the right to write, and does not hold the session.
    #[cfg(feature = "gateway")]
    pub(in crate::session) fn is_heir(&self, id: ViewerId) -> bool {
        self.writer == Some(id) && self.owner != Some(id) && self.phase != Phase::Ended
    }

    /// Passes the right to write on, whoever has it. In a moderated session input that waits then
    /// is dropped, and counts as taken: whoever typed it does not come to approve it.
    ///
    /// # Errors
    /// As for [`grant`](Self::grant), for `to`.
    pub fn grant_from_outside(&mut self, to: ViewerId) -> Result<()> {
        let heir = self.viewers.get(&to);
        let Some(heir) = heir.filter(|viewer| !viewer.superseded && !viewer.done) else {
            return Err(Error::not_found("no such connection in this session"));
        };
        if heir.only_looks {
            return Err(Error::new(
                ErrorKind::PermissionDenied,
                "this connection has leave to look only",
            ));
        }
        if self.writer != Some(to) {
            self.demote_writer();
            self.promote(to);
        }
        Ok(())
    }

    /// The connection has leave to look, and no more.
    pub fn only_looks(&mut self, id: ViewerId) {
        if let Some(viewer) = self.viewers.get_mut(&id) {
            viewer.only_looks = true;
            self.people_changed();
        }
    }

    /// All connections, with what each may do, in the order in which they came.
    pub fn connections(&self) -> Vec<(ViewerId, Role)> {
        let here = self.viewers.iter().filter(|(_, viewer)| !viewer.superseded);
        here.map(|(id, viewer)| (*id, viewer.role)).collect()
    }

    /// Nobody writes: whoever holds the session does again, if it is here.
    pub(super) fn give_back(&mut self) -> Option<ViewerId> {
        let owner = self.owner.filter(|id| self.viewers.contains_key(id))?;
        self.promote(owner);
        Some(owner)
    }

    pub(super) fn demote_writer(&mut self) {
        let was_held = self.is_held();
        self.drop_unwritten();
        let Some(old) = self.writer.and_then(|id| self.viewers.get_mut(&id)) else {
            return;
        };
        old.role = old.rests_as;
        old.notice(Notice::ReadOnly);
        self.writer = None;
        self.people_changed();
        if was_held && !self.is_held() {
            self.tell_owner(Notice::InputReleased);
        }
    }

    fn promote(&mut self, id: ViewerId) {
        let next_input = self.input.next();
        match self.owner == Some(id) {
            true => self.take_place(),
            false => self.keep_place(),
        }
        let Some(heir) = self.viewers.get_mut(&id) else {
            return;
        };
        heir.role = Role::Writer;
        heir.notice(Notice::MayWrite { next_input });
        self.floor = self.floor.max(heir.acknowledged);
        self.author.clone_from(&heir.who);
        self.writer = Some(id);
        self.people_changed();
        match self.owner == Some(id) {
            true => self.belongs_to_owner(),
            false => self.is_shared = true,
        }
        if self.is_held() {
            self.tell_writer(Notice::InputHeld);
        }
    }
}
