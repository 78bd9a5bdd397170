use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use longshore_core::{Error, ErrorKind, Result, Timestamp};

use super::Relief;

/// Work that no node could take, in the order in which it is tried again: the most important first,
/// then the oldest. Whoever needs little is not held up by who needs much.
///
/// Pure: it is told what was refused and what changed, and says what to try ([`poll`](Self::poll)).
/// Work of one shape (all that a scheduler looks at but the name) is tried together: if one of them
/// is refused, so are the others. A shape that was refused is tried again only after a change that
/// could help it.
#[derive(Debug)]
pub(crate) struct PendingQueue {
    capacity: usize,
    next: u64,
    by_key: HashMap<String, u64>,
    shapes: BTreeMap<u64, Shape>,
    tickets: HashMap<Ticket, Entry>,
    /// Shapes to try.
    ready: BTreeSet<(Reverse<i32>, Ticket, u64)>,
    deadlines: BTreeSet<(Timestamp, Ticket)>,
}

/// One who waits; in the order of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ticket(u64);

impl Ticket {
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Try to place it, and say how that went.
    Try(Ticket),
    /// It waited as long as it wanted to: [withdraw](PendingQueue::withdraw) it.
    GiveUp(Ticket),
}

/// By which filters work was refused, and in which words.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) filters: Vec<String>,
    pub(crate) reason: Arc<str>,
}

#[derive(Debug)]
struct Shape {
    key: String,
    priority: i32,
    members: BTreeSet<Ticket>,
    /// Why it was refused last.
    reason: Arc<str>,
    /// What can help since the last refusal; nothing while it is to be tried.
    waits_for: Option<Relief>,
}

#[derive(Debug)]
struct Entry {
    shape: u64,
    deadline: Option<Timestamp>,
}

impl PendingQueue {
    /// For at most so many.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            next: 0,
            by_key: HashMap::new(),
            shapes: BTreeMap::new(),
            tickets: HashMap::new(),
            ready: BTreeSet::new(),
            deadlines: BTreeSet::new(),
        }
    }

    /// Whether other work of this shape waits: it can't go before that.
    pub(crate) fn has_shape(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Takes in work that was refused, or whose shape [waits](Self::has_shape) already.
    ///
    /// # Errors
    /// [`ErrorKind::ResourceExhausted`] when it is full.
    pub(crate) fn push(
        &mut self,
        key: String,
        priority: i32,
        refused: &Refused,
        deadline: Option<Timestamp>,
    ) -> Result<Ticket> {
        if self.tickets.len() >= self.capacity {
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!(
                    "{} pieces of work wait for room already: nothing more is queued before some \
                     are placed or given up",
                    self.capacity
                ),
            ));
        }
        let ticket = Ticket(self.next);
        self.next += 1;
        let id = *self.by_key.entry(key.clone()).or_insert(ticket.0);
        let shape = self.shapes.entry(id).or_insert_with(|| Shape {
            key,
            priority,
            members: BTreeSet::new(),
            reason: Arc::clone(&refused.reason),
            waits_for: Some(Relief::of_filters(&refused.filters)),
        });
        shape.members.insert(ticket);
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, ticket));
        }
        let entry = Entry {
            shape: id,
            deadline,
        };
        self.tickets.insert(ticket, entry);
        Ok(ticket)
    }

    /// Something changed. Says whether there is anything to try because of it.
    pub(crate) fn relieve(&mut self, relief: Relief) -> bool {
        let mut any = false;
        for (id, shape) in &mut self.shapes {
            if shape.waits_for.is_some_and(|needed| needed.meets(relief)) {
                shape.waits_for = None;
                self.ready.extend(shape.place(*id));
                any = true;
            }
        }
        any
    }

    /// What to do now, if anything. It is told again until its outcome is.
    pub(crate) fn poll(&self, now: Timestamp) -> Option<Todo> {
        if let Some((deadline, ticket)) = self.deadlines.first().copied()
            && deadline <= now
        {
            return Some(Todo::GiveUp(ticket));
        }
        let (_, ticket, _) = self.ready.first()?;
        Some(Todo::Try(*ticket))
    }

    /// When there is something to do without any change.
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// It was tried and refused: its shape waits on.
    pub(crate) fn refused(&mut self, ticket: Ticket, refused: &Refused) {
        let Some(entry) = self.tickets.get(&ticket) else {
            return;
        };
        if let Some(shape) = self.shapes.get_mut(&entry.shape) {
            if let Some(place) = shape.place(entry.shape) {
                self.ready.remove(&place);
            }
            shape.reason = Arc::clone(&refused.reason);
            shape.waits_for = Some(Relief::of_filters(&refused.filters));
        }
    }

    /// Why it was refused last.
    pub(crate) fn reason(&self, ticket: Ticket) -> Option<Arc<str>> {
        let shape = self.shapes.get(&self.tickets.get(&ticket)?.shape)?;
        Some(Arc::clone(&shape.reason))
    }

    /// It was placed, or nobody wants it any more.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) {
        let Some(entry) = self.tickets.remove(&ticket) else {
            return;
        };
        if let Some(deadline) = entry.deadline {
            self.deadlines.remove(&(deadline, ticket));
        }
        let Some(shape) = self.shapes.get_mut(&entry.shape) else {
            return;
        };
        if let Some(place) = shape.place(entry.shape) {
            self.ready.remove(&place);
        }
        shape.members.remove(&ticket);
        if shape.members.is_empty() {
            self.by_key.remove(&shape.key);
            self.shapes.remove(&entry.shape);
        } else if shape.waits_for.is_none() {
            self.ready.extend(shape.place(entry.shape));
        }
    }

    /// All who wait, in the order in which they would be tried.
    pub(crate) fn in_order(&self) -> Vec<Ticket> {
        let mut all: Vec<_> = self
            .shapes
            .values()
            .flat_map(|shape| {
                shape
                    .members
                    .iter()
                    .map(|ticket| (Reverse(shape.priority), *ticket))
            })
            .collect();
        all.sort_unstable();
        all.into_iter().map(|(_, ticket)| ticket).collect()
    }
}

impl Shape {
    /// Where it stands among those that are to be tried.
    fn place(&self, id: u64) -> Option<(Reverse<i32>, Ticket, u64)> {
        let first = self.members.first()?;
        Some((Reverse(self.priority), *first, id))
    }
}

#[cfg(test)]
mod tests;
