use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{Slot, load::find, slots::SlotSet, texts::Text};

/// What a piece of work shows to others' affinities besides its name and id. The replicas of a
/// service, and whatever else carries the same labels, share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Profile {
    /// The service it belongs to.
    pub(crate) service: Option<Text>,
    /// Its labels in key order.
    pub(crate) labels: Box<[(Text, Text)]>,
    /// The id that Swarm keeps over rescheduling: one of the labels.
    pub(crate) swarm_id: Option<Text>,
}

impl Profile {
    pub(super) fn new(service: Option<Text>, labels: Box<[(Text, Text)]>) -> Self {
        let at = labels.binary_search_by(|(key, _)| (**key).cmp(SWARM_ID));
        Self {
            swarm_id: at.ok().map(|at| labels[at].1.clone()),
            service,
            labels,
        }
    }

    /// The value of a label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }

    /// The values by which an affinity with this key finds it, but for names and ids of containers
    /// (S6: an absent label is none).
    pub(crate) fn values<'p>(&'p self, key: &str) -> impl Iterator<Item = &'p str> + use<'p> {
        let service = self.service.as_deref().filter(|_| key == "service");
        service.into_iter().chain(self.label(key))
    }
}

impl AsRef<Self> for Profile {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// A profile of which there is one copy: compared and hashed by its address.
#[derive(Clone, Debug)]
pub(crate) struct Shared(pub(super) Arc<Profile>);

impl std::ops::Deref for Shared {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        &self.0
    }
}

impl PartialEq for Shared {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Shared {}

impl Hash for Shared {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

/// On which nodes each profile is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Profiles(HashMap<Shared, SlotSet>);

impl Profiles {
    /// Every profile with its nodes, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Profile, &SlotSet)> {
        self.0.iter().map(|(profile, set)| (&**profile, set))
    }

    /// One came onto a node.
    pub(super) fn came(&mut self, slot: Slot, profile: &Shared) {
        match self.0.get_mut(profile) {
            Some(set) => {
                set.insert(slot);
            }
            None => {
                self.0.insert(profile.clone(), SlotSet::of(slot));
            }
        }
    }

    /// The last one left a node.
    pub(super) fn left(&mut self, slot: Slot, profile: &Shared) {
        if let Some(set) = self.0.get_mut(profile) {
            set.remove(slot);
            if set.len() == 0 {
                self.0.remove(profile);
            }
        }
    }

    /// Whether it is what a look at every node gives.
    #[cfg(test)]
    pub(super) fn is_consistent<'n>(
        &self,
        nodes: impl Iterator<Item = &'n super::node::Node>,
    ) -> bool {
        let mut fresh = Self::default();
        for node in nodes {
            for occupant in node.occupants() {
                fresh.came(node.slot, &occupant.load.profile);
            }
        }
        let texts = |known: &Self| {
            let all = known.iter().map(|(profile, set)| {
                let slots: Vec<Slot> = set.iter().collect();
                (format!("{profile:?}"), slots)
            });
            all.collect::<std::collections::BTreeMap<_, _>>()
        };
        // As many texts as profiles: none is there twice.
        let plain = texts(self);
        plain.len() == self.0.len() && plain == texts(&fresh)
    }
}

const SWARM_ID: &str = "com.docker.swarm.id";
