use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Connections whose clients have no leave yet. There are so many at a time; one more makes the one
/// go that has waited longest, so that strangers who say nothing keep nobody out.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// By age.
    waiting: BTreeMap<u64, oneshot::Sender<()>>,
}

/// A place in it, until it is dropped.
pub(super) struct Waiting {
    number: u64,
    room: Arc<WaitingRoom>,
}

/// Whether the place had to be given to somebody else.
pub(super) struct Evicted(oneshot::Receiver<()>);

impl WaitingRoom {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            state: Mutex::default(),
        }
    }

    pub(super) fn enter(self: &Arc<Self>) -> (Waiting, Evicted) {
        let mut state = self.lock();
        while state.waiting.len() >= self.most
            && let Some((_, oldest)) = state.waiting.pop_first()
        {
            let _ = oldest.send(());
        }
        let number = state.next;
        state.next += 1;
        let (evict, evicted) = oneshot::channel();
        state.waiting.insert(number, evict);
        drop(state);
        let place = Waiting {
            number,
            room: Arc::clone(self),
        };
        (place, Evicted(evicted))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.room.lock().waiting.remove(&self.number);
    }
}

impl Evicted {
    /// Returns only if it was. Cancel safe.
    pub(super) async fn wait(self) {
        if self.0.await.is_err() {
            pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[test]
    fn the_longest_goes_and_who_was_let_in_stays() {
        let room = Arc::new(WaitingRoom::new(2));
        let (first, first_evicted) = room.enter();
        let (second, second_evicted) = room.enter();
        // Let in.
        drop(first);
        let (third, third_evicted) = room.enter();
        let (_fourth, fourth_evicted) = room.enter();
        assert!(first_evicted.wait().now_or_never().is_none());
        assert!(second_evicted.wait().now_or_never().is_some());
        assert_eq!(room.lock().waiting.len(), 2);
        drop((second, third));
        let (_fifth, _) = room.enter();
        assert!(third_evicted.wait().now_or_never().is_none());
        assert!(fourth_evicted.wait().now_or_never().is_none());
        assert_eq!(room.lock().waiting.len(), 2);
    }
}
