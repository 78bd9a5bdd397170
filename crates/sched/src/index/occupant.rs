use std::sync::Arc;

use longshore_core::WorkloadId;

use super::load::Load;

/// A workload on a node.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) id: WorkloadId,
    pub(crate) name: Box<str>,
    pub(crate) load: Arc<Load>,
}

/// Room held on a node: a member of a group of reservations.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) group: u32,
    pub(crate) number: u32,
    pub(crate) name: Box<str>,
    pub(crate) load: Arc<Load>,
}

/// What a workload and a reservation have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occupant<'n> {
    /// The container id; a reservation has none yet.
    pub(crate) id: Option<&'n WorkloadId>,
    /// Its name without a leading slash, or nothing.
    pub(crate) name: &'n str,
    /// What it is and holds.
    pub(crate) load: &'n Load,
}

impl<'n> From<&'n Workload> for Occupant<'n> {
    fn from(workload: &'n Workload) -> Self {
        Self {
            id: Some(&workload.id),
            name: &workload.name,
            load: &workload.load,
        }
    }
}

impl<'n> From<&'n Held> for Occupant<'n> {
    fn from(held: &'n Held) -> Self {
        Self {
            id: None,
            name: &held.name,
            load: &held.load,
        }
    }
}

impl<'n> Occupant<'n> {
    /// The id that Swarm keeps over rescheduling.
    pub(crate) fn swarm_id(&self) -> Option<&'n str> {
        self.load.profile.swarm_id.as_deref()
    }

    /// The values by which an affinity with this key finds it (S6: an absent label is none).
    pub(crate) fn values<'k>(&self, key: &'k str) -> impl Iterator<Item = &'n str> + use<'n, 'k> {
        let name = Some(self.name).filter(|name| !name.is_empty());
        let (own, profile) = match key {
            "container" => {
                let id = self.id.map(WorkloadId::as_str);
                ([id, name, self.swarm_id()], None)
            }
            _ => ([None; 3], Some(self.load.profile.values(key))),
        };
        let own = own.into_iter().flatten();
        own.chain(profile.into_iter().flatten())
    }
}
