use std::sync::Arc;

use crate::{
    DeviceId, Error, ErrorKind, NodeId, PlacementRequest, Refusal, ReservationId, Timestamp,
};

/// Replicas to place one after the other, each held before the next is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Batch {
    /// Chosen by the caller. Replica n, counted from 0, is held as the reservation `<id>.<n>`.
    pub id: ReservationId,
    /// What each replica asks for. Only a batch of one may ask for a name.
    pub request: Arc<PlacementRequest>,
    /// How many.
    pub count: u32,
    /// When the reservations are given up unless released before.
    pub expires: Timestamp,
    /// What happens when not all fit.
    pub completeness: Completeness,
}

/// What happens to a [`Batch`] when not all of it fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Completeness {
    /// As many as fit are held.
    #[default]
    AsManyAsFit,
    /// All or nothing: a gang.
    AllOrNothing,
}

impl Batch {
    /// As many of `count` replicas as fit.
    pub fn new(
        id: ReservationId,
        request: impl Into<Arc<PlacementRequest>>,
        count: u32,
        expires: Timestamp,
    ) -> Self {
        Self {
            id,
            request: request.into(),
            count,
            expires,
            completeness: Completeness::default(),
        }
    }

    /// A gang: all replicas or none.
    #[must_use]
    pub fn all_or_nothing(mut self) -> Self {
        self.completeness = Completeness::AllOrNothing;
        self
    }

    /// The reservation that holds a replica.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] if the id has no room for the number.
    pub fn reservation(&self, replica: u32) -> crate::Result<ReservationId> {
        Ok(ReservationId::new(format!("{}.{replica}", self.id))?)
    }

    /// Checks what can be told without a cluster.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`] for several replicas of one name, or for an id that has no room
    /// for their numbers.
    pub fn check(&self) -> crate::Result<()> {
        let name = &self.request.name;
        if self.count > 1 && !name.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "{} replicas of batch {} can't share the name {name}",
                    self.count, self.id
                ),
            ));
        }
        self.reservation(self.count.saturating_sub(1)).map(|_| ())
    }
}

/// Where the replicas of a [`Batch`] are held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BatchPlacement {
    /// The node of each replica that is held, in their order.
    pub nodes: Vec<NodeId>,
    /// The devices of each, in their order; empty if none are asked for.
    pub devices: Vec<Vec<DeviceId>>,
    /// Why the next one found no node, if not all are held.
    pub refusal: Option<Refusal>,
}

impl BatchPlacement {
    /// Replicas held on these nodes, and why there are no more.
    pub fn new(nodes: Vec<NodeId>, refusal: Option<Refusal>) -> Self {
        Self {
            nodes,
            devices: Vec::new(),
            refusal,
        }
    }
}
