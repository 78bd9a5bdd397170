//! A bounded list that many read at their own pace.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Keeps the newest items up to a total weight. Every item has a number that never repeats, so
/// that a reader knows its place and sees what it has missed.
#[derive(Debug)]
pub(crate) struct Journal<T> {
    state: Mutex<State<T>>,
    changed: Notify,
    room: Notify,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<(usize, T)>,
    /// The number of the front item.
    first: u64,
    weight: usize,
    capacity: usize,
    /// Where those readers are for whom nothing may be dropped.
    holders: BTreeMap<u64, u64>,
    next_holder: u64,
}

/// What a reader finds at its place.
pub(crate) enum Read<T> {
    /// An item, and the place behind it.
    Item(T, u64),
    /// Items were dropped before they were read; go on from here.
    Missed(u64),
    /// Nothing yet.
    End,
}

impl<T: Clone> Journal<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::new(State {
                items: VecDeque::new(),
                first: 0,
                weight: 0,
                capacity,
                holders: BTreeMap::new(),
                next_holder: 0,
            }),
            changed: Notify::new(),
            room: Notify::new(),
        }
    }

    /// Adds an item and drops the oldest ones beyond the capacity.
    pub(crate) fn push(&self, item: T, weight: usize) {
        self.lock().push(item, weight);
        self.changed.notify_waiters();
    }

    /// Adds an item as soon as no holder would lose something by it. Cancel safe: a dropped call
    /// added nothing.
    #[cfg(any(test, all(feature = "process", target_os = "linux")))]
    pub(crate) async fn push_held(&self, item: T, weight: usize) {
        loop {
            let room = self.room.notified();
            tokio::pin!(room);
            room.as_mut().enable();
            {
                let mut state = self.lock();
                if state.has_room(weight) {
                    state.push(item, weight);
                    break;
                }
            }
            room.await;
        }
        self.changed.notify_waiters();
    }

    /// Adds an item at once. What holders have not read stays, even beyond the capacity, until
    /// the next push that finds it read: for the rest of an output that nobody can hold back.
    pub(crate) fn push_over(&self, item: T, weight: usize) {
        let mut state = self.lock();
        let held = state.holders.values().min().copied();
        state.add(item, weight);
        state.trim(held);
        drop(state);
        self.changed.notify_waiters();
    }

    /// What stands at this place.
    pub(crate) fn read(&self, at: u64) -> Read<T> {
        let state = self.lock();
        if at < state.first {
            return Read::Missed(state.first);
        }
        match state.items.get((at - state.first) as usize) {
            Some((_, item)) => Read::Item(item.clone(), at + 1),
            None => Read::End,
        }
    }

    /// All that is kept, oldest first, with the number of the first.
    pub(crate) fn kept(&self) -> (u64, Vec<T>) {
        let state = self.lock();
        let items = state.items.iter().map(|(_, item)| item.clone()).collect();
        (state.first, items)
    }

    /// The place behind the newest item.
    pub(crate) fn end(&self) -> u64 {
        let state = self.lock();
        state.first + state.items.len() as u64
    }

    /// Waits until something stands at this place, or before it. Cancel safe.
    pub(crate) async fn reach(&self, at: u64) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.end() > at {
                return;
            }
            changed.await;
        }
    }

    /// Keeps everything from this place on until the holder has moved or is dropped: who pushes
    /// with [`push_held`](Self::push_held) waits for it.
    pub(crate) fn hold(self: &Arc<Self>, at: u64) -> Holder<T> {
        let mut state = self.lock();
        let key = state.next_holder;
        state.next_holder += 1;
        state.holders.insert(key, at);
        Holder {
            journal: Arc::clone(self),
            key,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn push(&mut self, item: T, weight: usize) {
        self.add(item, weight);
        self.trim(None);
    }

    fn add(&mut self, item: T, weight: usize) {
        self.items.push_back((weight, item));
        self.weight += weight;
    }

    /// Drops the oldest items beyond the capacity, but none from `held` on.
    fn trim(&mut self, held: Option<u64>) {
        while self.weight > self.capacity
            && self.items.len() > 1
            && held.is_none_or(|place| self.first < place)
        {
            if let Some((weight, _)) = self.items.pop_front() {
                self.weight -= weight;
                self.first += 1;
            }
        }
    }

    /// Whether an item of this weight can be added without dropping one that a holder needs.
    #[cfg(any(test, all(feature = "process", target_os = "linux")))]
    fn has_room(&self, weight: usize) -> bool {
        let Some(held) = self.holders.values().min() else {
            return true;
        };
        let unread = held.saturating_sub(self.first) as usize;
        let needed: usize = self
            .items
            .iter()
            .skip(unread)
            .map(|(weight, _)| weight)
            .sum();
        needed == 0 || needed + weight <= self.capacity
    }
}

/// See [`Journal::hold`].
#[derive(Debug)]
pub(crate) struct Holder<T> {
    journal: Arc<Journal<T>>,
    key: u64,
}

impl<T> Holder<T> {
    /// Has read everything before this place.
    pub(crate) fn advance(&self, to: u64) {
        let mut state = self
            .journal
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.holders.insert(self.key, to);
        drop(state);
        self.journal.room.notify_waiters();
    }
}

impl<T> Drop for Holder<T> {
    fn drop(&mut self) {
        let mut state = self
            .journal
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.holders.remove(&self.key);
        drop(state);
        self.journal.room.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_items_make_room_and_a_reader_sees_the_gap() {
        let journal = Journal::new(3);
        for number in 0..5 {
            journal.push(number, 1);
        }
        assert!(matches!(journal.read(0), Read::Missed(2)));
        assert!(matches!(journal.read(2), Read::Item(2, 3)));
        assert!(matches!(journal.read(5), Read::End));
        assert_eq!(journal.kept(), (2, vec![2, 3, 4]));
    }

    #[test]
    fn an_item_larger_than_the_capacity_is_kept_alone() {
        let journal = Journal::new(3);
        journal.push("a", 1);
        journal.push("large", 100);
        assert_eq!(journal.kept(), (1, vec!["large"]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_holder_keeps_what_it_has_not_read() {
        let journal = Arc::new(Journal::new(2));
        let holder = journal.hold(0);
        journal.push_held(0, 1).await;
        journal.push_held(1, 1).await;
        let pushing = tokio::spawn({
            let journal = Arc::clone(&journal);
            async move { journal.push_held(2, 1).await }
        });
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(!pushing.is_finished());
        assert_eq!(journal.kept(), (0, vec![0, 1]));
        holder.advance(1);
        pushing.await.unwrap();
        assert_eq!(journal.kept(), (1, vec![1, 2]));
        journal.push_over(9, 1);
        assert_eq!(journal.kept(), (1, vec![1, 2, 9]));
        drop(holder);
        journal.push_held(3, 1).await;
        journal.reach(4).await;
        assert_eq!(journal.kept(), (3, vec![9, 3]));
    }
}
