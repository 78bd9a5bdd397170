use std::{collections::HashMap, sync::Arc, time::Duration};

use longshore_core::{Error, PlacementRequest, Random, Refusal, Result, ServiceName, Timestamp};
use tokio::sync::Notify;

use super::{State, reservations::NotPlaced};
use crate::{
    PendingView, SWARM_ID_LABEL,
    pending::{Granted, Queued, Refused, Ticket, Wish},
    reservation::reservation_id,
    stack::labels,
};

impl State {
    /// Places work, or lets it wait if no node can take it now (S21).
    ///
    /// # Errors
    /// The request is wrong; the queue is full or closed.
    pub(crate) fn enqueue(
        &mut self,
        wish: Wish,
        now: Timestamp,
        ttl: Duration,
        random: &dyn Random,
    ) -> Result<Queued> {
        let request = &*wish.request;
        let key = shape_of(request)?;
        let refused = if self.waiting.has_shape(&key) {
            // Its turn is after that of the others.
            Refused {
                filters: Vec::new(),
                reason: "".into(),
            }
        } else {
            match self.grant(request, now, ttl, random) {
                Ok(granted) => return Ok(Queued::Found(Box::new(granted))),
                Err(NotPlaced::Refused(refusal @ Refusal::Unplaceable { .. })) => why(refusal),
                Err(other) => return Err(other.into()),
            }
        };
        self.waiting.push(key, wish, &refused)
    }

    /// Tries those who are to be tried, at most so many. Says whether there are more, and when there
    /// is something to do without any change.
    pub(crate) fn serve_waiting(
        &mut self,
        now: Timestamp,
        ttl: Duration,
        limit: usize,
        random: &dyn Random,
    ) -> (bool, Option<Timestamp>) {
        if self.waiting.is_empty() {
            return (false, None);
        }
        self.tick(now);
        for _ in 0..limit {
            let Some((ticket, request)) = self.waiting.next(now) else {
                let due = self.waiting.next_deadline();
                let lapse = self.next_lapse().filter(|_| !self.waiting.is_empty());
                return (false, due.into_iter().chain(lapse).min());
            };
            let answer = match self.grant(&request, now, ttl, random) {
                Err(NotPlaced::Refused(refusal @ Refusal::Unplaceable { .. })) => {
                    self.waiting.refused(ticket, &why(refusal));
                    continue;
                }
                answer => answer.map_err(Error::from),
            };
            if let Some(untaken) = self.waiting.answer(ticket, answer) {
                self.release(&untaken.reservation);
            }
        }
        (true, None)
    }

    fn grant(
        &mut self,
        request: &PlacementRequest,
        now: Timestamp,
        ttl: Duration,
        random: &dyn Random,
    ) -> Result<Granted, NotPlaced> {
        let reservation = reservation_id(random)?;
        let (expires, seed) = (now.after(ttl), random.next_u64());
        let placed = self.place_and_reserve(request, &reservation, now, expires, seed)?;
        Ok(Granted {
            placement: placed.0,
            explanation: placed.1,
            reservation,
        })
    }

    pub(crate) fn waiting_woken(&self) -> Arc<Notify> {
        self.waiting.woken()
    }

    pub(crate) fn leave_queue(&mut self, ticket: Ticket) {
        self.waiting.leave(ticket);
    }

    pub(crate) fn close_waiting(&mut self) {
        self.waiting.close();
    }

    pub(crate) fn pending_view(&self, ticket: Ticket) -> Option<PendingView> {
        self.waiting.view(ticket)
    }

    /// The instances of a stack that wait, and why; by service and number.
    pub(crate) fn pending_instances(&self, stack: &str) -> HashMap<(ServiceName, u32), Arc<str>> {
        let reasons = self.waiting.reasons();
        let of_stack = reasons.filter_map(|(request, reason)| {
            let (slot, _, _) = labels::read(&request.labels)?;
            (slot.stack.as_str() == stack).then_some(((slot.service, slot.index), reason))
        });
        of_stack.collect()
    }

    pub(crate) fn pending_views(&self) -> Vec<PendingView> {
        self.waiting.views()
    }
}

/// All that a scheduler looks at, as a key: of two pieces of work that differ by name only, or by the
/// marks that tell them apart, both or none fit.
fn shape_of(request: &PlacementRequest) -> Result<String> {
    let mut shape = request.clone();
    shape.name.clear();
    for own in [SWARM_ID_LABEL, labels::INSTANCE, labels::EPOCH] {
        shape.labels.remove(own);
    }
    serde_json::to_string(&shape)
        .map_err(|error| Error::internal("a request can't be written down").with_source(error))
}

fn why(refusal: Refusal) -> Refused {
    let reason = refusal.to_string().into();
    let filters = match refusal {
        Refusal::Unplaceable { filters, .. } => filters,
        _ => Vec::new(),
    };
    Refused { filters, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s21_marks_that_tell_work_apart_make_no_shape_of_their_own() {
        let request = |name: &str, number: u32, tier: &str| {
            let mut request = PlacementRequest::new("nginx");
            request.name = name.to_owned();
            request.labels.insert("tier", tier);
            for own in [SWARM_ID_LABEL, labels::INSTANCE, labels::EPOCH] {
                request.labels.insert(own, number.to_string());
            }
            shape_of(&request).unwrap()
        };
        assert_eq!(request("web-1", 1, "a"), request("web-2", 2, "a"));
        assert_ne!(request("web-1", 1, "a"), request("web-1", 1, "b"));
    }
}
