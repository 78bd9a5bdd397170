use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use longshore_core::{Timestamp, WorkloadId};

use super::seat::Seat;

/// Where no lifeline could be had beside a container that had no usable shell either. For a minute
/// nobody tries again to have one beside it: each try is a start in vain.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<Place, (Refused, Timestamp)>>);

/// What was found where a helper could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The container has no shell: nobody needs to look for one in it.
    pub(super) no_program: bool,
}

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
    pub(super) fn note(&self, place: Place, refused: Refused, now: Timestamp) {
        let mut until = self.lock();
        if until.len() >= MOST {
            until.retain(|_, (_, until)| now < *until);
        }
        // Beyond that they are tried each time.
        if until.len() < MOST {
            until.insert(place, (refused, now.after(PAUSE)));
        }
    }

    pub(super) fn holds(&self, place: &Place, now: Timestamp) -> Option<Refused> {
        let mut places = self.lock();
        let (refused, until) = *places.get(place)?;
        if now < until {
            return Some(refused);
        }
        places.remove(place);
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Place, (Refused, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const PAUSE: Duration = Duration::from_secs(60);
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: Refused = Refused { no_program: true };
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
        assert_eq!(refusals.holds(&place(0), NOW), None);
        refusals.note(place(0), REFUSED, NOW);
        assert_eq!(refusals.holds(&place(1), NOW), None);
        let last = NOW.after(PAUSE - Duration::from_millis(1));
        assert_eq!(refusals.holds(&place(0), last), Some(REFUSED));
        assert_eq!(refusals.holds(&place(0), NOW.after(PAUSE)), None);
        assert!(refusals.lock().is_empty());
    }

    #[test]
    fn there_are_never_more_of_them_than_a_bound_and_old_ones_make_room() {
        let refusals = Refusals::default();
        (0..MOST + 5).for_each(|user| refusals.note(place(user), REFUSED, NOW));
        assert_eq!(refusals.lock().len(), MOST);
        assert_eq!(refusals.holds(&place(MOST), NOW), None);
        let later = NOW.after(PAUSE);
        refusals.note(place(MOST), REFUSED, later);
        assert_eq!(refusals.holds(&place(MOST), later), Some(REFUSED));
        assert_eq!(refusals.lock().len(), 1);
    }
}
