//! Holding room for one request.

use longshore_core::{Error, ErrorKind, Reservation, Result};

use super::ClusterScheduler;
use crate::fact::Case;

impl ClusterScheduler {
    /// Holds room, if it is still there: the optimistic commit of a placement (S20).
    pub(super) fn reserve(&mut self, reservation: Reservation) -> Result<()> {
        let (id, request) = (&reservation.id, &reservation.request);
        match self.index.is_held(&reservation) {
            Some((true, _)) => return Ok(()),
            Some((false, node)) => {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!("another reservation {id} is held on node {node}"),
                ));
            }
            None => {}
        }
        let Some(node) = self.index.node(&reservation.node) else {
            return Err(Error::not_found(format!(
                "reservation {id} is on node {}, which is not known",
                reservation.node
            )));
        };
        let conflict = |reason: String| {
            Error::new(ErrorKind::Conflict, reason).with_operation("scheduler.reserve")
        };
        if reservation.expires <= self.index.now() {
            return Err(conflict(format!("reservation {id} has expired already")));
        }
        let name = request.name.strip_prefix('/').unwrap_or(&request.name);
        if !name.is_empty() && self.index.is_name_taken(name) {
            return Err(Error::new(ErrorKind::AlreadyExists, name_conflict(name)));
        }
        let demand = self.compile(request).map_err(Error::invalid)?;
        if let Some((stage, reason)) = self.pipeline.first_refusal(&demand, node) {
            let filter = self.pipeline.stages()[stage].name();
            let name = &node.state.name;
            let case = Case::of(&demand, &self.pipeline);
            let reason = case.word(&reason.keep(), name).reason;
            return Err(conflict(format!(
                "node {name} no longer fits: {filter}: {reason}"
            )));
        }
        self.index.reserve(reservation)
    }
}

pub(super) fn name_conflict(name: &str) -> String {
    format!(
        "Conflict: The name {name} is already assigned. You have to delete (or rename) that \
         container to be able to assign {name} to a container again."
    )
}
