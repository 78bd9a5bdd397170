mod queue;
mod relief;
mod run;
mod waiting;

pub(crate) use self::{
    queue::{PendingQueue, Refused, Ticket, Todo},
    relief::{Relief, Told, has_more},
    run::follow,
    waiting::{Granted, Queued, Waiting},
};

use std::{fmt, sync::Arc, time::Duration};

use longshore_core::{
    Error, ErrorKind, Explanation, PlacementRequest, ReservationId, Result, Timestamp,
};
use tokio::sync::oneshot;

use crate::{Admission, NameGuard, plane::Inner};

/// Work that waits until a node can take it (S21). Its name is held meanwhile.
///
/// It is tried again when something changes that could let it in: room is given back, a node comes
/// or is healthy again, its labels change. More important work comes first, then older work; work
/// that needs little passes work that needs much. Dropping this gives up the wait.
pub struct Pending {
    inner: Arc<Inner>,
    request: PlacementRequest,
    name: Option<NameGuard>,
    state: Wait,
}

enum Wait {
    /// A node was found at once, or while nobody asked.
    Found(Box<Granted>),
    Queued(Ticket, oneshot::Receiver<Result<Granted>>),
    Over,
}

/// Work that waits, as it looks now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PendingView {
    /// Its number: none of this control plane has the same.
    pub number: u64,
    /// What is asked for, with the name.
    pub request: PlacementRequest,
    /// Since when it waits.
    pub since: Timestamp,
    /// When it gives up.
    pub deadline: Option<Timestamp>,
    /// Why it was refused when it, or work like it, was tried last.
    pub reason: String,
    /// How often it was tried itself.
    pub tries: u32,
}

impl Pending {
    pub(crate) fn take(
        inner: &Arc<Inner>,
        request: &PlacementRequest,
        name: Option<&str>,
        patience: Option<Duration>,
    ) -> Result<Self> {
        let mut request = request.clone();
        if let Some(name) = name {
            name.clone_into(&mut request.name);
        }
        let name = match request.name.as_str() {
            "" => None,
            name => Some(NameGuard::take(inner, name)?),
        };
        let now = inner.clock.now();
        let deadline = patience.map(|patience| now.after(patience));
        let mut state = inner.cluster.lock();
        let ttl = inner.options.reservation_ttl;
        let queued = state.enqueue(&request, deadline, now, ttl, &*inner.random)?;
        drop(state);
        Ok(Self {
            inner: Arc::clone(inner),
            request,
            name,
            state: match queued {
                Queued::Found(granted) => Wait::Found(granted),
                Queued::Waits(ticket, answer) => Wait::Queued(ticket, answer),
            },
        })
    }

    /// What is asked for, with the name.
    pub fn request(&self) -> &PlacementRequest {
        &self.request
    }

    /// How it looks in the queue; nothing if it does not wait any more.
    pub fn view(&self) -> Option<PendingView> {
        let Wait::Queued(ticket, _) = &self.state else {
            return None;
        };
        self.inner.cluster.lock().pending_view(*ticket)
    }

    /// Why it waits, node by node, as of now.
    ///
    /// # Errors
    /// As for [`ControlPlane::explain`](crate::ControlPlane::explain).
    pub fn explain(&self) -> Result<Explanation> {
        let (now, seed) = (self.inner.clock.now(), self.inner.random.next_u64());
        let mut state = self.inner.cluster.lock();
        state.explain(&self.request, now, seed)
    }

    /// Waits until room on a node is held for it. Afterwards there is nothing more to wait for.
    ///
    /// # Errors
    /// [`ErrorKind::Unplaceable`] with the last reason when its patience ended;
    /// [`ErrorKind::Cancelled`] when the control plane is shut down, and when it is asked again after
    /// it was answered.
    ///
    /// # Cancel safety
    /// Safe: it waits on, and what was found meanwhile is given to the next call.
    pub async fn admitted(&mut self) -> Result<Admission> {
        if let Wait::Queued(_, answer) = &mut self.state {
            let answered = answer.await.unwrap_or_else(|_| Err(shut_down()));
            self.state = Wait::Over;
            self.state = Wait::Found(Box::new(answered?));
        }
        match std::mem::replace(&mut self.state, Wait::Over) {
            Wait::Found(granted) => {
                let (request, name) = (self.request.clone(), self.name.take());
                Ok(Admission::of(&self.inner, request, *granted, name))
            }
            _ => Err(Error::new(
                ErrorKind::Cancelled,
                "this work does not wait any more: it was answered before",
            )),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let held: Option<ReservationId> = match std::mem::replace(&mut self.state, Wait::Over) {
            Wait::Found(granted) => Some(granted.reservation),
            Wait::Queued(ticket, mut answer) => {
                self.inner.cluster.lock().leave_queue(ticket);
                // It may have been found just before.
                let answered = answer.try_recv().ok().and_then(Result::ok);
                answered.map(|granted| granted.reservation)
            }
            Wait::Over => None,
        };
        if let Some(reservation) = held {
            self.inner.cluster.lock().release(&reservation);
        }
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending")
            .field("name", &self.request.name)
            .field("waits", &matches!(self.state, Wait::Queued(..)))
            .finish_non_exhaustive()
    }
}

fn shut_down() -> Error {
    Error::new(
        ErrorKind::Cancelled,
        "the control plane is shut down: nothing is placed any more",
    )
}
