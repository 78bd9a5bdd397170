use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    task::Waker,
};

use longshore_core::{CloseReason, Error};
use tokio::sync::{Notify, watch};

use crate::mux::{Event, Mux};

/// What a carrier's driver, its handle and its streams share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Rings once for each stream that the peer opens.
    pub(crate) incoming: Notify,
    /// What the carrier has come to.
    pub(crate) progress: watch::Sender<Progress>,
    /// How the connection failed, for whoever waits for the hello.
    pub(crate) failure: OnceLock<Error>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Opening,
    Open,
    Closed(CloseReason),
}

pub(crate) struct State {
    pub(crate) mux: Mux,
    /// The driver, when it sleeps.
    pub(crate) driver: Option<Waker>,
    readers: BTreeMap<u32, Waker>,
    writers: BTreeMap<u32, Waker>,
    news: News,
}

/// Events that are for more than one stream, to be told after the lock is let go.
#[derive(Default)]
struct News {
    opened: bool,
    incoming: usize,
    closed: bool,
    wake: Vec<Waker>,
}

/// The lock; what happened under it is told when it is let go.
pub(crate) struct Guard<'a> {
    shared: &'a Shared,
    state: Option<MutexGuard<'a, State>>,
}

impl Shared {
    pub(crate) fn new(mux: Mux) -> Self {
        let state = State {
            mux,
            driver: None,
            readers: BTreeMap::new(),
            writers: BTreeMap::new(),
            news: News::default(),
        };
        Self {
            state: Mutex::new(state),
            incoming: Notify::new(),
            progress: watch::Sender::new(Progress::Opening),
            failure: OnceLock::new(),
        }
    }

    pub(crate) fn lock(&self) -> Guard<'_> {
        // The mux is never left half-changed by a panic elsewhere in this crate's code, and a
        // poisoned carrier would take its users down with it.
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Guard {
            shared: self,
            state: Some(state),
        }
    }
}

impl State {
    /// Finds out whom the mux's events concern.
    pub(crate) fn dispatch(&mut self) {
        while let Some(event) = self.mux.poll_event() {
            match event {
                Event::Opened => self.news.opened = true,
                Event::Incoming => self.news.incoming += 1,
                Event::Readable(id) => self.news.wake.extend(self.readers.remove(&id)),
                Event::Writable(id) => self.news.wake.extend(self.writers.remove(&id)),
                Event::Closed => self.news.closed = true,
            }
        }
    }

    pub(crate) fn wait_readable(&mut self, id: u32, waker: &Waker) {
        self.readers.insert(id, waker.clone());
    }

    pub(crate) fn wait_writable(&mut self, id: u32, waker: &Waker) {
        self.writers.insert(id, waker.clone());
    }

    pub(crate) fn forget(&mut self, id: u32) {
        self.readers.remove(&id);
        self.writers.remove(&id);
    }

    /// Wakes the driver when there is something for it to send, or nothing more to do.
    pub(crate) fn nudge(&mut self) {
        if self.mux.has_output() || self.mux.close_reason().is_some() {
            self.news.wake.extend(self.driver.take());
        }
    }
}

impl std::ops::Deref for Guard<'_> {
    type Target = State;
    #[expect(clippy::expect_used, reason = "the guard is taken out in drop only")]
    fn deref(&self) -> &State {
        self.state.as_ref().expect("held until drop")
    }
}

impl std::ops::DerefMut for Guard<'_> {
    #[expect(clippy::expect_used, reason = "the guard is taken out in drop only")]
    fn deref_mut(&mut self) -> &mut State {
        self.state.as_mut().expect("held until drop")
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let Some(mut state) = self.state.take() else {
            return;
        };
        state.dispatch();
        let news = std::mem::take(&mut state.news);
        let closed = if news.closed {
            state.mux.close_reason().cloned()
        } else {
            None
        };
        drop(state);
        if news.opened {
            self.shared.progress.send_replace(Progress::Open);
        }
        if let Some(reason) = closed {
            self.shared.progress.send_replace(Progress::Closed(reason));
            self.shared.incoming.notify_waiters();
        }
        for _ in 0..news.incoming {
            self.shared.incoming.notify_one();
        }
        for waker in news.wake {
            waker.wake();
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("progress", &*self.progress.borrow())
            .finish_non_exhaustive()
    }
}
