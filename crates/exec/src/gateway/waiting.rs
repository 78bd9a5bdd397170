use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

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
    waiting: BTreeMap<Rank, CancellationToken>,
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
    evicted: CancellationToken,
}

impl WaitingRoom {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most: most.max(1),
            state: Mutex::default(),
        }
    }

    pub(super) fn enter(self: &Arc<Self>) -> Waiting {
        let place = self.place(CancellationToken::new());
        let mut state = self.lock();
        while state.waiting.len() >= self.most
            && let Some((_, first)) = state.waiting.pop_first()
        {
            first.cancel();
        }
        let rank = *place.rank.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(rank, place.evicted.clone());
        drop(state);
        place
    }

    /// No place: whoever has it is to go.
    pub(super) fn turn_away(self: &Arc<Self>) -> Waiting {
        let evicted = CancellationToken::new();
        evicted.cancel();
        self.place(evicted)
    }

    fn place(self: &Arc<Self>, evicted: CancellationToken) -> Waiting {
        let mut state = self.lock();
        let rank = Rank {
            is_asked_about: false,
            number: state.next,
        };
        state.next += 1;
        drop(state);
        Waiting {
            rank: Mutex::new(rank),
            room: Arc::clone(self),
            evicted,
        }
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

    /// Is cancelled when the place had to be given to somebody else.
    pub(super) fn evicted(&self) -> &CancellationToken {
        &self.evicted
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let rank = *self.rank.get_mut().unwrap_or_else(PoisonError::into_inner);
        self.room.lock().waiting.remove(&rank);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_goes_and_who_was_let_in_stays() {
        let room = Arc::new(WaitingRoom::new(2));
        let (first, second) = (room.enter(), room.enter());
        let first_evicted = first.evicted().clone();
        // Let in.
        drop(first);
        let (third, fourth) = (room.enter(), room.enter());
        assert!(!first_evicted.is_cancelled());
        assert!(second.evicted().is_cancelled());
        assert_eq!(room.lock().waiting.len(), 2);
        let third_evicted = third.evicted().clone();
        drop((second, third));
        let _fifth = room.enter();
        assert!(!third_evicted.is_cancelled());
        assert!(!fourth.evicted().is_cancelled());
        assert_eq!(room.lock().waiting.len(), 2);
        // Who is turned away takes no place, and leaves none.
        let away = room.turn_away();
        assert!(away.evicted().is_cancelled());
        away.set_asked_about(true);
        drop(away);
        assert_eq!(room.lock().waiting.len(), 2);
    }

    #[test]
    fn who_is_asked_about_goes_last() {
        let room = Arc::new(WaitingRoom::new(3));
        let (mut places, mut told) = (Vec::new(), Vec::new());
        let mut enter = |is_asked_about: bool| {
            let place = room.enter();
            place.set_asked_about(is_asked_about);
            places.push(place);
            told.push(false);
            // Who had to go for it.
            let evicted = |index: &usize| !told[*index] && places[*index].evicted().is_cancelled();
            let gone = (0..places.len()).find(evicted);
            if let Some(gone) = gone {
                told[gone] = true;
            }
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
        let _place = room.enter();
        assert!(places[11].evicted().is_cancelled());
    }
}
