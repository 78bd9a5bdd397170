//! What the store must hold, and what must have been told of it: a model without a store.

use std::collections::BTreeMap;

use longshore_core::{Announcement, Endpoint, Labels, Registration};

use super::steps::NODES;

/// A key's value: the node it stands for, unless it stands for none.
#[derive(Clone, Debug)]
struct Entry {
    value: String,
    node: Option<Announcement>,
    /// The handle of the registration that it ends with.
    owner: Option<String>,
}

/// A registration that was made; its lease may have ended.
#[derive(Clone, Debug)]
pub struct Held {
    pub registration: Registration,
    pub short: bool,
    pub alive: bool,
}

#[derive(Debug, Default)]
pub struct Oracle {
    directory: String,
    keys: BTreeMap<u8, Entry>,
    held: BTreeMap<u8, Vec<Held>>,
    /// Each change of each key: a value, or nothing where it was deleted.
    told: BTreeMap<String, Vec<Option<String>>>,
    written: u64,
}

impl Oracle {
    pub fn new(directory: &str) -> Self {
        Self {
            directory: directory.to_owned(),
            ..Self::default()
        }
    }

    pub fn key(&self, number: u8) -> String {
        format!("{}{}", self.directory, endpoint(number))
    }

    /// What the next write of a node says: no other write says the same.
    pub fn next(&mut self, number: u8) -> Announcement {
        self.written += 1;
        let labels = Labels::new().with(VERSION, self.written.to_string());
        Announcement::new(endpoint(number)).with_labels(labels)
    }

    pub fn registered(&mut self, number: u8, registration: Registration, short: bool) {
        let node = registration.announcement.clone();
        let owner = Some(registration.handle.clone());
        let value = text(&node);
        self.enter(number, value, Some(node), owner);
        self.held.entry(number).or_default().push(Held {
            registration,
            short,
            alive: true,
        });
    }

    pub fn put(&mut self, number: u8, value: String, node: Option<Announcement>) {
        self.enter(number, value, node, None);
    }

    fn enter(
        &mut self,
        number: u8,
        value: String,
        node: Option<Announcement>,
        owner: Option<String>,
    ) {
        self.tell(number, Some(value.clone()));
        let entry = Entry { value, node, owner };
        self.keys.insert(number, entry);
    }

    /// Whether there was such a key.
    pub fn deleted(&mut self, number: u8) -> bool {
        let found = self.keys.remove(&number).is_some();
        if found {
            self.tell(number, None);
        }
        found
    }

    /// The lease of a registration ended: its key goes, unless it was written again since.
    pub fn ended(&mut self, number: u8, handle: &str) {
        for held in self.held.entry(number).or_default() {
            if held.registration.handle == handle {
                held.alive = false;
            }
        }
        let owns = |entry: &Entry| entry.owner.as_deref() == Some(handle);
        if self.keys.get(&number).is_some_and(owns) {
            self.deleted(number);
        }
    }

    /// The last registration, or the one before it.
    pub fn held(&self, number: u8, last: bool) -> Option<Held> {
        let held = self.held.get(&number)?;
        let at = held.len().checked_sub(if last { 1 } else { 2 })?;
        held.get(at).cloned()
    }

    /// The oldest registration, where there are more than two: it is forgotten.
    pub fn too_many(&mut self, number: u8) -> Option<Held> {
        let held = self.held.get_mut(&number).filter(|held| held.len() > 2)?;
        Some(held.remove(0))
    }

    pub fn renewed(&mut self, number: u8, renewed: Registration) {
        for held in self.held.entry(number).or_default() {
            if held.registration.handle == renewed.handle {
                held.registration = renewed.clone();
            }
        }
    }

    /// Registrations under short leases that have not ended.
    pub fn short(&self) -> Vec<(u8, Registration)> {
        let all = self.held.iter();
        all.flat_map(|(number, held)| held.iter().map(|held| (*number, held)))
            .filter(|(_, held)| held.short && held.alive)
            .map(|(number, held)| (number, held.registration.clone()))
            .collect()
    }

    fn tell(&mut self, number: u8, value: Option<String>) {
        let key = self.key(number);
        self.told.entry(key).or_default().push(value);
    }

    /// The nodes that the store's good values stand for.
    pub fn nodes(&self) -> BTreeMap<Endpoint, Announcement> {
        let nodes = self.keys.values().filter_map(|entry| entry.node.clone());
        nodes.map(|node| (node.endpoint.clone(), node)).collect()
    }

    /// The numbers of nodes with a bad value.
    pub fn spoilt(&self) -> Vec<u8> {
        let bad = self.keys.iter().filter(|(_, entry)| entry.node.is_none());
        bad.map(|(number, _)| *number).collect()
    }

    pub fn values(&self) -> BTreeMap<String, String> {
        let keys = self.keys.iter();
        keys.map(|(number, entry)| (self.key(*number), entry.value.clone()))
            .collect()
    }

    pub fn told(&self) -> &BTreeMap<String, Vec<Option<String>>> {
        &self.told
    }
}

pub fn endpoint(number: u8) -> Endpoint {
    Endpoint::new("10.0.0.1", u16::from(number)).expect("a sound address")
}

/// A node's value with its labels.
pub fn text(node: &Announcement) -> String {
    serde_json::to_string(node).expect("it is JSON")
}

/// The label that numbers writes.
pub const VERSION: &str = "version";

/// Stands in the store from the beginning.
pub const FIRST: u8 = NODES + 1;
