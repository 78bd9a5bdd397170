use longshore_core::{
    Change, Error, NodeId, PlacementRequest, Reservation, ReservationId, Result, Scheduler,
    Timestamp,
};

use crate::{index::without_slash, scheduler::ClusterScheduler};

/// Where the work of a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keyed {
    /// It was there before, on this node.
    Existing(NodeId),
    /// Room is held for it now, on this node.
    Held(NodeId),
}

impl ClusterScheduler {
    /// Finds the work of a key, or holds room for it: a sandbox or a notebook per user. The key is
    /// the request's name, which is unique in the cluster, so two callers of one key get one node.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](longshore_core::ErrorKind::InvalidInput) without a name; as for
    /// [`place`](Scheduler::place) and [`Change::Reserve`] otherwise.
    pub fn get_or_hold(
        &mut self,
        id: ReservationId,
        request: PlacementRequest,
        expires: Timestamp,
        now: Timestamp,
        seed: u64,
    ) -> Result<Keyed> {
        let name = without_slash(&request.name);
        if name.is_empty() {
            return Err(Error::invalid(
                "a request without a name has no key to be found by",
            ));
        }
        if let Some(node) = self.node_of_name(name) {
            return Ok(Keyed::Existing(node));
        }
        let node = self.place(&request, now, seed)?.chosen.node;
        self.observe(Change::Reserve(Reservation::new(
            id,
            node.clone(),
            request,
            expires,
        )))?;
        Ok(Keyed::Held(node))
    }
}
