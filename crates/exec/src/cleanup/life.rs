use std::{
    collections::HashSet,
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
    /// Sessions of this life that are over, and of which something may be left.
    unsettled: Arc<Mutex<HashSet<Marker>>>,
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
        marker.is_of_another_life(&self.identity) || self.lock().contains(marker)
    }

    /// A session is over. Unless it is known that nothing of it is left or can come, it stays to be
    /// looked for.
    pub(crate) fn over(&self, marker: &Marker, is_settled: bool) {
        let mut unsettled = self.lock();
        if is_settled {
            unsettled.remove(marker);
        } else if unsettled.len() < MOST_UNSETTLED {
            unsettled.insert(marker.clone());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Marker>> {
        self.unsettled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Those beyond were reported like all others, and are left to the next life.
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
        for _ in 0..MOST_UNSETTLED + 10 {
            life.over(&mark(&life, &random), false);
        }
        assert_eq!(life.lock().len(), MOST_UNSETTLED);
    }
}
