use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use longshore_core::{ExecSession, TerminalSize, WorkloadId};
use serde_json::Value;

/// What this API knows about workloads beyond what engines keep: how they were asked for.
#[derive(Default)]
pub(super) struct Notes(Mutex<HashMap<WorkloadId, Note>>);

/// About one workload.
#[derive(Clone, Default)]
pub(super) struct Note {
    /// The body of its create, as it came.
    pub(super) asked: Option<Arc<Value>>,
    /// Attachments to it, for resizing.
    attached: Vec<Weak<dyn ExecSession>>,
}

impl Note {
    pub(super) fn at(&self, pointer: &str) -> Option<&Value> {
        self.asked
            .as_ref()?
            .pointer(pointer)
            .filter(|value| !value.is_null())
    }

    pub(super) fn flag(&self, pointer: &str) -> bool {
        self.at(pointer).and_then(Value::as_bool).unwrap_or(false)
    }
}

impl Notes {
    pub(super) fn get(&self, id: &WorkloadId) -> Note {
        self.lock().get(id).cloned().unwrap_or_default()
    }

    /// Remembers how it was asked for. Past a bound, `alive` says what may not be forgotten.
    pub(super) fn created(&self, id: &WorkloadId, asked: Value) {
        self.lock().entry(id.clone()).or_default().asked = Some(Arc::new(asked));
    }

    pub(super) fn attached(&self, id: &WorkloadId, session: &Arc<dyn ExecSession>) {
        let mut notes = self.lock();
        let note = notes.entry(id.clone()).or_default();
        note.attached.retain(|held| held.strong_count() > 0);
        note.attached.push(Arc::downgrade(session));
    }

    pub(super) fn attachments(&self, id: &WorkloadId) -> Vec<Arc<dyn ExecSession>> {
        let notes = self.lock();
        let held = notes.get(id).into_iter().flat_map(|note| &note.attached);
        held.filter_map(Weak::upgrade).collect()
    }

    pub(super) fn forget(&self, id: &WorkloadId) {
        self.lock().remove(id);
    }

    /// Keeps the notes of these only: others remove workloads too.
    pub(super) fn keep(&self, alive: impl Fn(&WorkloadId) -> bool) {
        self.lock().retain(|id, _| alive(id));
    }

    /// Whether it is time to [`keep`](Self::keep).
    pub(super) fn are_many(&self) -> bool {
        self.lock().len() > MANY
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<WorkloadId, Note>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A size out of a query or a `[height, width]` pair; none if a side is 0.
pub(super) fn size(columns: u64, rows: u64) -> Option<TerminalSize> {
    let side = |length: u64| u16::try_from(length).ok().filter(|length| *length > 0);
    Some(TerminalSize::new(side(columns)?, side(rows)?))
}

const MANY: usize = 4096;
