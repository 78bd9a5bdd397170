//! Those who dial and have not said who they are. Anybody who reaches us can be one of them, so they
//! hold no place that a member needs: where there are too many, the oldest gives way.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::AbortHandle;

#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    /// In the order in which they came.
    waiting: VecDeque<(u64, AbortHandle)>,
}

/// A place in the queue; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Greeting(Arc<Queue>, u64);

impl Queue {
    /// Lets one more in, which `spawn` serves in a task of its own.
    pub(super) fn admit(self: &Arc<Self>, spawn: impl FnOnce(Greeting) -> AbortHandle) {
        // Held until it is in the queue: its task may be over at once.
        let mut state = self.lock();
        state.last += 1;
        let number = state.last;
        let task = spawn(Greeting(self.clone(), number));
        state.waiting.push_back((number, task));
        let oldest = match state.waiting.len() > MOST {
            true => state.waiting.pop_front(),
            false => None,
        };
        drop(state);
        if let Some((_, oldest)) = oldest {
            oldest.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Greeting {
    fn drop(&mut self) {
        self.0
            .lock()
            .waiting
            .retain(|(number, _)| *number != self.1);
    }
}

/// A greeting takes a few round trips.
const MOST: usize = 64;
