//! Room that is held: reservations, single and in groups.

use std::sync::Arc;

use longshore_core::{
    DeviceId, NodeId, PlacedWorkload, PlacementRequest, Reservation, ReservationId, Result,
    Timestamp,
};

use super::{
    Index, Slot, devices::Holder, groups::Member, node::without_slash, occupant::Held, slot_of,
};

impl Index {
    /// Whether a reservation of this id is held, and if so, whether it is this one.
    pub(crate) fn is_held(&self, reservation: &Reservation) -> Option<(bool, &NodeId)> {
        let member = self.groups.find(&reservation.id)?;
        let group = self.groups.get(member.group)?;
        let node = self.at(group.slot(member.number)?)?;
        let id = &node.state.id;
        // None named means any.
        let same = reservation.devices.is_empty()
            || reservation.devices == node.devices_of(&member.into());
        Some((same && group.is(reservation, id), id))
    }

    /// Whether a batch of reservations would bear an id that is in use.
    pub(crate) fn is_batch_taken(&self, id: &ReservationId, count: u32) -> bool {
        self.groups.is_batch_taken(id, count)
    }

    /// Holds room. The caller has checked that the id is new and that the request fits.
    pub(crate) fn reserve(&mut self, reservation: Reservation) -> Result<()> {
        let Reservation {
            id,
            node,
            request,
            expires,
            devices,
            ..
        } = reservation;
        let slot = self.slot(&node, "reservation", id.as_str())?;
        let group = self.begin(id, false, Arc::new(request), expires);
        self.hold(group, slot, devices);
        Ok(())
    }

    /// Begins a group of reservations for one request.
    pub(crate) fn begin(
        &mut self,
        id: ReservationId,
        is_batch: bool,
        request: Arc<PlacementRequest>,
        expires: Timestamp,
    ) -> u32 {
        let load = match is_batch {
            true => self.loads.of_batch(&request, &mut self.pools),
            false => self.loads.of_single(&request, &mut self.pools),
        };
        self.groups.begin(id, is_batch, request, load, expires)
    }

    /// Holds room for one more of a group.
    pub(crate) fn hold(&mut self, group: u32, slot: Slot, devices: Vec<DeviceId>) {
        let number = self.groups.join(group, slot);
        let (Some(found), Some(node)) = (self.groups.get(group), slot_of(&mut self.nodes, slot))
        else {
            return;
        };
        let held = Held {
            group,
            number,
            name: without_slash(&found.request.name).into(),
            load: found.load.clone(),
        };
        self.directory.insert(slot, (&held).into());
        let load = held.load.clone();
        node.hold(held);
        node.hold_devices(&Holder::Reservation(group, number), devices);
        self.came(slot, load);
    }

    /// Gives all room of a group back, or ends it if nothing was ever held for it.
    pub(crate) fn abandon(&mut self, group: u32) {
        for member in self.groups.members(group) {
            self.let_go(member);
        }
        self.groups.end_if_empty(group);
    }

    /// Gives room back. Nothing to do if it is not held (any more).
    pub(crate) fn release(&mut self, id: &ReservationId) {
        if let Some(member) = self.groups.find(id) {
            self.let_go(member);
        }
    }

    fn let_go(&mut self, member: Member) {
        let Some(slot) = self.groups.leave(member) else {
            return;
        };
        let Some(node) = slot_of(&mut self.nodes, slot) else {
            return;
        };
        if let Some(old) = node.let_go(member.group, member.number) {
            self.directory.remove(slot, (&old).into(), Some(node));
            self.left(slot, old.load);
        }
    }

    /// The work of a reservation was seen. A reservation that is gone already (expired, or
    /// fulfilled before) does not matter: the workload is a fact.
    pub(crate) fn fulfil(
        &mut self,
        id: &ReservationId,
        mut workload: PlacedWorkload,
    ) -> Result<()> {
        let slot = self.slot(&workload.node, "workload", workload.id.as_str())?;
        let held = self.groups.find(id).zip(self.at(slot));
        if workload.devices.is_empty()
            && let Some((member, node)) = held
        {
            workload.devices = node.devices_of(&member.into());
        }
        self.release(id);
        self.set_workload(workload)
    }

    /// Gives up reservations that expired. Time never runs backwards.
    pub(crate) fn tick(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        while let Some(expired) = self.groups.expired(self.now) {
            self.abandon(expired);
        }
    }
}
