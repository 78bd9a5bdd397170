use std::time::Duration;

use longshore_core::{PlacementRequest, Result};

use super::ControlPlane;
use crate::{Pending, PendingView, pending::Owner};

/// Work that waits for room.
impl ControlPlane {
    /// As [`admit`](Self::admit), but work that no node can take now waits for one (S21), at most for
    /// `patience`. Work of the same shape is served in turn. At most
    /// [`pending_capacity`](crate::PlaneOptions::pending_capacity) pieces wait; they live in this process,
    /// and nothing is placed later by a control plane that was not started.
    ///
    /// It is the program's own work, which no share bounds: see
    /// [`enqueue_for`](Self::enqueue_for) for work of others.
    ///
    /// # Errors
    /// As for [`admit`](Self::admit), but for [`Unplaceable`](longshore_core::ErrorKind::Unplaceable);
    /// [`ErrorKind::ResourceExhausted`](longshore_core::ErrorKind::ResourceExhausted) when too much
    /// waits already; [`ErrorKind::Cancelled`](longshore_core::ErrorKind::Cancelled) after a
    /// shutdown.
    pub fn enqueue(
        &self,
        request: &PlacementRequest,
        name: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<Pending> {
        let request = named(request, name);
        Pending::take(&self.inner, request, Owner::Program, patience)
    }

    /// As [`enqueue`](Self::enqueue), for somebody: owners of equally important work are served in
    /// turn, however much each has waiting, and each has at most its
    /// [share](crate::PlaneOptions::pending_per_owner) of the queue.
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue); where the owner's share is used up, the error names the owner
    /// and the limit.
    pub fn enqueue_for(
        &self,
        owner: &str,
        request: &PlacementRequest,
        name: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<Pending> {
        let request = named(request, name);
        Pending::take(&self.inner, request, Owner::named(owner), patience)
    }

    /// The work that waits for a node, in the order in which it would be tried.
    pub fn pending(&self) -> Vec<PendingView> {
        self.inner.cluster.lock().pending_views()
    }
}

/// `name` wins over the request's own.
pub(super) fn named(request: &PlacementRequest, name: Option<&str>) -> PlacementRequest {
    let mut request = request.clone();
    if let Some(name) = name {
        name.clone_into(&mut request.name);
    }
    request
}
