use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use longshore_core::{NodeId, PlacementRequest, Reservation, ReservationId, Timestamp};

use super::{Slot, devices::Holder, load::Load};

/// The reservations that are held. Those of a batch are one group, which keeps their request once;
/// a single one is a group of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    by_id: HashMap<ReservationId, u32>,
    groups: Vec<Option<Group>>,
    free: Vec<u32>,
    expiries: BTreeSet<(Timestamp, u32)>,
    /// How many single reservations have an id that reads like one of a batch.
    lookalikes: usize,
}

/// Reservations for one request.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    id: ReservationId,
    is_batch: bool,
    pub(crate) request: Arc<PlacementRequest>,
    pub(crate) load: Arc<Load>,
    expires: Timestamp,
    /// The node of each; nothing for one that is no longer held.
    members: Vec<Option<Slot>>,
    live: usize,
}

/// One reservation: its group and its number in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) group: u32,
    pub(crate) number: u32,
}

impl From<Member> for Holder {
    fn from(member: Member) -> Self {
        Self::Reservation(member.group, member.number)
    }
}

impl Group {
    /// Whether it is this very reservation.
    pub(crate) fn is(&self, reservation: &Reservation, node: &NodeId) -> bool {
        *self.request == reservation.request
            && self.expires == reservation.expires
            && *node == reservation.node
    }

    /// The node of a member.
    pub(crate) fn slot(&self, number: u32) -> Option<Slot> {
        self.members.get(number as usize).copied().flatten()
    }
}

impl Groups {
    /// The reservation of this id, if it is held.
    pub(crate) fn find(&self, id: &ReservationId) -> Option<Member> {
        let single = self.by_id.get(id).map(|group| Member {
            group: *group,
            number: 0,
        });
        let single = single.filter(|found| self.get(found.group).is_some_and(|g| !g.is_batch));
        single.or_else(|| {
            let (batch, number) = split(id.as_str())?;
            let group = *self.by_id.get(batch)?;
            self.get(group)
                .filter(|found| found.is_batch && found.slot(number).is_some())
                .map(|_| Member { group, number })
        })
    }

    /// Whether a batch of this id and size would bear an id that is in use.
    pub(crate) fn is_batch_taken(&self, id: &ReservationId, count: u32) -> bool {
        self.by_id.contains_key(id)
            || (self.lookalikes > 0
                && (0..count)
                    .any(|number| self.by_id.contains_key(format!("{id}.{number}").as_str())))
    }

    pub(crate) fn get(&self, group: u32) -> Option<&Group> {
        self.groups.get(group as usize)?.as_ref()
    }

    /// Begins a group without members.
    pub(crate) fn begin(
        &mut self,
        id: ReservationId,
        is_batch: bool,
        request: Arc<PlacementRequest>,
        load: Arc<Load>,
        expires: Timestamp,
    ) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.groups.push(None);
            // More than 2^32 reservations do not fit into memory.
            (self.groups.len() - 1) as u32
        });
        self.lookalikes += usize::from(!is_batch && split(id.as_str()).is_some());
        self.by_id.insert(id.clone(), number);
        self.expiries.insert((expires, number));
        self.groups[number as usize] = Some(Group {
            id,
            is_batch,
            request,
            load,
            expires,
            members: Vec::new(),
            live: 0,
        });
        number
    }

    /// Adds a member and gives its number.
    pub(crate) fn join(&mut self, group: u32, slot: Slot) -> u32 {
        let Some(Some(found)) = self.groups.get_mut(group as usize) else {
            return 0;
        };
        found.members.push(Some(slot));
        found.live += 1;
        found.members.len() as u32 - 1
    }

    /// Gives a member up and says where it was; a group without members goes too.
    pub(crate) fn leave(&mut self, member: Member) -> Option<Slot> {
        let group = self.groups.get_mut(member.group as usize)?.as_mut()?;
        let slot = group.members.get_mut(member.number as usize)?.take()?;
        group.live -= 1;
        self.end_if_empty(member.group);
        Some(slot)
    }

    /// Ends a group that has no member left, as one does in which nothing could be placed.
    pub(crate) fn end_if_empty(&mut self, number: u32) {
        let Some(entry) = self.groups.get_mut(number as usize) else {
            return;
        };
        if let Some(group) = entry.take_if(|group| group.live == 0) {
            let is_lookalike = !group.is_batch && split(group.id.as_str()).is_some();
            self.lookalikes -= usize::from(is_lookalike);
            self.by_id.remove(&group.id);
            self.expiries.remove(&(group.expires, number));
            self.free.push(number);
        }
    }

    /// A group that has expired.
    pub(crate) fn expired(&self, now: Timestamp) -> Option<u32> {
        let (expires, number) = self.expiries.first()?;
        (*expires <= now).then_some(*number)
    }

    /// Those of a group that are held.
    pub(crate) fn members(&self, group: u32) -> Vec<Member> {
        let members = self.get(group).map_or(&[][..], |group| &group.members);
        let live = members
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.is_some());
        live.map(|(number, _)| Member {
            group,
            number: number as u32,
        })
        .collect()
    }

    #[cfg(test)]
    pub(crate) fn is_consistent(&self, held: usize) -> bool {
        let live = || self.groups.iter().flatten();
        live().map(|group| group.live).sum::<usize>() == held
            && live().all(|group| group.live == group.members.iter().flatten().count())
            && live().count() == self.by_id.len()
            && live().count() == self.expiries.len()
            && live().count() + self.free.len() == self.groups.len()
    }
}

/// `batch.7` as batch and number, if it is written as we write it.
fn split(id: &str) -> Option<(&str, u32)> {
    let (batch, number) = id.rsplit_once('.')?;
    let is_canonical = number == "0" || !number.starts_with(['0', '+']);
    Some((batch, number.parse().ok().filter(|_| is_canonical)?))
}
