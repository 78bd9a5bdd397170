mod lanes;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use longshore_core::{Result, Timestamp};

use self::lanes::Lanes;
use super::{Owner, Relief, Shares};

/// Work that no node could take, in the order in which it is tried again: the most important first;
/// of equally important work that of the owner who was served least lately; of one owner's the oldest.
/// Whoever needs little is not held up by who needs much.
///
/// Pure: it is told what was refused and what changed, and says what to try ([`poll`](Self::poll)).
/// Work of one shape (all that a scheduler looks at but the name) is tried together: if one of them
/// is refused, so are the others. A shape that was refused is tried again only after a change that
/// could help it.
///
/// An owner takes its place behind all who wait when it comes and whenever it was served, so it waits
/// for at most one piece of work of each of the others that are as important and fit.
#[derive(Debug)]
pub(crate) struct PendingQueue {
    shares: Shares,
    next: u64,
    by_key: HashMap<Arc<str>, u64>,
    shapes: BTreeMap<u64, Shape>,
    tickets: HashMap<Ticket, Entry>,
    lanes: Lanes,
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

/// Who comes into the queue.
#[derive(Clone, Debug)]
pub(crate) struct Newcomer {
    pub(crate) owner: Owner,
    pub(crate) priority: i32,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) comes: Comes,
}

/// Whether work is new, or was accepted before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Comes {
    New,
    /// It was placed and has come back: with its ticket of before, if it had to wait then.
    #[cfg_attr(
        not(any(feature = "endpoint", test)),
        expect(dead_code, reason = "only the endpoint's work comes back")
    )]
    Back(Option<Ticket>),
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
    key: Arc<str>,
    priority: i32,
    members: BTreeMap<Owner, BTreeSet<Ticket>>,
    /// Why it was refused last.
    reason: Arc<str>,
    /// What can help since the last refusal; nothing while it is to be tried.
    waits_for: Option<Relief>,
}

#[derive(Debug)]
struct Entry {
    shape: u64,
    owner: Owner,
    deadline: Option<Timestamp>,
}

impl PendingQueue {
    /// For at most as many as there are places to share.
    pub(crate) fn new(places: Shares) -> Self {
        Self {
            shares: places,
            next: 0,
            by_key: HashMap::new(),
            shapes: BTreeMap::new(),
            tickets: HashMap::new(),
            lanes: Lanes::default(),
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

    /// Takes in work that was refused, or whose shape [waits](Self::has_shape) already. What comes back
    /// was accepted already: it has a place, whoever took what was its own.
    ///
    /// # Errors
    /// As for [`Shares::take`], of what is new.
    pub(crate) fn push(
        &mut self,
        key: String,
        newcomer: Newcomer,
        refused: &Refused,
    ) -> Result<Ticket> {
        let Newcomer {
            owner,
            priority,
            deadline,
            comes,
        } = newcomer;
        let ticket_before = match comes {
            Comes::New => {
                self.shares.take(&owner, 1)?;
                None
            }
            Comes::Back(ticket) => {
                self.shares.keep(&owner, 1);
                ticket
            }
        };
        let unused = |ticket: &Ticket| !self.tickets.contains_key(ticket);
        let ticket = ticket_before.filter(unused).unwrap_or(Ticket(self.next));
        let fresh = self.next;
        self.next += 1;
        let key: Arc<str> = key.into();
        let id = *self.by_key.entry(Arc::clone(&key)).or_insert(fresh);
        let shape = self.shapes.entry(id).or_insert_with(|| Shape {
            key,
            priority,
            members: BTreeMap::new(),
            reason: Arc::clone(&refused.reason),
            waits_for: Some(Relief::of_filters(&refused.filters)),
        });
        self.lanes.enter(&owner);
        let own = shape.members.entry(owner.clone()).or_default();
        let before = own.first().copied();
        own.insert(ticket);
        if shape.waits_for.is_none() && before.is_none_or(|before| ticket < before) {
            if let Some(before) = before {
                self.lanes.remove(priority, &owner, before);
            }
            self.lanes.insert(priority, &owner, ticket);
        }
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, ticket));
        }
        let entry = Entry {
            shape: id,
            owner,
            deadline,
        };
        self.tickets.insert(ticket, entry);
        Ok(ticket)
    }

    /// Something changed. Says whether there is anything to try because of it.
    pub(crate) fn relieve(&mut self, relief: Relief) -> bool {
        let mut any = false;
        for shape in self.shapes.values_mut() {
            if shape.waits_for.is_some_and(|needed| needed.meets(relief)) {
                shape.waits_for = None;
                for (owner, ticket) in shape.firsts() {
                    self.lanes.insert(shape.priority, owner, ticket);
                }
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
        self.lanes.first().map(Todo::Try)
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
            if shape.waits_for.is_none() {
                for (owner, ticket) in shape.firsts() {
                    self.lanes.remove(shape.priority, owner, ticket);
                }
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

    /// It was placed: the next turn is that of others.
    pub(crate) fn placed(&mut self, ticket: Ticket) {
        if let Some(entry) = self.tickets.get(&ticket) {
            let owner = entry.owner.clone();
            self.withdraw(ticket);
            self.lanes.served(&owner);
        }
    }

    /// Nobody wants it any more.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) {
        let Some(Entry {
            shape: id,
            owner,
            deadline,
        }) = self.tickets.remove(&ticket)
        else {
            return;
        };
        self.shares.give_back(&owner, 1);
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, ticket));
        }
        let Some(shape) = self.shapes.get_mut(&id) else {
            return;
        };
        if let Some(own) = shape.members.get_mut(&owner) {
            let was_first = own.first() == Some(&ticket);
            own.remove(&ticket);
            let now_first = own.first().copied();
            if own.is_empty() {
                shape.members.remove(&owner);
            }
            if shape.waits_for.is_none() && was_first {
                self.lanes.remove(shape.priority, &owner, ticket);
                if let Some(first) = now_first {
                    self.lanes.insert(shape.priority, &owner, first);
                }
            }
        }
        if shape.members.is_empty() {
            self.by_key.remove(&shape.key);
            self.shapes.remove(&id);
        }
        self.lanes.leave(&owner);
    }

    /// All who wait, in the order in which they would be served if each fitted.
    pub(crate) fn in_order(&self) -> Vec<Ticket> {
        let mut waiting: BTreeMap<i32, BTreeMap<&Owner, BTreeSet<Ticket>>> = BTreeMap::new();
        for shape in self.shapes.values() {
            let of_priority = waiting.entry(shape.priority).or_default();
            for (owner, members) in &shape.members {
                of_priority.entry(owner).or_default().extend(members);
            }
        }
        self.lanes.in_turn(waiting)
    }
}

impl Shape {
    /// The oldest of each owner.
    fn firsts(&self) -> impl Iterator<Item = (&Owner, Ticket)> {
        let members = self.members.iter();
        members.filter_map(|(owner, own)| Some((owner, *own.first()?)))
    }
}

#[cfg(test)]
mod tests;
