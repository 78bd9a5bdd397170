use longshore_core::{Device, DeviceId, HostPort, Labels, NodeState, PortProtocol};

use super::{
    Slot,
    devices::{Holder, NodeDevices},
    images::image_names,
    labels::{NodeLabels, Pools},
    load::Load,
    occupant::{Held, Occupant, Workload},
    profiles::Shared,
    texts::Text,
    totals::Totals,
    values::Catalogue,
};
use crate::resource::Resource;

/// A node with what is on it and the sums over that.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its place in the index.
    pub(crate) slot: Slot,
    /// Its place in the order of names.
    pub(crate) rank: u64,
    /// What was told about the node itself, without labels and images.
    pub(crate) state: NodeState,
    /// A stable hash of its id, for the seeded order.
    pub(crate) id_hash: u64,
    /// The label `containerslots`, if it is a number (S11).
    pub(crate) container_slots: Option<u64>,
    /// Whether it has the label `tenant`.
    pub(crate) is_reserved: bool,
    labels: NodeLabels,
    image_names: Box<[Text]>,
    workloads: Vec<Workload>,
    held: Vec<Held>,
    used: Totals,
    ports: Vec<PortUse>,
    /// Most nodes have none.
    devices: Option<Box<NodeDevices>>,
}

/// What of a node that expressions look at is another than before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changed {
    /// The keys of labels.
    pub(crate) labels: Vec<Text>,
    pub(crate) images: bool,
    pub(crate) name: bool,
}

impl Changed {
    /// Whether there is anything.
    pub(crate) fn is_any(&self) -> bool {
        self.images || self.name || !self.labels.is_empty()
    }
}

/// A port in use, and on which address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PortUse {
    port: u16,
    protocol: PortProtocol,
    address: Box<str>,
}

impl Node {
    pub(crate) fn new(
        slot: Slot,
        rank: u64,
        state: NodeState,
        pools: &mut Pools,
        catalogue: &mut Catalogue,
    ) -> Self {
        let mut node = Self {
            slot,
            rank,
            id_hash: fnv1a(state.id.as_str()),
            container_slots: None,
            is_reserved: false,
            labels: NodeLabels::default(),
            image_names: Box::default(),
            state: NodeState::new(state.id.clone(), state.name.clone(), state.capacity.clone()),
            workloads: Vec::new(),
            held: Vec::new(),
            used: Totals::default(),
            ports: Vec::new(),
            devices: None,
        };
        node.update(state, pools, catalogue);
        node
    }

    /// Takes what is new about the node itself, into the catalogue too. Says what of it expressions
    /// look at.
    pub(crate) fn update(
        &mut self,
        mut state: NodeState,
        pools: &mut Pools,
        catalogue: &mut Catalogue,
    ) -> Changed {
        let labels = std::mem::replace(&mut state.labels, Labels::new());
        let images = std::mem::take(&mut state.images);
        let devices = std::mem::take(&mut state.devices);
        if !devices.is_empty() || self.devices.is_some() {
            self.devices.get_or_insert_default().set(devices);
            self.forget_no_devices();
        }
        let slot = self.slot;
        if self.state.volumes != state.volumes {
            for name in &self.state.volumes {
                catalogue.remove_volume(slot, name);
            }
            for name in &state.volumes {
                catalogue.insert_volume(slot, &pools.texts.share(name.as_str()));
            }
        }
        let mut changed = Changed {
            name: self.state.name != state.name,
            ..Changed::default()
        };
        self.state = state;
        // S11: what is not a number means unlimited.
        self.container_slots = labels.get("containerslots").and_then(|n| n.parse().ok());
        self.is_reserved = labels.get("tenant").is_some();
        self.labels.update(&labels, pools, |key, old, new| {
            match (old, new) {
                (Some(old), Some(new)) => catalogue.change_label(slot, key, old, new),
                (Some(old), None) => catalogue.remove_label(slot, key, old),
                (None, Some(new)) => catalogue.insert_label(slot, key, new),
                (None, None) => {}
            }
            changed.labels.push(key.clone());
        });
        let names = image_names(&images);
        changed.images = !names
            .iter()
            .copied()
            .eq(self.image_names.iter().map(|name| &**name));
        if changed.images {
            let names = names.into_iter();
            let new = names.map(|name| pools.texts.share(name)).collect();
            for old in std::mem::replace(&mut self.image_names, new) {
                catalogue.remove_image(slot, &old);
            }
            for name in &self.image_names {
                catalogue.insert_image(slot, name);
            }
        }
        changed
    }

    /// Workloads and reservations on it.
    pub(crate) fn containers(&self) -> usize {
        self.workloads.len() + self.held.len()
    }

    pub(crate) fn workloads(&self) -> &[Workload] {
        &self.workloads
    }

    pub(crate) fn held(&self) -> &[Held] {
        &self.held
    }

    /// Something of each part that changes when room is held.
    pub(crate) fn warmth(&self) -> usize {
        let last = self.held.last().map_or(0, |held| held.number as usize);
        last.wrapping_add(self.ports.len())
            .wrapping_add(self.identity_warmth())
            .wrapping_add(self.state.capacity.cpu.0 as usize)
            .wrapping_add(self.used(Resource::Cpu) as usize)
            & 0xff
    }

    /// Something of the texts of its id and name.
    pub(crate) fn identity_warmth(&self) -> usize {
        let first = |text: &str| text.as_bytes().first().map_or(0, |byte| usize::from(*byte));
        first(self.state.id.as_str()) + first(self.state.name.as_str())
    }

    /// Everything that holds room, workloads first.
    pub(crate) fn occupants(&self) -> impl Iterator<Item = Occupant<'_>> {
        let workloads = self.workloads.iter().map(Occupant::from);
        workloads.chain(self.held.iter().map(Occupant::from))
    }

    /// Its labels in key order.
    pub(crate) fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.labels.iter()
    }

    /// The value of a label.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(|value| &**value)
    }

    /// The value of a label, to keep.
    pub(crate) fn label_text(&self, key: &str) -> Option<Text> {
        self.labels.get(key).cloned()
    }

    /// How much is held.
    pub(crate) fn used(&self, resource: Resource<'_>) -> u128 {
        self.used.of(resource)
    }

    /// How much may be handed out in all.
    pub(crate) fn capacity(&self, resource: Resource<'_>) -> u64 {
        let capacity = &self.state.capacity;
        match resource {
            Resource::Cpu => capacity.cpu.0,
            Resource::Memory => capacity.memory.0,
            Resource::Generic(name) => capacity.generic.get(name).copied().unwrap_or(0),
        }
    }

    /// How much is left.
    pub(crate) fn available(&self, resource: Resource<'_>) -> u64 {
        let left = u128::from(self.capacity(resource)).saturating_sub(self.used(resource));
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    /// Whether a port can be had.
    pub(crate) fn is_port_free(&self, port: &HostPort) -> bool {
        if port.port == 0 {
            return true;
        }
        let key = (port.port, port.protocol);
        let from = self
            .ports
            .partition_point(|other| (other.port, other.protocol) < key);
        !self.ports[from..]
            .iter()
            .take_while(|other| (other.port, other.protocol) == key)
            .any(|other| {
                port.is_any_address()
                    || is_any_address(&other.address)
                    || *other.address == *port.address
            })
    }

    /// Whether a port is held, on whatever address.
    pub(crate) fn holds_port(&self, port: u16, protocol: PortProtocol) -> bool {
        self.ports
            .binary_search_by(|other| (other.port, other.protocol).cmp(&(port, protocol)))
            .is_ok()
    }

    /// Who holds a port that can't be had, for people: whoever has a name goes before those without.
    pub(crate) fn port_holder(&self, port: &HostPort) -> Option<Occupant<'_>> {
        self.occupants()
            .filter(|occupant| occupant.load.ports.iter().any(|p| p.conflicts_with(port)))
            .min_by_key(|occupant| (occupant.name.is_empty(), occupant.name, occupant.id))
    }

    /// The values of a node attribute: for `node` its id and name, else the label, if present (S6).
    pub(crate) fn attribute(&self, key: &str) -> impl Iterator<Item = &str> {
        let (first, second) = match key {
            "node" => (Some(self.state.id.as_str()), Some(self.state.name.as_str())),
            _ => (self.label(key), None),
        };
        first.into_iter().chain(second)
    }

    /// The names of its images.
    pub(crate) fn image_names(&self) -> impl Iterator<Item = &str> {
        self.image_names.iter().map(|name| &**name)
    }

    /// Hands over the values of what else is on the node: for `container` ids and names, for
    /// `service` service names, for `image` all names of its images, else that label of every
    /// container which has it (S6).
    pub(crate) fn company<T>(
        &self,
        key: &str,
        use_values: impl FnOnce(&mut dyn Iterator<Item = &str>) -> T,
    ) -> T {
        match key {
            "image" => use_values(&mut self.image_names()),
            _ => use_values(&mut self.occupants().flat_map(|occupant| occupant.values(key))),
        }
    }

    /// The same node with nothing on it, open for work.
    pub(crate) fn emptied(&self) -> Self {
        let mut state = self.state.clone();
        state.health = longshore_core::NodeHealth::Healthy;
        state.health_indicator = 100;
        state.availability = longshore_core::Availability::Active;
        Self {
            state,
            labels: self.labels.clone(),
            image_names: self.image_names.clone(),
            workloads: Vec::new(),
            held: Vec::new(),
            used: Totals::default(),
            ports: Vec::new(),
            devices: self.devices.as_ref().map(|held| Box::new(held.emptied())),
            ..*self
        }
    }

    /// Whether something on it has this profile.
    pub(super) fn has_profile(&self, profile: &Shared) -> bool {
        self.occupants()
            .any(|occupant| occupant.load.profile == *profile)
    }

    /// How many of a service are on it.
    pub(crate) fn replicas(&self, service: &str) -> usize {
        let of =
            |occupant: &Occupant<'_>| occupant.load.profile.service.as_deref() == Some(service);
        self.occupants().filter(of).count()
    }

    /// Whether a volume's data is on it.
    pub(crate) fn has_volume(&self, volume: &str) -> bool {
        self.state.volumes.iter().any(|held| held == volume)
    }

    pub(crate) fn insert_workload(&mut self, workload: Workload) {
        self.take(&workload.load);
        self.workloads.push(workload);
    }

    pub(crate) fn remove_workload(&mut self, id: &str) -> Option<Workload> {
        let at = self
            .workloads
            .iter()
            .position(|other| other.id.as_str() == id)?;
        let old = self.workloads.swap_remove(at);
        self.give_back(&old.load);
        self.let_devices_go(|| Holder::Workload(old.id.clone()));
        Some(old)
    }

    pub(crate) fn hold(&mut self, held: Held) {
        self.take(&held.load);
        self.held.push(held);
    }

    pub(crate) fn let_go(&mut self, group: u32, number: u32) -> Option<Held> {
        // What was held last is often given back first.
        let at = self
            .held
            .iter()
            .rposition(|h| (h.group, h.number) == (group, number))?;
        let old = self.held.swap_remove(at);
        self.give_back(&old.load);
        self.let_devices_go(|| Holder::Reservation(group, number));
        Some(old)
    }

    /// Its devices that nobody has, sorted by id.
    pub(crate) fn free_devices(&self) -> Vec<&Device> {
        self.devices.iter().flat_map(|held| held.free()).collect()
    }

    pub(crate) fn devices_of(&self, holder: &Holder) -> Vec<DeviceId> {
        let held = self.devices.as_ref();
        held.map_or_else(Vec::new, |held| held.held_by(holder))
    }

    pub(crate) fn hold_devices(&mut self, holder: &Holder, devices: Vec<DeviceId>) {
        if !devices.is_empty() {
            self.devices.get_or_insert_default().hold(holder, devices);
        }
    }

    fn let_devices_go(&mut self, holder: impl Fn() -> Holder) {
        if let Some(devices) = &mut self.devices {
            devices.let_go(&holder());
            self.forget_no_devices();
        }
    }

    fn forget_no_devices(&mut self) {
        self.devices.take_if(|devices| devices.is_empty());
    }

    fn take(&mut self, load: &Load) {
        self.used.add(&load.resources);
        for port in &load.ports {
            let new = PortUse::from(port);
            let at = self.ports.partition_point(|other| *other < new);
            self.ports.insert(at, new);
        }
    }

    fn give_back(&mut self, load: &Load) {
        self.used.subtract(&load.resources);
        for port in &load.ports {
            if let Ok(at) = self.ports.binary_search(&PortUse::from(port)) {
                self.ports.remove(at);
            }
        }
    }

    /// Whether the sums are what a count from scratch gives.
    #[cfg(test)]
    pub(crate) fn is_consistent(&self) -> bool {
        let (mut used, mut ports) = (Totals::default(), Vec::new());
        for occupant in self.occupants() {
            used.add(&occupant.load.resources);
            ports.extend(occupant.load.ports.iter().map(PortUse::from));
        }
        ports.sort();
        let holds = |holder: &Holder| match holder {
            Holder::Workload(id) => self.workloads.iter().any(|w| w.id == *id),
            Holder::Reservation(group, number) => {
                let key = (*group, *number);
                self.held.iter().any(|h| (h.group, h.number) == key)
            }
        };
        let devices = self.devices.as_ref();
        let known = devices.is_none_or(|d| !d.is_empty() && d.holders().all(holds));
        used == self.used && ports == self.ports && known
    }
}

impl From<&HostPort> for PortUse {
    fn from(port: &HostPort) -> Self {
        Self {
            port: port.port,
            protocol: port.protocol,
            address: port.address.as_str().into(),
        }
    }
}

fn is_any_address(address: &str) -> bool {
    matches!(address, "" | "0.0.0.0" | "::")
}

/// A container's name as Swarm compares it.
pub(crate) fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// FNV-1a: the same on every machine and in every release, unlike the standard library's hasher.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
