use std::{collections::VecDeque, fmt, sync::Arc, time::Duration};

use longshore_core::{
    DeviceId, Error, ErrorKind, Explanation, NodeId, Placement, PlacementRequest, Random,
    ReservationId, Result, Scored, WorkloadId,
};

use crate::{NodeView, pending::Granted, plane::Inner};

/// A container name held for the whole cluster until this is dropped.
pub struct NameGuard {
    inner: Arc<Inner>,
    name: String,
    guard: u64,
}

impl NameGuard {
    pub(crate) fn take(inner: &Arc<Inner>, name: &str) -> Result<Self> {
        let guard = inner.random.next_u64();
        let now = inner.clock.now();
        inner.cluster.lock().hold_name(name, guard, now)?;
        Ok(Self {
            inner: Arc::clone(inner),
            name: name.to_owned(),
            guard,
        })
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Keeps the name held until the container is seen under it, for a minute at most: after a
    /// create or a rename that the engine confirmed.
    pub fn made(self, node: &NodeId, id: &WorkloadId) {
        let until = self.inner.clock.now().after(UNSEEN);
        self.inner.cluster.lock().name_made(
            &self.name,
            self.guard,
            node.clone(),
            id.clone(),
            until,
        );
    }
}

impl Drop for NameGuard {
    fn drop(&mut self) {
        self.inner
            .cluster
            .lock()
            .release_name(&self.name, self.guard);
    }
}

impl fmt::Debug for NameGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NameGuard").field(&self.name).finish()
    }
}

/// Leave to create one workload on one node: room on the node and the name are held until this is
/// fulfilled or dropped.
pub struct Admission {
    inner: Arc<Inner>,
    request: Arc<PlacementRequest>,
    placement: Placement,
    explanation: Explanation,
    node: NodeId,
    ranked: VecDeque<Scored>,
    reservation: Option<ReservationId>,
    name: Option<NameGuard>,
    notes: Vec<String>,
}

impl Admission {
    /// Takes the name that the request has, and room on a node.
    pub(crate) fn take(inner: &Arc<Inner>, request: PlacementRequest) -> Result<Self> {
        let mut name = match request.name.as_str() {
            "" => None,
            name => Some(NameGuard::take(inner, name)?),
        };
        Self::under(inner, Arc::new(request), &mut name)
    }

    /// Takes room on a node, under a name that is held already; on an error the name stays with the
    /// caller.
    pub(crate) fn under(
        inner: &Arc<Inner>,
        request: Arc<PlacementRequest>,
        name: &mut Option<NameGuard>,
    ) -> Result<Self> {
        let reservation = new_reservation(inner)?;
        let seed = inner.random.next_u64();
        let now = inner.clock.now();
        let expires = now.after(inner.options.reservation_ttl);
        let mut state = inner.cluster.lock();
        let (placement, explanation) =
            state.place_and_reserve(&request, &reservation, now, expires, seed)?;
        drop(state);
        let granted = Granted {
            placement,
            explanation,
            reservation,
        };
        Ok(Self::of(inner, request, granted, name.take()))
    }

    pub(crate) fn of(
        inner: &Arc<Inner>,
        request: Arc<PlacementRequest>,
        granted: Granted,
        name: Option<NameGuard>,
    ) -> Self {
        let placement = granted.placement;
        Self {
            inner: Arc::clone(inner),
            node: placement.chosen.node.clone(),
            ranked: placement.runners_up.iter().cloned().collect(),
            request,
            placement,
            explanation: granted.explanation,
            reservation: Some(granted.reservation),
            name,
            notes: Vec::new(),
        }
    }

    /// The decision, with runners-up and the reason.
    pub fn placement(&self) -> &Placement {
        &self.placement
    }

    /// What was asked for, with the name.
    pub fn request(&self) -> &PlacementRequest {
        &self.request
    }

    /// Keeps with the reason of the placement which demands the caller added by himself, and why.
    #[must_use]
    pub fn with_notes(mut self, notes: Vec<String>) -> Self {
        self.notes = notes;
        self
    }

    /// The node on which room is held now.
    pub fn node_id(&self) -> &NodeId {
        &self.node
    }

    /// The devices of that node that are held, in the order of the request's pieces: what is made is
    /// to be given these and no others.
    pub fn devices(&self) -> &[DeviceId] {
        &self.placement.chosen.devices
    }

    /// The node on which room is held now, as it looks now.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] with Swarm's text when it left meanwhile.
    pub fn node(&self) -> Result<NodeView> {
        let state = self.inner.cluster.lock();
        state
            .slot_of(&self.node)
            .and_then(|slot| state.view(slot))
            .ok_or_else(|| Error::unavailable("error creating container: the chosen node left"))
    }

    /// Moves to the next ranked node, after the present one refused. `false` when there is none
    /// left; room is no longer held then.
    ///
    /// # Cancel safety
    /// Safe: it does not wait.
    #[expect(clippy::unused_async, reason = "a replicated store will be asked here")]
    pub async fn next(&mut self) -> Result<bool> {
        self.give_back();
        while let Some(scored) = self.ranked.pop_front() {
            let reservation = new_reservation(&self.inner)?;
            let inner = &self.inner;
            let expires = inner.clock.now().after(inner.options.reservation_ttl);
            let reserved =
                inner
                    .cluster
                    .lock()
                    .reserve_on(&scored, &self.request, &reservation, expires);
            match reserved {
                Ok(()) => {
                    self.node = scored.node.clone();
                    self.placement.chosen = scored;
                    self.reservation = Some(reservation);
                    return Ok(true);
                }
                // Filled up or gone meanwhile: the next one.
                Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::NotFound) => {
                }
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// The engine made it: the reservation becomes the workload, and the reason of its placement is
    /// kept.
    pub fn fulfil(mut self, id: &WorkloadId) {
        let mut explanation = std::mem::replace(
            &mut self.explanation,
            Explanation::new(String::new(), Vec::new()),
        );
        explanation.placement = Some(self.placement.clone());
        explanation.notes = std::mem::take(&mut self.notes);
        let mut state = self.inner.cluster.lock();
        if let Some(reservation) = self.reservation.take() {
            let devices = &self.placement.chosen.devices;
            state.fulfil(&reservation, &self.request, id, devices);
        }
        state.keep_explanation(id.clone(), explanation);
        drop(state);
        if let Some(name) = self.name.take() {
            name.made(&self.node, id);
        }
    }

    /// Gives up the room, and goes on holding the name.
    #[cfg(feature = "endpoint")]
    pub(crate) fn into_name(mut self) -> Option<NameGuard> {
        self.name.take()
    }

    fn give_back(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            self.inner.cluster.lock().release(&reservation);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admission")
            .field("node", &self.node)
            .field("name", &self.request.name)
            .field("reservation", &self.reservation)
            .finish_non_exhaustive()
    }
}

fn new_reservation(inner: &Arc<Inner>) -> Result<ReservationId> {
    reservation_id(&*inner.random)
}

pub(crate) fn reservation_id(random: &dyn Random) -> Result<ReservationId> {
    Ok(ReservationId::new(random.hex(16))?)
}

/// How long a name stays held for work that was made and not seen.
const UNSEEN: Duration = Duration::from_secs(60);
