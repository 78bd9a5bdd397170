mod owner;
mod queue;
mod relief;
mod run;
mod shares;
mod waiting;

pub(crate) use self::{
    owner::Owner,
    queue::{Comes, Newcomer, PendingQueue, Refused, Ticket, Todo},
    relief::{Relief, Told, has_more},
    run::follow,
    shares::Shares,
    waiting::{Granted, Queued, Waiting, Wish},
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
/// or is healthy again, its labels change. More important work comes first; with equally important
/// work the owners take turns, each with its oldest; work that needs little passes work that needs
/// much. Dropping this gives up the wait.
pub struct Pending {
    inner: Arc<Inner>,
    request: Arc<PlacementRequest>,
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
    /// Whose it is, as it was told to [`enqueue_for`](crate::ControlPlane::enqueue_for) or proven to
    /// the endpoint; nothing for work of stacks and of the program itself.
    pub owner: Option<String>,
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
    /// Takes the name that the request has, and places it or lets it wait.
    pub(crate) fn take(
        inner: &Arc<Inner>,
        request: PlacementRequest,
        owner: Owner,
        patience: Option<Duration>,
    ) -> Result<Self> {
        let mut name = match request.name.as_str() {
            "" => None,
            name => Some(NameGuard::take(inner, name)?),
        };
        let since = inner.clock.now();
        let wish = Wish {
            request: Arc::new(request),
            owner,
            since,
            deadline: patience.map(|patience| since.after(patience)),
            comes: Comes::New,
        };
        Self::enter(inner, wish, &mut name)
    }

    /// Places it or lets it wait, under a name that is held already; on an error the name stays with
    /// the caller.
    pub(crate) fn enter(
        inner: &Arc<Inner>,
        wish: Wish,
        name: &mut Option<NameGuard>,
    ) -> Result<Self> {
        let request = Arc::clone(&wish.request);
        let (now, ttl) = (inner.clock.now(), inner.options.reservation_ttl);
        let queued = {
            let mut state = inner.cluster.lock();
            state.enqueue(wish, now, ttl, &*inner.random)?
        };
        Ok(Self {
            inner: Arc::clone(inner),
            request,
            name: name.take(),
            state: match queued {
                Queued::Found(granted) => Wait::Found(granted),
                Queued::Waits(ticket, answer) => Wait::Queued(ticket, answer),
            },
        })
    }

    /// Its place in the queue, if it has one.
    #[cfg(feature = "endpoint")]
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        match &self.state {
            Wait::Queued(ticket, _) => Some(*ticket),
            _ => None,
        }
    }

    /// What is asked for, shared.
    #[cfg(feature = "endpoint")]
    pub(crate) fn shared_request(&self) -> &Arc<PlacementRequest> {
        &self.request
    }

    /// The name, if it is held here still.
    #[cfg(feature = "endpoint")]
    pub(crate) fn into_name(mut self) -> Option<NameGuard> {
        self.name.take()
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
                let (request, name) = (Arc::clone(&self.request), self.name.take());
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
