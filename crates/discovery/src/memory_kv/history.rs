//! The last changes, for watches. Pure.

use std::collections::VecDeque;

use longshore_core::{KvEvent, Revision};

/// Changes in order, the oldest forgotten first.
#[derive(Debug)]
pub(super) struct History {
    most: usize,
    most_bytes: usize,
    /// Of keys and values.
    bytes: usize,
    /// Everything up to here is forgotten.
    pub(super) forgotten: Revision,
    pub(super) events: VecDeque<(Revision, KvEvent)>,
}

/// What a watch is told.
#[derive(Debug)]
pub(crate) enum Told {
    /// The changes up to a revision, perhaps not all yet.
    Events {
        events: VecDeque<KvEvent>,
        up_to: Revision,
    },
    /// They are forgotten, or never were: read again, then watch from here.
    Forgotten { now_at: Revision },
}

/// How many changes a watch takes at a time.
const BATCH: usize = 256;

impl History {
    pub(super) fn new(most: usize, most_bytes: usize) -> Self {
        Self {
            most,
            most_bytes,
            bytes: 0,
            forgotten: Revision(0),
            events: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, revision: Revision, event: KvEvent) {
        self.bytes += size(&event);
        self.events.push_back((revision, event));
        while (self.events.len() > self.most || self.bytes > self.most_bytes)
            && let Some((revision, event)) = self.events.pop_front()
        {
            self.bytes -= size(&event);
            self.forgotten = revision;
        }
    }

    /// The changes under `prefix` behind `from`, in a store that is at `now_at`.
    pub(super) fn after(&self, from: Revision, prefix: &str, now_at: Revision) -> Told {
        // A revision that never was comes from another store, or from this one before a restart.
        if from < self.forgotten || from > now_at {
            return Told::Forgotten { now_at };
        }
        let start = self
            .events
            .partition_point(|(revision, _)| *revision <= from);
        let (mut events, mut up_to) = (VecDeque::new(), now_at);
        for (revision, event) in self.events.range(start..) {
            if key(event).starts_with(prefix) {
                events.push_back(event.clone());
            }
            if events.len() == BATCH {
                up_to = *revision;
                break;
            }
        }
        Told::Events { events, up_to }
    }
}

fn key(event: &KvEvent) -> &str {
    match event {
        KvEvent::Put(entry) => &entry.key,
        KvEvent::Deleted { key, .. } => key,
        // Never stored; and `KvEvent` may grow.
        _ => "",
    }
}

fn size(event: &KvEvent) -> usize {
    let value = match event {
        KvEvent::Put(entry) => entry.value.len(),
        _ => 0,
    };
    key(event).len() + value
}
