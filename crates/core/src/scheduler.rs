use std::fmt::Debug;

use crate::{
    Batch, BatchPlacement, Change, Completeness, Error, Explanation, Placement, PlacementRequest,
    Refusal, Reservation, Result, Timestamp,
};

/// Decides where work goes.
///
/// Synchronous and pure: no clock, no I/O, no randomness of its own. The same changes, request,
/// `now` and `seed` give the same answer, in whatever order the nodes came. It is told everything
/// by [`observe`](Self::observe) and keeps its own index; the caller holds it behind a lock for the
/// microseconds of a call, never during I/O.
///
/// Placing does not hold room. The caller observes a [`Change::Reserve`] in the same locked section
/// and a [`Change::Fulfil`] or [`Change::Release`] later. A reservation that is neither fulfilled
/// nor released is given up at the first [`Change::Tick`] that is not before its expiry.
///
/// Rules held by the conformance suite: a placement never breaks a hard filter or the capacity of a
/// node, reservations included; a reservation holds its room until it is released, fulfilled or
/// expired; a change that is refused leaves the index as it was; observing the same change twice is
/// observing it once; `explain` agrees with `place`.
pub trait Scheduler: Debug + Send + 'static {
    /// Takes a change into the index.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a workload or reservation on an
    /// unknown node; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict), retryable, for a reservation
    /// that no longer fits or has expired; [`ErrorKind::AlreadyExists`](crate::ErrorKind::AlreadyExists)
    /// for another reservation under the same id, or for one whose name a workload or a reservation
    /// has; [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) for what is wrong in itself.
    /// What leaves (a node, a workload, a reservation) and is not there is no error.
    fn observe(&mut self, change: Change) -> Result<()>;

    /// Finds a node for the request.
    ///
    /// # Errors
    /// A [`Refusal`] with Swarm's text and a summary; [`explain`](Self::explain) tells the rest.
    fn place(
        &self,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Placement, Refusal>;

    /// Places the replicas of a batch, each held as a reservation before the next is placed: replica
    /// n as [`place`](Self::place) would with `seed + n`. What is not wanted any more is released
    /// one by one. A batch that is refused as a whole (gang or error) changes nothing.
    ///
    /// The provided body does just that, one placement after the other; an implementation that can
    /// do better gives the same answer faster.
    ///
    /// # Errors
    /// As for [`Change::Reserve`] and [`Batch::check`]. That no node has room is no error: it is the
    /// answer's refusal.
    fn place_batch(&mut self, batch: &Batch, now: Timestamp, seed: u64) -> Result<BatchPlacement> {
        batch.check()?;
        let mut placed = BatchPlacement::default();
        let mut outcome = Ok(());
        for replica in 0..batch.count {
            let request = &*batch.request;
            let chosen = match self.place(request, now, seed.wrapping_add(u64::from(replica))) {
                Ok(placement) => placement.chosen,
                Err(refusal) => {
                    placed.refusal = Some(refusal);
                    break;
                }
            };
            outcome = batch.reservation(replica).and_then(|id| {
                let (node, devices) = (chosen.node.clone(), chosen.devices.clone());
                let held = Reservation::new(id, node, request.clone(), batch.expires);
                self.observe(Change::Reserve(held.with_devices(devices)))
            });
            if outcome.is_err() {
                break;
            }
            placed.nodes.push(chosen.node);
            if !request.devices.is_empty() {
                placed.devices.push(chosen.devices);
            }
        }
        let is_invalid = matches!(placed.refusal, Some(Refusal::Invalid { .. }));
        let is_broken =
            placed.refusal.is_some() && batch.completeness == Completeness::AllOrNothing;
        if outcome.is_err() || is_invalid || is_broken {
            for replica in 0..placed.nodes.len() as u32 {
                self.observe(Change::Release(batch.reservation(replica)?))?;
            }
            placed.nodes.clear();
            placed.devices.clear();
        }
        match placed.refusal {
            Some(refusal) if is_invalid => Err(refusal.into()),
            _ => outcome.map(|()| placed),
        }
    }

    /// Explains what [`place`](Self::place) would do, node by node. Costs time in proportion to the
    /// number of nodes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidInput`](crate::ErrorKind::InvalidInput) if the request itself is wrong.
    fn explain(&self, request: &PlacementRequest, now: Timestamp, seed: u64)
    -> Result<Explanation>;

    /// Explains a request as if these changes had happened: a node like this one came, that workload
    /// left. What the request itself would have to leave out is asked by leaving it out. Nothing
    /// changes. May cost a copy of all that is known.
    ///
    /// The provided body refuses: not every scheduler can imagine.
    ///
    /// # Errors
    /// As for [`observe`](Self::observe) of the changes and [`explain`](Self::explain);
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) where it is not offered.
    fn explain_after(
        &self,
        changes: Vec<Change>,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        let _ = (changes, request, now, seed);
        Err(Error::unsupported("this scheduler answers no what-if"))
    }

    /// The strategy's name, for `docker info`.
    fn strategy(&self) -> &str;

    /// The filters' names in order, for `docker info`.
    fn filters(&self) -> Vec<String>;
}
