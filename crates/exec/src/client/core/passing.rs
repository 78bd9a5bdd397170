//! Who has the right to write.

use longshore_core::{Error, ErrorKind, Result};

use super::{ClientCore, Company};
use crate::session::ViewerId;

impl ClientCore {
    /// Passes the right to write to another connection, or takes it back: `None`. It is answered by
    /// [`ClientEvent::Passed`](super::ClientEvent::Passed), one after the other; what is not answered when the connection breaks is
    /// not known.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`]: there is no connection; [`ErrorKind::Unsupported`]: this gateway gives
    /// no answers; [`ErrorKind::ResourceExhausted`]: too many wait.
    pub fn pass(&mut self, to: Option<ViewerId>) -> Result<()> {
        let Some(ready) = self.ready.as_ref().filter(|_| self.connected) else {
            return Err(Error::unavailable(
                "there is no connection to the gateway now: try again when it is back",
            ));
        };
        if !ready.caps.iter().any(|cap| cap == "people") {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this gateway is older than the right to write that is passed on",
            ));
        }
        if self.passes.len() + self.late.len() >= MOST_PASSES {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("{MOST_PASSES} changes of who writes are waiting already"),
            ));
        }
        self.passes.push_back(to);
        Ok(())
    }

    /// Who is here, and whether this connection may write.
    pub fn company(&self) -> Company {
        Company {
            may_write: self.writes,
            people: self.people.clone(),
        }
    }

    /// Whether the right to write is where it was to be passed.
    pub(super) fn has_passed(&self, to: Option<ViewerId>) -> bool {
        let mut people = self.people.iter();
        people.any(|it| it.writes && to.map_or(it.is_you, |to| to == it.connection))
    }

    /// Nobody waits for an answer any more. The one that the gateway owes is not taken for that to a later
    /// wish when it comes after all.
    pub(in crate::client) fn give_up_passes(&mut self) {
        self.passes.clear();
        self.late.extend(self.passing.take());
    }

    /// The connection is gone, and with it the answers.
    pub(super) fn forget_passes(&mut self) {
        self.passes.clear();
        self.late.clear();
        self.passing = None;
    }

    /// Who writes is known anew. Whether that is what was wished for.
    pub(super) fn answered_by_people(&mut self) -> bool {
        if self.passing.is_some_and(|to| self.has_passed(to)) {
            // Answers come in order, so there is no older one any more.
            self.late.clear();
            self.passing = None;
            return true;
        }
        if self.late.front().is_some_and(|to| self.has_passed(*to)) {
            self.late.pop_front();
        }
        false
    }

    /// A wish was refused: the oldest that has no answer. Whether that is one whose answer is waited for.
    pub(super) fn answered_by_refusal(&mut self) -> bool {
        self.late.pop_front().is_none() && self.passing.take().is_some()
    }
}

const MOST_PASSES: usize = 16;
