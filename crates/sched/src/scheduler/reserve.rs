//! Holding room for one request.

use longshore_core::{Device, DeviceId, Error, ErrorKind, Reservation, Result};

use super::ClusterScheduler;
use crate::{devices::assign, fact::Case};

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
        let free = node.free_devices();
        let devices = match reservation.devices.is_empty() {
            true => demand.devices_on(node),
            false => {
                let named = named(&reservation.devices, &free).map_err(|id| {
                    conflict(format!(
                        "device {id} of node {} is not free",
                        node.state.name
                    ))
                })?;
                let all = node.all_devices();
                let pieces: usize = demand.devices.iter().map(|wanted| wanted.pieces(all)).sum();
                if named.len() != pieces || assign(&demand.devices, all, &named).is_none() {
                    return Err(Error::invalid(format!(
                        "reservation {id} names devices that it does not ask for"
                    )));
                }
                reservation.devices.clone()
            }
        };
        drop(demand);
        self.index.reserve(reservation.with_devices(devices))
    }
}

/// The devices of these names among those that are free, in the order of ids; or the one that is not.
fn named<'d, 'i>(
    ids: &'i [DeviceId],
    free: &[&'d Device],
) -> std::result::Result<Vec<&'d Device>, &'i DeviceId> {
    let find = |id: &'i DeviceId| {
        free.iter()
            .find(|device| device.id == *id)
            .copied()
            .ok_or(id)
    };
    let mut named = ids
        .iter()
        .map(find)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    named.sort_by(|a, b| a.id.cmp(&b.id));
    named.dedup_by(|a, b| a.id == b.id);
    Ok(named)
}

pub(super) fn name_conflict(name: &str) -> String {
    format!(
        "Conflict: The name {name} is already assigned. You have to delete (or rename) that \
         container to be able to assign {name} to a container again."
    )
}
