use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// Connections whose clients have no leave yet. There are so many at a time; one more makes another
/// go: of those that have said nothing, or were refused, the one that came first; only if there is
/// none, of those that are being asked about. So strangers who say nothing keep nobody out, however
/// many they are.
#[derive(Debug)]
pub(super) struct WaitingRoom {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    /// In the order in which they go.
    waiting: BTreeMap<Rank, oneshot::Sender<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    is_asked_about: bool,
    number: u64,
}

/// A place in it, until it is dropped.
pub(super) struct Waiting {
    rank: Mutex<Rank>,
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
            && let Some((_, first)) = state.waiting.pop_first()
        {
            let _ = first.send(());
        }
        let rank = Rank {
            is_asked_about: false,
            number: state.next,
        };
        state.next += 1;
        let (evict, evicted) = oneshot::channel();
        state.waiting.insert(rank, evict);
        drop(state);
        let place = Waiting {
            rank: Mutex::new(rank),
            room: Arc::clone(self),
        };
        (place, Evicted(evicted))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether it has said what it wants, and nobody has decided yet.
    pub(super) fn set_asked_about(&self, is_asked_about: bool) {
        let mut rank = self.rank.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.room.lock();
        let old = *rank;
        rank.is_asked_about = is_asked_about;
        // Who had to go does not come back.
        if let Some(evict) = state.waiting.remove(&old) {
            state.waiting.insert(*rank, evict);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let rank = *self.rank.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.room.lock().waiting.remove(&rank);
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

    #[test]
    fn who_is_asked_about_goes_last() {
        let room = Arc::new(WaitingRoom::new(3));
        let (mut places, mut evicted) = (Vec::new(), Vec::new());
        let mut enter = |is_asked_about: bool| {
            let (place, out) = room.enter();
            place.set_asked_about(is_asked_about);
            places.push(place);
            evicted.push(Some(out));
            // Who had to go for it.
            let gone = evicted.iter_mut().position(|out| {
                let is_out = out.as_mut().is_some_and(|out| out.0.try_recv().is_ok());
                is_out && out.take().is_some()
            });
            assert!(room.lock().waiting.len() <= 3);
            (gone, places.len())
        };
        assert_eq!(enter(true).0, None);
        assert_eq!(enter(false).0, None);
        assert_eq!(enter(false).0, None);
        for newest in 3..10 {
            assert_eq!(enter(false), (Some(newest - 2), newest + 1));
        }
        // Also against those who talk, as long as somebody does not.
        assert_eq!(enter(true).0, Some(8));
        assert_eq!(enter(true).0, Some(9));
        // All are asked about now; the first of them goes, so it stays bounded.
        assert_eq!(enter(true).0, Some(0));
        // Who was refused is a stranger again.
        places[11].set_asked_about(false);
        // Who has gone comes back by nothing.
        places[0].set_asked_about(true);
        assert_eq!(room.lock().waiting.len(), 3);
        let (_place, _evicted) = room.enter();
        assert!(evicted[11].as_mut().unwrap().0.try_recv().is_ok());
    }
}
