//! The whole state as plain values, to be carried elsewhere.

use std::time::Duration;

use longshore_core::{KvEntry, KvEvent, LeaseId, Revision};

use super::{KvLimits, leases::Leases, state::State, state::size};

/// What a state holds, without when its leases end.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Image {
    pub(crate) revision: Revision,
    pub(crate) entries: Vec<KvEntry>,
    pub(crate) leases: Vec<(LeaseId, Duration)>,
    pub(crate) last_lease: u128,
    /// Changes up to here are not among the events.
    pub(crate) forgotten: Revision,
    pub(crate) events: Vec<(Revision, KvEvent)>,
}

impl State {
    pub(crate) fn image(&self) -> Image {
        Image {
            revision: self.revision,
            entries: self.entries.values().cloned().collect(),
            leases: self.leases.granted().collect(),
            last_lease: self.leases.last(),
            forgotten: self.history.forgotten,
            events: self.history.events.iter().cloned().collect(),
        }
    }

    pub(crate) fn from_image(limits: KvLimits, image: Image) -> Self {
        let mut state = Self::new(limits);
        state.revision = image.revision;
        state.leases = Leases::restore(image.last_lease, image.leases);
        for entry in image.entries {
            if let Some(lease) = entry.lease {
                state.leases.tie(lease, &entry.key);
            }
            state.bytes += size(&entry);
            state.entries.insert(entry.key.clone(), entry);
        }
        state.history.forgotten = image.forgotten;
        for (revision, event) in image.events {
            state.history.push(revision, event);
        }
        state
    }

    pub(crate) fn leases(&self) -> impl Iterator<Item = (LeaseId, Duration)> {
        self.leases.granted()
    }
}
