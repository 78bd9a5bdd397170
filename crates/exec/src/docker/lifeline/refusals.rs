use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_core::{Timestamp, WorkloadId};

use super::seat::Seat;

/// Where no lifeline could be had, neither in the container nor beside it. For a minute nobody tries
/// again: each try is a start in vain.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<Place, Timestamp>>);

/// For whom, where, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) workload: WorkloadId,
    pub(super) user: String,
    pub(super) image: String,
}

impl Place {
    pub(super) fn seat(&self) -> Seat {
        Seat::Beside(self.image.clone())
    }
}

impl Refusals {
    pub(super) fn note(&self, place: Place, now: Timestamp) {
        let mut until = self.lock();
        if until.len() >= MOST {
            until.retain(|_, until| now < *until);
        }
        // Beyond that they are tried each time.
        if until.len() < MOST {
            until.insert(place, now.after(PAUSE));
        }
    }

    pub(super) fn holds(&self, place: &Place, now: Timestamp) -> bool {
        let mut refused = self.lock();
        match refused.get(place) {
            Some(until) if now < *until => true,
            Some(_) => {
                refused.remove(place);
                false
            }
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PAUSE: Duration = Duration::from_secs(60);
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn place(user: usize) -> Place {
        Place {
            workload: WorkloadId::new("web").unwrap(),
            user: user.to_string(),
            image: "busybox".to_owned(),
        }
    }

    #[test]
    fn a_refusal_holds_for_a_minute_and_for_nobody_else() {
        let refusals = Refusals::default();
        assert!(!refusals.holds(&place(0), NOW));
        refusals.note(place(0), NOW);
        assert!(!refusals.holds(&place(1), NOW));
        let last = NOW.after(PAUSE - Duration::from_millis(1));
        assert!(refusals.holds(&place(0), last));
        assert!(!refusals.holds(&place(0), NOW.after(PAUSE)));
        assert!(refusals.lock().is_empty());
    }

    #[test]
    fn there_are_never_more_of_them_than_a_bound_and_old_ones_make_room() {
        let refusals = Refusals::default();
        (0..MOST + 5).for_each(|user| refusals.note(place(user), NOW));
        assert_eq!(refusals.lock().len(), MOST);
        assert!(!refusals.holds(&place(MOST), NOW));
        let later = NOW.after(PAUSE);
        refusals.note(place(MOST), later);
        assert!(refusals.holds(&place(MOST), later));
        assert_eq!(refusals.lock().len(), 1);
    }
}
