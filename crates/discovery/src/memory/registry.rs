//! Who is registered until when. Pure: no clock, no I/O.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use longshore_core::{Announcement, Endpoint, Error, ErrorKind, Registration, Result, Timestamp};

use crate::diff::Nodes;

/// Registrations by endpoint.
#[derive(Debug, Default)]
pub(super) struct Registry {
    entries: BTreeMap<Endpoint, Registration>,
    /// The same entries by their end, so that a call costs the same in a cluster of any size.
    by_end: BTreeSet<(Timestamp, Endpoint)>,
    /// The last handle given out; each is given once.
    handles: u64,
}

/// More nodes than any cluster has.
const MOST_ENTRIES: usize = 65_536;

impl Registry {
    /// Drops whose lease has ended.
    pub(super) fn expire(&mut self, now: Timestamp) {
        while self.by_end.first().is_some_and(|(end, _)| *end <= now) {
            if let Some((_, endpoint)) = self.by_end.pop_first() {
                self.entries.remove(&endpoint);
            }
        }
    }

    /// When the next lease ends.
    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.by_end.first().map(|(end, _)| *end)
    }

    pub(super) fn nodes(&self) -> Nodes {
        self.entries
            .iter()
            .map(|(endpoint, entry)| (endpoint.clone(), entry.announcement.clone()))
            .collect()
    }

    pub(super) fn register(
        &mut self,
        node: &Announcement,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Registration> {
        if ttl.is_zero() {
            return Err(
                Error::invalid("a registration needs a time to live above zero")
                    .with_context("endpoint", &node.endpoint),
            );
        }
        if self.entries.len() >= MOST_ENTRIES && !self.entries.contains_key(&node.endpoint) {
            let message = format!("the cluster has {MOST_ENTRIES} nodes already");
            return Err(Error::new(ErrorKind::ResourceExhausted, message));
        }
        self.handles += 1;
        let handle = self.handles.to_string();
        let entry = Registration::new(node.clone(), ttl, now.after(ttl), handle);
        let replaced = self.entries.insert(node.endpoint.clone(), entry.clone());
        if let Some(old) = replaced {
            self.by_end.remove(&(old.expires, node.endpoint.clone()));
        }
        self.by_end.insert((entry.expires, node.endpoint.clone()));
        Ok(entry)
    }

    pub(super) fn renew(
        &mut self,
        registration: &Registration,
        now: Timestamp,
    ) -> Result<Registration> {
        let endpoint = &registration.announcement.endpoint;
        match self.entries.get_mut(endpoint) {
            Some(entry) if entry.handle == registration.handle => {
                self.by_end.remove(&(entry.expires, endpoint.clone()));
                entry.expires = now.after(entry.ttl);
                self.by_end.insert((entry.expires, endpoint.clone()));
                Ok(entry.clone())
            }
            _ => Err(
                Error::not_found("the registration has ended; register again")
                    .with_context("endpoint", endpoint),
            ),
        }
    }

    pub(super) fn deregister(&mut self, registration: &Registration) {
        let endpoint = &registration.announcement.endpoint;
        if let Some(entry) = self.entries.get(endpoint)
            && entry.handle == registration.handle
        {
            self.by_end.remove(&(entry.expires, endpoint.clone()));
            self.entries.remove(endpoint);
        }
    }
}
