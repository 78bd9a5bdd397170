use std::{collections::HashMap, sync::Arc};

use longshore_core::{Result, SessionId};

use crate::session::{
    HubLimits,
    limits::{Census, Full},
    shared::Shared,
};

/// The sessions of a hub, and who has how many.
#[derive(Debug, Default)]
pub(super) struct Places {
    sessions: HashMap<SessionId, Entry>,
    census: Census,
    /// How many have ended.
    ended: u64,
}

#[derive(Debug)]
struct Entry {
    shared: Arc<Shared>,
    /// When it ended, as a number among the others.
    ended: Option<u64>,
    /// Whether it still has a place in the census.
    counted: bool,
}

impl Places {
    /// Makes room by giving up sessions that have ended and are only kept. Gives those.
    pub(super) fn enter(&mut self, subject: &str, limits: &HubLimits) -> Result<Vec<Arc<Shared>>> {
        let mut given_up = Vec::new();
        loop {
            let Err(full) = self.census.enter(subject, limits) else {
                return Ok(given_up);
            };
            let kept = self.sessions.values_mut().filter(|entry| entry.counted);
            let kept = kept.filter(|entry| match full {
                Full::User(_) => entry.shared.who.subject == subject,
                Full::All(_) => true,
            });
            let oldest = kept
                .filter_map(|entry| Some((entry.ended?, entry)))
                .min_by_key(|(ended, _)| *ended);
            let Some((_, oldest)) = oldest else {
                return Err(full.into());
            };
            oldest.counted = false;
            self.census.leave(&oldest.shared.who.subject);
            given_up.push(Arc::clone(&oldest.shared));
        }
    }

    pub(super) fn add(&mut self, shared: Arc<Shared>) {
        let entry = Entry {
            shared: Arc::clone(&shared),
            ended: None,
            counted: true,
        };
        self.sessions.insert(shared.id.clone(), entry);
    }

    /// It has ended, and is kept.
    pub(super) fn ended(&mut self, session: &SessionId) {
        self.ended += 1;
        if let Some(entry) = self.sessions.get_mut(session) {
            entry.ended = Some(self.ended);
        }
    }

    pub(super) fn remove(&mut self, session: &SessionId) {
        if let Some(entry) = self.sessions.remove(session)
            && entry.counted
        {
            self.census.leave(&entry.shared.who.subject);
        }
    }

    pub(super) fn find(&self, session: &SessionId) -> Option<&Arc<Shared>> {
        self.sessions.get(session).map(|entry| &entry.shared)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Shared>> {
        self.sessions.values().map(|entry| &entry.shared)
    }
}
