//! Which node is registered or renewed when. Pure: no clock, no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use longshore_core::{
    Announcement, Backoff, Endpoint, Error, ErrorKind, Random, Registration, Result, Timestamp,
};

use super::{HeartbeatState, RegistrarOptions, RegistrarState};

#[derive(Debug)]
pub(super) struct Schedule {
    options: RegistrarOptions,
    random: Arc<dyn Random>,
    entries: BTreeMap<Endpoint, Entry>,
    /// Entries with nothing under way, by when they are due.
    due: BTreeSet<(Timestamp, Endpoint)>,
    under_way: usize,
    /// When the rate allows for the next request.
    next_slot: Timestamp,
    state: RegistrarState,
}

#[derive(Debug)]
struct Entry {
    announcement: Announcement,
    registration: Option<Registration>,
    /// `None` while a request is under way.
    due: Option<Timestamp>,
    leaving: bool,
    /// What was announced changed while a request was under way.
    changed: bool,
    failing: bool,
    backoff: Backoff,
    state: HeartbeatState,
}

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Register(Announcement),
    Renew(Registration),
    Deregister(Registration),
}

impl Order {
    pub(super) fn endpoint(&self) -> &Endpoint {
        match self {
            Self::Register(node) => &node.endpoint,
            Self::Renew(registration) | Self::Deregister(registration) => {
                &registration.announcement.endpoint
            }
        }
    }
}

impl Schedule {
    pub(super) fn new(options: RegistrarOptions, random: Arc<dyn Random>) -> Self {
        Self {
            options,
            random,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            under_way: 0,
            next_slot: Timestamp::ZERO,
            state: RegistrarState::default(),
        }
    }

    pub(super) fn state(&self) -> RegistrarState {
        self.state.clone()
    }

    pub(super) fn state_of(&self, endpoint: &Endpoint) -> Option<HeartbeatState> {
        let entry = self.entries.get(endpoint)?;
        Some(entry.state.clone())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn add(&mut self, node: &Announcement, now: Timestamp) -> Result<()> {
        let capacity = self.options.capacity();
        if let Some(entry) = self.entries.get_mut(&node.endpoint) {
            entry.leaving = false;
            if entry.announcement != *node {
                entry.announcement = node.clone();
                entry.changed = true;
                self.reschedule(&node.endpoint, now);
            }
            return Ok(());
        }
        if self.entries.len() >= capacity {
            let message = format!(
                "{capacity} nodes are all that can be renewed every {:?} with {} requests a \
                 second: raise the rate or the heartbeat",
                self.options.heartbeat, self.options.rate
            );
            return Err(Error::new(ErrorKind::ResourceExhausted, message)
                .with_context("endpoint", &node.endpoint));
        }
        // A twentieth of the time to live leaves room for tries that fail.
        let backoff = Backoff::new(self.options.ttl / 100, self.options.ttl / 20);
        let entry = Entry {
            announcement: node.clone(),
            registration: None,
            due: Some(now),
            leaving: false,
            changed: false,
            failing: false,
            backoff,
            state: HeartbeatState::default(),
        };
        self.entries.insert(node.endpoint.clone(), entry);
        self.due.insert((now, node.endpoint.clone()));
        Ok(())
    }

    pub(super) fn remove(&mut self, endpoint: &Endpoint, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(endpoint) else {
            return;
        };
        entry.leaving = true;
        // A lost answer may have registered it all the same: nothing is known to take back then.
        if entry.registration.is_none() && entry.due.is_some() {
            return self.drop_entry(endpoint);
        }
        self.reschedule(endpoint, now);
    }

    pub(super) fn remove_all(&mut self, now: Timestamp) {
        let endpoints: Vec<_> = self.entries.keys().cloned().collect();
        for endpoint in endpoints {
            self.remove(&endpoint, now);
        }
    }

    /// The next request, if one is due and there is room for it.
    pub(super) fn poll(&mut self, now: Timestamp) -> Option<Order> {
        if self.under_way >= self.options.concurrency || now < self.next_slot {
            return None;
        }
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, endpoint) = self.due.pop_first()?;
        let entry = self.entries.get_mut(&endpoint)?;
        entry.due = None;
        self.under_way += 1;
        self.next_slot = now.after(Duration::from_secs(1) / self.options.rate);
        Some(match (&entry.registration, entry.leaving) {
            (Some(registration), true) => Order::Deregister(registration.clone()),
            (Some(registration), false) if !entry.changed => Order::Renew(registration.clone()),
            _ => {
                entry.changed = false;
                Order::Register(entry.announcement.clone())
            }
        })
    }

    /// When [`poll`](Self::poll) may have something; `None` until a request ends or a node is added.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        if self.under_way >= self.options.concurrency {
            return None;
        }
        let (at, _) = self.due.first()?;
        Some(*at.max(&self.next_slot))
    }

    /// Takes in how a request ended. For one to deregister, the registration is that one.
    pub(super) fn answer(&mut self, order: &Order, result: Result<Registration>, now: Timestamp) {
        self.under_way -= 1;
        let endpoint = order.endpoint();
        let Some(entry) = self.entries.get_mut(endpoint) else {
            return;
        };
        if matches!(order, Order::Deregister(_)) {
            match result {
                Err(error) if error.is_retryable() && entry.leaving => {}
                _ if entry.leaving => return self.drop_entry(endpoint),
                _ => entry.registration = None,
            }
            let wait = entry.backoff.next_delay(&*self.random);
            return self.schedule(endpoint, now.after(wait));
        }
        let was = (entry.registration.is_some(), entry.failing);
        let wait = match result {
            Ok(registration) => {
                entry.registration = Some(registration);
                entry.failing = false;
                entry.backoff.reset();
                entry.state.registered = true;
                entry.state.last_success = Some(now);
                self.state.last_success = Some(now);
                let jitter = 0.9 + 0.2 * self.random.unit();
                self.options.heartbeat.mul_f64(jitter)
            }
            // It ended meanwhile, which is no failure of the backend.
            Err(error) if error.kind() == ErrorKind::NotFound && was.0 => {
                entry.registration = None;
                entry.state.registered = false;
                Duration::ZERO
            }
            Err(error) => {
                entry.failing = true;
                let ended = |held: &Registration| held.expires <= now;
                entry.state.registered &= !entry.registration.as_ref().is_some_and(ended);
                entry.state.last_error = Some((error.chain(), now));
                self.state.last_error = Some((error.chain(), now));
                entry.backoff.next_delay(&*self.random)
            }
        };
        let is = (entry.registration.is_some(), entry.failing);
        let count = |was: bool, is: bool| usize::from(is).wrapping_sub(usize::from(was));
        self.state.registered = self.state.registered.wrapping_add(count(was.0, is.0));
        self.state.failing = self.state.failing.wrapping_add(count(was.1, is.1));
        let wait = match entry.leaving || entry.changed {
            true if entry.registration.is_none() && entry.leaving => {
                return self.drop_entry(endpoint);
            }
            true => Duration::ZERO,
            false => wait,
        };
        self.schedule(endpoint, now.after(wait));
    }

    fn reschedule(&mut self, endpoint: &Endpoint, at: Timestamp) {
        let Some(entry) = self.entries.get_mut(endpoint) else {
            return;
        };
        // With a request under way, its end decides.
        if let Some(before) = entry.due {
            self.due.remove(&(before, endpoint.clone()));
            self.schedule(endpoint, at);
        }
    }

    fn schedule(&mut self, endpoint: &Endpoint, at: Timestamp) {
        if let Some(entry) = self.entries.get_mut(endpoint) {
            entry.due = Some(at);
            self.due.insert((at, endpoint.clone()));
        }
    }

    fn drop_entry(&mut self, endpoint: &Endpoint) {
        if let Some(entry) = self.entries.remove(endpoint) {
            self.state.registered -= usize::from(entry.registration.is_some());
            self.state.failing -= usize::from(entry.failing);
            if let Some(at) = entry.due {
                self.due.remove(&(at, endpoint.clone()));
            }
        }
    }
}
