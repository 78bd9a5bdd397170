use longshore_core::{Device, DeviceId, Error, NodeState, Result, WorkloadId};

/// The devices of a node, and who has which.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeDevices {
    /// Sorted by id.
    all: Vec<Device>,
    held: Vec<(Holder, DeviceId)>,
}

/// Who holds a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    Workload(WorkloadId),
    /// A member of a group of reservations.
    Reservation(u32, u32),
}

impl NodeDevices {
    /// Checks what a node says of its devices.
    pub(crate) fn check(state: &NodeState) -> Result<()> {
        let devices = &state.devices;
        let node = &state.id;
        if devices.len() > MAX_DEVICES {
            return Err(Error::invalid(format!(
                "node {node} has {} devices: expected at most {MAX_DEVICES}",
                devices.len()
            )));
        }
        let mut ids: Vec<&DeviceId> = devices.iter().map(|device| &device.id).collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(Error::invalid(format!(
                "node {node} has device {} twice",
                pair[0]
            ))),
            None => Ok(()),
        }
    }

    /// What is there from now on. Who has something keeps it.
    pub(crate) fn set(&mut self, mut devices: Vec<Device>) {
        devices.sort_by(|a, b| a.id.cmp(&b.id));
        self.all = devices;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty() && self.held.is_empty()
    }

    /// All that are there, sorted by id.
    pub(crate) fn all(&self) -> &[Device] {
        &self.all
    }

    /// Those that nobody has, sorted by id.
    pub(crate) fn free(&self) -> impl Iterator<Item = &Device> {
        let is_free = |id: &DeviceId| self.held.iter().all(|(_, held)| held != id);
        self.all.iter().filter(move |device| is_free(&device.id))
    }

    pub(crate) fn held_by(&self, holder: &Holder) -> Vec<DeviceId> {
        let held = self.held.iter().filter(|(other, _)| other == holder);
        held.map(|(_, device)| device.clone()).collect()
    }

    pub(crate) fn hold(&mut self, holder: &Holder, devices: Vec<DeviceId>) {
        let devices = devices.into_iter().map(|device| (holder.clone(), device));
        self.held.extend(devices);
    }

    pub(crate) fn let_go(&mut self, holder: &Holder) {
        self.held.retain(|(other, _)| other != holder);
    }

    /// With nobody who has any.
    pub(crate) fn emptied(&self) -> Self {
        Self {
            all: self.all.clone(),
            held: Vec::new(),
        }
    }

    /// Who has something, for checks.
    #[cfg(test)]
    pub(crate) fn holders(&self) -> impl Iterator<Item = &Holder> {
        self.held.iter().map(|(holder, _)| holder)
    }
}

const MAX_DEVICES: usize = 256;
