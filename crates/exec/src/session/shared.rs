use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_core::{Clock, Identity, Random, SessionId, Timestamp};
use tokio::sync::Notify;

use super::{
    Recorder, SessionAbout, SessionCore, ViewerId,
    hub::Leave,
    secret::{Secret, Secrets},
};

/// A session between its driver and its connections.
pub(super) struct Shared {
    pub(super) id: SessionId,
    pub(super) who: Identity,
    pub(super) about: SessionAbout,
    pub(super) began: Timestamp,
    pub(super) leave: Option<Arc<dyn Leave>>,
    pub(super) clock: Arc<dyn Clock>,
    /// Wakes the driver.
    pub(super) driver: Notify,
    state: Mutex<State>,
}

struct State {
    core: SessionCore,
    secrets: Secrets,
    viewers: Vec<(ViewerId, Arc<Wake>)>,
    /// Where a client takes what it missed from.
    record: Option<Arc<dyn Recorder>>,
}

/// Wakes a connection: for events, and for room for input.
#[derive(Debug, Default)]
pub(super) struct Wake {
    pub(super) events: Notify,
    pub(super) room: Notify,
}

impl Shared {
    pub(super) fn new(
        id: SessionId,
        about: SessionAbout,
        leave: Option<Arc<dyn Leave>>,
        core: SessionCore,
        random: &dyn Random,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            id,
            who: about.who.clone(),
            about,
            began: clock.now(),
            leave,
            clock,
            driver: Notify::new(),
            state: Mutex::new(State {
                core,
                secrets: Secrets::new(random),
                viewers: Vec::new(),
                record: None,
            }),
        }
    }

    /// Looks, and changes nothing that anybody waits for.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut SessionCore, Timestamp) -> T) -> T {
        let now = self.clock.now();
        look(&mut self.lock().core, now)
    }

    /// A change from the side of the process.
    pub(super) fn by_driver<T>(&self, change: impl FnOnce(&mut SessionCore, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.lock();
        let result = change(&mut state.core, now);
        state.wake_viewers();
        result
    }

    /// A change from a connection that the driver and others may have to act on.
    pub(super) fn by_viewer<T>(&self, change: impl FnOnce(&mut SessionCore, Timestamp) -> T) -> T {
        let result = self.by_driver(change);
        self.driver.notify_one();
        result
    }

    /// A change that matters to the driver only if it makes room for output.
    pub(super) fn by_reader<T>(&self, change: impl FnOnce(&mut SessionCore, Timestamp) -> T) -> T {
        let now = self.clock.now();
        let mut state = self.lock();
        let before = state.core.output_room();
        let result = change(&mut state.core, now);
        if state.core.output_room() > before {
            self.driver.notify_one();
        }
        result
    }

    /// A connection takes what it missed from this record.
    pub(super) fn set_record(&self, id: ViewerId, record: Arc<dyn Recorder>) {
        {
            let mut state = self.lock();
            state.core.accept_refills(id);
            state.record = Some(record);
        }
        self.note_reach();
    }

    /// Tells the core how far the record goes, if anybody would take something from it.
    pub(super) fn note_reach(&self) {
        let record = self.lock().record.clone();
        if let Some(record) = record {
            // Nobody else is kept waiting while it is looked up.
            let reach = record.reach(&self.id);
            self.lock().core.recorded(reach);
        }
    }

    pub(super) fn add(&self, id: ViewerId) -> Arc<Wake> {
        let wake = Arc::new(Wake::default());
        self.lock().viewers.push((id, Arc::clone(&wake)));
        wake
    }

    pub(super) fn remove(&self, id: ViewerId) {
        self.lock().viewers.retain(|(viewer, _)| *viewer != id);
    }

    pub(super) fn secret(&self) -> Secret {
        self.lock().secrets.current().clone()
    }

    pub(super) fn knows(&self, shown: &str) -> bool {
        self.lock().secrets.knows(shown)
    }

    pub(super) fn renew(&self, shown: &str, random: &dyn Random) -> bool {
        self.lock().secrets.renew(shown, random)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake_viewers(&self) {
        for (_, wake) in &self.viewers {
            wake.events.notify_one();
            wake.room.notify_one();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id)
            .field("who", &self.who)
            .finish_non_exhaustive()
    }
}
