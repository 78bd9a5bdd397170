//! Which nodes are in force, given what the store tells. Pure: no clock, no I/O.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use longshore_core::{
    Announcement, Endpoint, Error, KvEntry, MembershipEvent, Revision, Timestamp,
};

use super::{Listing, value};
use crate::diff::{Nodes, news};

/// What is known of one key.
#[derive(Debug)]
struct Known {
    revision: Revision,
    /// The last good value. Stays when a later one can't be read.
    node: Option<Announcement>,
    bad: bool,
}

/// The store's entries, and the nodes in force: those that were told and not removed.
///
/// Arrivals count at once. Departures count at once as long as, with those of the last grace
/// period, they are at most half of the nodes; else they are held until the grace period is over
/// and a fresh reading has confirmed them.
#[derive(Debug)]
pub(super) struct View {
    grace: Duration,
    entries: BTreeMap<String, Known>,
    /// How many keys stand for an endpoint: hardly ever more than one.
    holders: BTreeMap<Endpoint, usize>,
    in_force: Option<Nodes>,
    missing: BTreeSet<Endpoint>,
    /// When nodes were removed, within the last grace period.
    removed: VecDeque<Timestamp>,
    held_until: Option<Timestamp>,
    /// Every change up to here is part of what was read.
    loaded: Revision,
    /// Whether the store could not be asked since.
    cut_off: bool,
    due: VecDeque<MembershipEvent>,
}

impl View {
    pub(super) fn new(grace: Duration) -> Self {
        Self {
            grace,
            entries: BTreeMap::new(),
            holders: BTreeMap::new(),
            in_force: None,
            missing: BTreeSet::new(),
            removed: VecDeque::new(),
            held_until: None,
            loaded: Revision(0),
            cut_off: false,
            due: VecDeque::new(),
        }
    }

    /// The next event for the watcher.
    pub(super) fn poll_event(&mut self) -> Option<MembershipEvent> {
        self.due.pop_front()
    }

    /// When the directory must be read again, because departures are held until then.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.held_until
    }

    /// The whole directory was read.
    pub(super) fn load(&mut self, listing: Listing, now: Timestamp) {
        self.loaded = listing.revision;
        let mut before = std::mem::take(&mut self.entries);
        self.holders.clear();
        for entry in listing.entries {
            let known = before.remove(&entry.key);
            self.enter(entry, known);
        }
        let mut listed = Nodes::new();
        for node in self
            .entries
            .values()
            .filter_map(|known| known.node.as_ref())
        {
            listed.insert(node.endpoint.clone(), node.clone());
        }
        let recovered = std::mem::take(&mut self.cut_off);
        let Some(in_force) = &mut self.in_force else {
            let all = listed.values().cloned().collect();
            // The set comes before what is wrong with it.
            self.due.push_front(MembershipEvent::Reset(all));
            self.in_force = Some(listed);
            return;
        };
        self.missing = in_force
            .keys()
            .filter(|endpoint| !listed.contains_key(*endpoint))
            .cloned()
            .collect();
        for endpoint in &self.missing {
            if let Some(node) = in_force.get(endpoint) {
                listed.insert(endpoint.clone(), node.clone());
            }
        }
        let told = (!recovered).then_some(&*in_force);
        self.due.extend(news(told, &listed));
        *in_force = listed;
        let confirmed = self.held_until.is_some_and(|until| now >= until);
        self.depart(now, confirmed);
    }

    /// A key was written.
    pub(super) fn put(&mut self, entry: KvEntry, now: Timestamp) {
        let known = self.entries.get(&entry.key).map(|known| known.revision);
        // Already part of what was read.
        if entry.revision <= self.loaded || known.is_some_and(|known| entry.revision <= known) {
            return;
        }
        let key = entry.key.clone();
        let before = self.entries.remove(&key);
        let old = before.as_ref().and_then(|known| known.node.clone());
        if let Some(old) = &old {
            self.let_go(&old.endpoint);
        }
        self.enter(entry, before);
        let node = self.entries.get(&key).and_then(|known| known.node.clone());
        if let (Some(node), Some(in_force)) = (&node, &mut self.in_force) {
            self.missing.remove(&node.endpoint);
            if in_force.get(&node.endpoint) != Some(node) {
                in_force.insert(node.endpoint.clone(), node.clone());
                self.due.push_back(MembershipEvent::Added(node.clone()));
            }
        }
        if let Some(old) = old.filter(|old| !self.holders.contains_key(&old.endpoint)) {
            self.missing.insert(old.endpoint);
        }
        self.depart(now, false);
    }

    /// A key was deleted.
    pub(super) fn delete(&mut self, key: &str, revision: Revision, now: Timestamp) {
        let newer = self
            .entries
            .get(key)
            .is_none_or(|known| known.revision > revision);
        if newer || revision <= self.loaded {
            return;
        }
        if let Some(node) = self.entries.remove(key).and_then(|known| known.node) {
            self.let_go(&node.endpoint);
            if !self.holders.contains_key(&node.endpoint) {
                self.missing.insert(node.endpoint);
            }
        }
        self.depart(now, false);
    }

    /// The store could not be asked: what is held stays held for another grace period, and the next
    /// reading is told as a whole.
    pub(super) fn failed(&mut self, error: Error, now: Timestamp) {
        self.cut_off = true;
        if self.held_until.is_some() {
            self.held_until = Some(now.after(self.grace));
        }
        self.due.push_back(MembershipEvent::Problem(error));
    }

    /// Notes an entry; a bad value leaves what was known, and is told once.
    fn enter(&mut self, entry: KvEntry, before: Option<Known>) {
        let (was, was_bad, at) = match before {
            Some(known) => (known.node, known.bad, Some(known.revision)),
            None => (None, false, None),
        };
        let (node, bad) = match value::read(&entry) {
            Ok(node) => (Some(node), false),
            Err(error) => {
                if !(was_bad && at == Some(entry.revision)) {
                    self.due.push_back(MembershipEvent::Problem(error));
                }
                (was, true)
            }
        };
        if let Some(node) = &node {
            *self.holders.entry(node.endpoint.clone()).or_default() += 1;
        }
        let known = Known {
            revision: entry.revision,
            node,
            bad,
        };
        self.entries.insert(entry.key, known);
    }

    fn let_go(&mut self, endpoint: &Endpoint) {
        if let Some(count) = self.holders.get_mut(endpoint) {
            *count -= 1;
            if *count == 0 {
                self.holders.remove(endpoint);
            }
        }
    }

    /// Removes what is missing, or holds it.
    fn depart(&mut self, now: Timestamp, confirmed: bool) {
        let Some(in_force) = &mut self.in_force else {
            return;
        };
        if self.missing.is_empty() {
            self.held_until = None;
            return;
        }
        let grace = self.grace;
        self.removed.retain(|at| at.after(grace) > now);
        let gone = self.missing.len() + self.removed.len();
        let most = gone * 2 > in_force.len() + self.removed.len();
        if !confirmed && (self.held_until.is_some() || most) && !grace.is_zero() {
            self.held_until.get_or_insert(now.after(grace));
            return;
        }
        self.held_until = None;
        for endpoint in std::mem::take(&mut self.missing) {
            in_force.remove(&endpoint);
            self.removed.push_back(now);
            self.due.push_back(MembershipEvent::Removed(endpoint));
        }
    }
}

#[cfg(test)]
mod tests;
