use longshore_core::{
    Change, DeviceId, Error, ErrorKind, Explanation, NodeId, PlacedWorkload, Placement,
    PlacementRequest, Refusal, Reservation, ReservationId, Resources, Result, Scored, Timestamp,
    WorkloadId,
};

use super::State;
use crate::{
    pending::{Relief, has_more},
    placement,
};

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
    resources: Resources,
    ports: usize,
    expires: Timestamp,
    /// Whether the scheduler gave it up, because nobody fulfilled or released it in time.
    lapsed: bool,
}

/// Why a request was not placed.
#[derive(Debug)]
pub(crate) enum NotPlaced {
    /// No node takes it, or it is wrong.
    Refused(Refusal),
    /// It could not be asked for or held.
    Failed(Error),
}

impl From<Error> for NotPlaced {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<NotPlaced> for Error {
    fn from(reason: NotPlaced) -> Self {
        match reason {
            NotPlaced::Refused(refusal) => refusal.into(),
            NotPlaced::Failed(error) => error,
        }
    }
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
        if self.waiting.has_name(name) {
            return Err(Error::new(
                ErrorKind::AlreadyExists,
                format!(
                    "Conflict: The name {name} is already assigned to work that waits for room. You \
                     have to give that up to be able to assign {name} to a container."
                ),
            ));
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
    ) -> Result<(Placement, Explanation), NotPlaced> {
        self.tick(now);
        let placed = self.scheduler.place(request, now, seed);
        let placement = placed.map_err(|refusal| NotPlaced::Refused(self.informed(refusal)))?;
        // The reason is taken before the reservation changes what it is about.
        let mut explanation = if self.slots.len() <= EXPLAINED_NODES {
            self.scheduler.explain(request, now, seed)?
        } else {
            Explanation::new(placement.reason(), Vec::new())
        };
        explanation.placement = Some(placement.clone());
        self.reserve_on(&placement.chosen, request, id, expires)?;
        self.waiting.relieve(Relief::CAME);
        Ok((placement, explanation))
    }

    /// The scheduler knows only nodes that were reached: without any, why is told here.
    fn informed(&self, refusal: Refusal) -> Refusal {
        let (message, filters) = match refusal {
            Refusal::Unplaceable {
                message, filters, ..
            } if self.by_id.is_empty() => (message, filters),
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
        Refusal::Unplaceable {
            message,
            summary,
            filters,
        }
    }

    /// Holds room on a node that was ranked before, and the devices that were chosen there.
    pub(crate) fn reserve_on(
        &mut self,
        chosen: &Scored,
        request: &PlacementRequest,
        id: &ReservationId,
        expires: Timestamp,
    ) -> Result<()> {
        let node = &chosen.node;
        let held = Reservation::new(id.clone(), node.clone(), request.clone(), expires);
        let held = held.with_devices(chosen.devices.clone());
        self.scheduler.observe(Change::Reserve(held))?;
        self.reservations.insert(
            id.clone(),
            Reserved {
                node: node.clone(),
                name: request.name.clone(),
                resources: request.resources.clone(),
                ports: request.ports.len(),
                expires,
                lapsed: false,
            },
        );
        Ok(())
    }

    pub(crate) fn release(&mut self, id: &ReservationId) {
        if self.reservations.remove(id).is_some() {
            self.tell(Change::Release(id.clone()), Relief::FREED);
        }
    }

    /// Turns a reservation into the work that was made for it, unless that was seen before.
    pub(crate) fn fulfil(
        &mut self,
        id: &ReservationId,
        request: &PlacementRequest,
        workload: &WorkloadId,
        devices: &[DeviceId],
    ) {
        let Some(held) = self.reservations.remove(id) else {
            return;
        };
        let known = self
            .slots
            .get(self.by_id.get(&held.node).unwrap_or(&NO_SLOT))
            .and_then(|slot| slot.records.get(workload))
            .map(|record| record.placed.clone());
        let placed =
            known.unwrap_or_else(|| placement::fulfilled(request, workload, &held.node, devices));
        self.fulfil_or_tell(id.clone(), &held, placed);
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
                if let Some(held) = self.reservations.remove(&id) {
                    self.fulfil_or_tell(id, &held, placed.clone());
                }
                true
            }
            None => false,
        }
    }

    /// The reservation may have expired in the scheduler: then the work alone is told.
    fn fulfil_or_tell(&mut self, id: ReservationId, held: &Reserved, placed: PlacedWorkload) {
        let holds_less =
            has_more(&held.resources, &placed.resources) || placed.ports.len() < held.ports;
        let relief = match holds_less {
            true => Relief::CAME | Relief::FREED,
            false => Relief::CAME,
        };
        let fulfilled = self.scheduler.observe(Change::Fulfil(id, placed.clone()));
        if fulfilled.is_err() {
            self.tell(Change::Workload(placed), relief);
        } else {
            self.waiting.relieve(relief);
        }
    }

    /// Time passes: the scheduler gives up reservations that are past their expiry.
    pub(super) fn tick(&mut self, now: Timestamp) {
        let mut relief = Relief::NONE;
        if self.waiting.is_empty() {
            return self.tell(Change::Tick(now), relief);
        }
        let held = self.reservations.values_mut();
        for held in held.filter(|held| !held.lapsed && held.expires <= now) {
            held.lapsed = true;
            relief = Relief::FREED;
        }
        self.tell(Change::Tick(now), relief);
    }

    /// When the next reservation lapses by itself.
    pub(super) fn next_lapse(&self) -> Option<Timestamp> {
        let open = self.reservations.values().filter(|held| !held.lapsed);
        open.map(|held| held.expires).min()
    }
}

/// On larger clusters the reason kept with a placement leaves out the verdicts on single nodes:
/// they would cost more time than the placement and more memory than they are worth.
const EXPLAINED_NODES: usize = 64;
const NO_SLOT: crate::cluster::SlotId = crate::cluster::SlotId::NONE;
