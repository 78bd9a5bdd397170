use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_core::Random;

use super::{Identity, Marker};

/// A gateway to containers in one of its lives: whose sessions are, and who may end what is left of
/// them.
///
/// One program has one life: begin it once, and give clones to all
/// [`DockerExec`](crate::DockerExec) of that program, whatever engines they reach and however often
/// they are made anew. What carries the marks of *another* life of the same gateway was left by a
/// program that is gone, and [`reap`](crate::DockerExec::reap) ends it. What carries this life's
/// marks is never taken for left behind, by whichever of its backends it was started, unless this
/// life itself has tried to end it and could not.
#[derive(Clone, Debug)]
pub struct GatewayLife {
    identity: Identity,
    unsettled: Arc<Mutex<Unsettled>>,
}

/// Sessions of this life that are over, and of which something may be left.
#[derive(Debug, Default)]
struct Unsettled {
    /// Each with its number.
    markers: HashMap<Marker, u64>,
    by_age: BTreeMap<u64, Marker>,
    /// How many there ever were.
    count: u64,
}

impl GatewayLife {
    /// A new life of the gateway with this name.
    ///
    /// The name is what the next life knows this one's sessions by, so it must stay the same from
    /// one run to the next. No two programs that run at the same time may have the same: each would
    /// take the other's sessions for left behind, and end them. Where one and the same program runs
    /// several times, let the name come from something that only one of them can hold, such as a
    /// locked file with a random word in it; the name of the machine is not that.
    pub fn begin(name: &str, random: &dyn Random) -> Self {
        Self::of(Identity::named(name, random))
    }

    /// A life of a gateway that nobody knows again: nothing of it is ever reaped.
    pub fn unnamed(random: &dyn Random) -> Self {
        Self::of(Identity::unnamed(random))
    }

    fn of(identity: Identity) -> Self {
        Self {
            identity,
            unsettled: Arc::default(),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether what carries this mark was left behind, as far as this life can know.
    pub(crate) fn may_reap(&self, marker: &Marker) -> bool {
        marker.is_of_another_life(&self.identity) || self.lock().markers.contains_key(marker)
    }

    /// How many of this life's own sessions ended so far without anybody knowing that nothing of them
    /// is left. Whenever it has grown, another [`reap`](crate::DockerExec::reap) may find something,
    /// by whichever backend: wait half a minute for what an engine is still starting.
    pub fn unsettled(&self) -> u64 {
        self.lock().count
    }

    /// A session is over. Unless it is known that nothing of it is left or can come, it stays to be
    /// looked for.
    pub(crate) fn over(&self, marker: &Marker, is_settled: bool) {
        let mut unsettled = self.lock();
        if is_settled {
            unsettled.remove(marker);
        // What is of another life may be reaped anyway.
        } else if !marker.is_of_another_life(&self.identity) {
            unsettled.add(marker);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Unsettled> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsettled {
    fn add(&mut self, marker: &Marker) {
        if self.markers.contains_key(marker) {
            return;
        }
        if self.markers.len() >= MOST_UNSETTLED
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.markers.remove(&oldest);
        }
        self.count += 1;
        self.markers.insert(marker.clone(), self.count);
        self.by_age.insert(self.count, marker.clone());
    }

    fn remove(&mut self, marker: &Marker) {
        if let Some(number) = self.markers.remove(marker) {
            self.by_age.remove(&number);
        }
    }
}

/// The oldest beyond were reported like all others, and are left to the next life. Where an engine shows
/// nothing, nothing is ever settled, and that is not to keep out what others leave.
const MOST_UNSETTLED: usize = 4096;

#[cfg(test)]
mod tests {
    use longshore_core::SeededRandom;

    use super::*;
    use crate::cleanup::Cleanup;

    fn mark(life: &GatewayLife, random: &SeededRandom) -> Marker {
        Marker::new(life.identity(), Cleanup::Tree, random).unwrap()
    }

    #[test]
    fn a_lifes_own_sessions_are_nobodys_to_reap_but_what_it_could_not_end() {
        let random = SeededRandom::new(5);
        let life = GatewayLife::begin("gate", &random);
        let clone = life.clone();
        let marker = mark(&life, &random);
        assert!(!life.may_reap(&marker) && !clone.may_reap(&marker));
        clone.over(&marker, false);
        assert!(life.may_reap(&marker));
        life.over(&marker, true);
        assert!(!clone.may_reap(&marker));
    }

    #[test]
    fn another_life_of_the_same_name_is_reaped_and_no_other_gateway() {
        let random = SeededRandom::new(6);
        let [before, now] = [(); 2].map(|()| GatewayLife::begin("gate", &random));
        let other = GatewayLife::begin("other", &random);
        let unnamed = GatewayLife::unnamed(&random);
        let left = mark(&before, &random);
        assert!(now.may_reap(&left));
        assert!(!other.may_reap(&left) && !unnamed.may_reap(&left));
        assert!(!now.may_reap(&mark(&other, &random)) && !now.may_reap(&mark(&unnamed, &random)));
    }

    #[test]
    fn what_could_not_be_ended_is_kept_within_bounds() {
        let random = SeededRandom::new(7);
        let life = GatewayLife::begin("gate", &random);
        let markers: Vec<_> = (0..MOST_UNSETTLED + 10)
            .map(|_| mark(&life, &random))
            .collect();
        markers.iter().for_each(|marker| life.over(marker, false));
        let (oldest, newest) = markers.split_at(10);
        assert!(!oldest.iter().any(|marker| life.may_reap(marker)));
        assert!(newest.iter().all(|marker| life.may_reap(marker)));
    }

    #[test]
    fn each_session_that_stays_unsettled_is_counted_once() {
        let random = SeededRandom::new(8);
        let [before, life] = [(); 2].map(|()| GatewayLife::begin("gate", &random));
        let [one, two] = [(); 2].map(|()| mark(&life, &random));
        assert_eq!(life.unsettled(), 0);
        // Tried again, and in vain.
        for marker in [&one, &one, &two] {
            life.over(marker, false);
        }
        life.over(&mark(&before, &random), false);
        assert_eq!(life.clone().unsettled(), 2);
        life.over(&one, true);
        assert_eq!(life.unsettled(), 2);
        life.over(&one, false);
        assert_eq!(life.unsettled(), 3);
    }
}
