//! What this process registered. Pure.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use longshore_core::{
    Announcement, Endpoint, Error, ErrorKind, Random, Registration, Result, Timestamp,
};

use super::wire::LARGEST_PAYLOAD;

#[derive(Debug, Default)]
pub(super) struct Own(BTreeMap<Endpoint, Registration>);

impl Own {
    pub(super) fn register(
        &mut self,
        node: &Announcement,
        ttl: Duration,
        random: &dyn Random,
        now: Timestamp,
    ) -> Result<Registration> {
        if ttl.is_zero() {
            return Err(Error::invalid(
                "a registration needs a time to live above zero",
            ));
        }
        let new = Registration::new(node.clone(), ttl, now.after(ttl), random.hex(8));
        let old = self.0.insert(node.endpoint.clone(), new.clone());
        if self.payload().len() > LARGEST_PAYLOAD {
            match old {
                Some(old) => self.0.insert(node.endpoint.clone(), old),
                None => self.0.remove(&node.endpoint),
            };
            return Err(Error::new(
                ErrorKind::ResourceExhausted,
                format!("what one gossip member announces fits into {LARGEST_PAYLOAD} bytes"),
            )
            .with_context("endpoint", &node.endpoint));
        }
        Ok(new)
    }

    pub(super) fn renew(&mut self, held: &Registration, now: Timestamp) -> Result<Registration> {
        let endpoint = &held.announcement.endpoint;
        match self.0.get_mut(endpoint) {
            Some(entry) if entry.handle == held.handle => {
                entry.expires = now.after(entry.ttl);
                Ok(entry.clone())
            }
            _ => Err(
                Error::not_found("the registration has ended; register again")
                    .with_context("endpoint", endpoint),
            ),
        }
    }

    pub(super) fn deregister(&mut self, held: &Registration) {
        let endpoint = &held.announcement.endpoint;
        if self
            .0
            .get(endpoint)
            .is_some_and(|entry| entry.handle == held.handle)
        {
            self.0.remove(endpoint);
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        self.0.retain(|_, entry| entry.expires > now);
    }

    pub(super) fn next_deadline(&self) -> Option<Timestamp> {
        self.0.values().map(|entry| entry.expires).min()
    }

    /// As it is told to others.
    pub(super) fn payload(&self) -> Bytes {
        let all: Vec<&Announcement> = self.0.values().map(|entry| &entry.announcement).collect();
        if all.is_empty() {
            return Bytes::new();
        }
        serde_json::to_vec(&all).unwrap_or_default().into()
    }
}

/// What another member announces.
pub(super) fn announced(payload: &[u8]) -> Result<Vec<Announcement>> {
    if payload.is_empty() {
        return Ok(Vec::new());
    }
    serde_json::from_slice(payload).map_err(|error| {
        Error::protocol("a gossip member announces something else than nodes").with_source(error)
    })
}
