use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use longshore_core::{
    Error, ErrorKind, Explanation, Placement, PlacementRequest, ReservationId, Result, Timestamp,
};
use tokio::sync::{Notify, oneshot};

use super::{
    Comes, Newcomer, Owner, PendingQueue, PendingView, Refused, Relief, Shares, Ticket, Todo,
    shut_down,
};

/// Those who wait for room, with what they asked for.
#[derive(Debug)]
pub(crate) struct Waiting {
    queue: PendingQueue,
    waiters: HashMap<Ticket, Waiter>,
    /// Told when there is something to try, or an earlier deadline.
    woken: Arc<Notify>,
    closed: bool,
}

/// What is asked for, and by whom.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) request: Arc<PlacementRequest>,
    pub(crate) owner: Owner,
    pub(crate) since: Timestamp,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) comes: Comes,
}

#[derive(Debug)]
struct Waiter {
    request: Arc<PlacementRequest>,
    owner: Owner,
    since: Timestamp,
    deadline: Option<Timestamp>,
    tries: u32,
    answer: oneshot::Sender<Result<Granted>>,
}

/// A node was found, and room is held on it.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) placement: Placement,
    pub(crate) explanation: Explanation,
    pub(crate) reservation: ReservationId,
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Queued {
    Found(Box<Granted>),
    Waits(Ticket, oneshot::Receiver<Result<Granted>>),
}

impl Waiting {
    /// For as many as there are places to share.
    pub(crate) fn new(places: Shares) -> Self {
        Self {
            queue: PendingQueue::new(places),
            waiters: HashMap::new(),
            woken: Arc::default(),
            closed: false,
        }
    }

    pub(crate) fn woken(&self) -> Arc<Notify> {
        Arc::clone(&self.woken)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether work of this shape waits already: what comes after it waits too.
    pub(crate) fn has_shape(&self, key: &str) -> bool {
        self.queue.has_shape(key)
    }

    /// Something changed that may let work in.
    pub(crate) fn relieve(&mut self, relief: Relief) {
        if relief != Relief::NONE && !self.is_empty() && self.queue.relieve(relief) {
            self.woken.notify_one();
        }
    }

    /// Takes in work.
    ///
    /// # Errors
    /// As for [`PendingQueue::push`]; [`ErrorKind::Cancelled`] after [`close`](Self::close).
    pub(crate) fn push(&mut self, key: String, wish: Wish, refused: &Refused) -> Result<Queued> {
        if self.closed {
            return Err(shut_down());
        }
        let Wish {
            request,
            owner,
            since,
            deadline,
            comes,
        } = wish;
        let newcomer = Newcomer {
            owner: owner.clone(),
            priority: request.priority,
            deadline,
            comes,
        };
        let ticket = self.queue.push(key, newcomer, refused)?;
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter {
            request,
            owner,
            since,
            deadline,
            tries: 0,
            answer,
        };
        self.waiters.insert(ticket, waiter);
        // Its deadline may be the next.
        self.woken.notify_one();
        Ok(Queued::Waits(ticket, answered))
    }

    /// Nobody waits for this any more.
    pub(crate) fn leave(&mut self, ticket: Ticket) {
        self.queue.withdraw(ticket);
        self.waiters.remove(&ticket);
    }

    /// The next to try, with what it asks for; who gave up is told on the way.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<(Ticket, Arc<PlacementRequest>)> {
        loop {
            let reason = |queue: &PendingQueue, ticket| queue.reason(ticket).unwrap_or_default();
            match self.queue.poll(now)? {
                Todo::Try(ticket) => match self.waiters.get_mut(&ticket) {
                    Some(waiter) => {
                        waiter.tries += 1;
                        return Some((ticket, Arc::clone(&waiter.request)));
                    }
                    None => self.queue.withdraw(ticket),
                },
                Todo::GiveUp(ticket) => {
                    let reason = reason(&self.queue, ticket);
                    self.queue.withdraw(ticket);
                    if let Some(waiter) = self.waiters.remove(&ticket) {
                        let until = waiter.deadline.unwrap_or(now);
                        let waited = until.since(waiter.since);
                        let text = format!("{reason}\nit waited for room for {waited:?}");
                        let error = Error::new(ErrorKind::Unplaceable, text);
                        let _ = waiter.answer.send(Err(error));
                    }
                }
            }
        }
    }

    /// When there is something to do without any change.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.queue.next_deadline()
    }

    /// It waits on.
    pub(crate) fn refused(&mut self, ticket: Ticket, refused: &Refused) {
        self.queue.refused(ticket, refused);
    }

    /// Tells how it ended. Gives back what nobody took.
    pub(crate) fn answer(&mut self, ticket: Ticket, answer: Result<Granted>) -> Option<Granted> {
        match &answer {
            Ok(_) => self.queue.placed(ticket),
            Err(_) => self.queue.withdraw(ticket),
        }
        let waiter = self.waiters.remove(&ticket);
        let untaken = match waiter {
            Some(waiter) => waiter.answer.send(answer).err()?,
            None => answer,
        };
        untaken.ok()
    }

    /// Nothing is placed any more: everybody is told so.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.waiters.clear();
        self.queue = PendingQueue::new(Shares::new("places", 0, None));
    }

    /// Whether work of that name waits. Names are asked for seldom.
    pub(crate) fn has_name(&self, name: &str) -> bool {
        let mut waiters = self.waiters.values();
        waiters.any(|waiter| waiter.request.name == name)
    }

    /// Who waits, and why.
    pub(crate) fn reasons(&self) -> impl Iterator<Item = (&PlacementRequest, Arc<str>)> {
        let waiters = self.waiters.iter();
        waiters.filter_map(|(ticket, waiter)| Some((&*waiter.request, self.queue.reason(*ticket)?)))
    }

    pub(crate) fn view(&self, ticket: Ticket) -> Option<PendingView> {
        let waiter = self.waiters.get(&ticket)?;
        Some(PendingView {
            number: ticket.number(),
            request: PlacementRequest::clone(&waiter.request),
            owner: waiter.owner.name().map(str::to_owned),
            since: waiter.since,
            deadline: waiter.deadline,
            reason: self.queue.reason(ticket)?.to_string(),
            tries: waiter.tries,
        })
    }

    /// All of them, in the order in which they would be tried.
    pub(crate) fn views(&self) -> Vec<PendingView> {
        let order: VecDeque<Ticket> = self.queue.in_order().into();
        order.into_iter().filter_map(|it| self.view(it)).collect()
    }
}
