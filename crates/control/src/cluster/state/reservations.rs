use longshore_core::{
    Change, Error, ErrorKind, Explanation, NodeId, PlacedWorkload, Placement, PlacementRequest,
    Refusal, Reservation, ReservationId, Result, Timestamp, WorkloadId,
};

use super::State;
use crate::placement;

/// Why a name can't be given out.
#[derive(Clone, Debug)]
pub(crate) enum NameHold {
    /// A guard holds it, by this number.
    Guard(u64),
    /// The work was made under it and is not seen yet; at most until then.
    Made {
        node: NodeId,
        id: WorkloadId,
        until: Timestamp,
    },
}

/// Room held on a node.
#[derive(Clone, Debug)]
pub(crate) struct Reserved {
    pub(crate) node: NodeId,
    pub(crate) name: String,
}

impl State {
    /// Takes a name for the whole cluster.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] in Swarm's words when it is taken.
    pub(crate) fn hold_name(&mut self, name: &str, guard: u64, now: Timestamp) -> Result<()> {
        if let Some(NameHold::Made { until, .. }) = self.names.get(name)
            && *until <= now
        {
            self.names.remove(name);
        }
        if self.names.contains_key(name) || !self.containers.by_name(name).is_empty() {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!(
                    "Conflict: The name {name} is already assigned. You have to delete (or rename) \
                     that container to be able to assign {name} to a container again."
                ),
            ));
        }
        self.names.insert(name.to_owned(), NameHold::Guard(guard));
        Ok(())
    }

    pub(crate) fn release_name(&mut self, name: &str, guard: u64) {
        if matches!(self.names.get(name), Some(NameHold::Guard(held)) if *held == guard) {
            self.names.remove(name);
        }
    }

    /// Keeps a guarded name until the work made under it is seen.
    pub(crate) fn name_made(
        &mut self,
        name: &str,
        guard: u64,
        node: NodeId,
        id: WorkloadId,
        until: Timestamp,
    ) {
        let seen = self
            .containers
            .by_name(name)
            .iter()
            .any(|view| view.workload.id == id && view.node == node);
        if seen {
            self.release_name(name, guard);
        } else if matches!(self.names.get(name), Some(NameHold::Guard(held)) if *held == guard) {
            self.names
                .insert(name.to_owned(), NameHold::Made { node, id, until });
        }
    }

    /// Finds a node and holds room on it, in one step.
    pub(crate) fn place_and_reserve(
        &mut self,
        request: &PlacementRequest,
        id: &ReservationId,
        now: Timestamp,
        expires: Timestamp,
        seed: u64,
    ) -> Result<(Placement, Explanation)> {
        self.tell(Change::Tick(now));
        let placed = self.scheduler.place(request, now, seed);
        let placement = placed.map_err(|refusal| Error::from(self.informed(refusal)))?;
        // The reason is taken before the reservation changes what it is about.
        let mut explanation = if self.slots.len() <= EXPLAINED_NODES {
            self.scheduler.explain(request, now, seed)?
        } else {
            Explanation::new(placement.reason(), Vec::new())
        };
        explanation.placement = Some(placement.clone());
        self.reserve_on(&placement.chosen.node, request, id, expires)?;
        Ok((placement, explanation))
    }

    /// The scheduler knows only nodes that were reached: without any, why is told here.
    fn informed(&self, refusal: Refusal) -> Refusal {
        let message = match refusal {
            Refusal::Unplaceable { message, .. } if self.by_id.is_empty() => message,
            other => return other,
        };
        let summary = match self.views().into_iter().find(|view| view.error.is_some()) {
            Some(view) => format!(
                "{} known, none has connected yet; {}: {}",
                match self.slots.len() {
                    1 => "1 node is".to_owned(),
                    count => format!("{count} nodes are"),
                },
                view.address,
                view.error.unwrap_or_default()
            ),
            None if self.slots.is_empty() => {
                "the cluster has no nodes: discovery announces none, and none has dialled in".into()
            }
            None => format!("{} nodes are being connected to", self.slots.len()),
        };
        Refusal::Unplaceable { message, summary }
    }

    /// Holds room on a node that was ranked before.
    pub(crate) fn reserve_on(
        &mut self,
        node: &NodeId,
        request: &PlacementRequest,
        id: &ReservationId,
        expires: Timestamp,
    ) -> Result<()> {
        self.scheduler.observe(Change::Reserve(Reservation::new(
            id.clone(),
            node.clone(),
            request.clone(),
            expires,
        )))?;
        self.reservations.insert(
            id.clone(),
            Reserved {
                node: node.clone(),
                name: request.name.clone(),
            },
        );
        Ok(())
    }

    pub(crate) fn release(&mut self, id: &ReservationId) {
        if self.reservations.remove(id).is_some() {
            self.tell(Change::Release(id.clone()));
        }
    }

    /// Turns a reservation into the work that was made for it, unless that was seen before.
    pub(crate) fn fulfil(
        &mut self,
        id: &ReservationId,
        request: &PlacementRequest,
        workload: &WorkloadId,
    ) {
        let Some(held) = self.reservations.remove(id) else {
            return;
        };
        let known = self
            .slots
            .get(self.by_id.get(&held.node).unwrap_or(&NO_SLOT))
            .and_then(|slot| slot.records.get(workload))
            .map(|record| record.placed.clone());
        let placed = known.unwrap_or_else(|| placement::fulfilled(request, workload, &held.node));
        self.fulfil_or_tell(id.clone(), placed);
    }

    /// A container was seen: if room or a name was held for it, that is over. Says whether the
    /// scheduler was told of the container on the way.
    pub(super) fn observed_name(&mut self, placed: &PlacedWorkload) -> bool {
        if placed.name.is_empty() {
            return false;
        }
        if let Some(NameHold::Made { node, id, .. }) = self.names.get(&placed.name)
            && *node == placed.node
            && *id == placed.id
        {
            self.names.remove(&placed.name);
        }
        let held = self
            .reservations
            .iter()
            .find(|(_, held)| held.node == placed.node && held.name == placed.name)
            .map(|(id, _)| id.clone());
        match held {
            Some(id) => {
                self.reservations.remove(&id);
                self.fulfil_or_tell(id, placed.clone());
                true
            }
            None => false,
        }
    }

    /// The reservation may have expired in the scheduler: then the work alone is told.
    fn fulfil_or_tell(&mut self, id: ReservationId, placed: PlacedWorkload) {
        let fulfilled = self.scheduler.observe(Change::Fulfil(id, placed.clone()));
        if fulfilled.is_err() {
            self.tell(Change::Workload(placed));
        }
    }
}

/// On larger clusters the reason kept with a placement leaves out the verdicts on single nodes:
/// they would cost more time than the placement and more memory than they are worth.
const EXPLAINED_NODES: usize = 64;
const NO_SLOT: crate::cluster::SlotId = crate::cluster::SlotId::NONE;
