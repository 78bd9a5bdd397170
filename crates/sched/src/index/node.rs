use std::collections::BTreeMap;

use longshore_core::{
    HostPort, Labels, NodeState, PlacedWorkload, PlacementRequest, PortProtocol, Reservation,
    ReservationId, Resources, WorkloadId,
};

use super::{Slot, totals::Totals};
use crate::resource::Resource;

/// A node with what is on it and the sums over that.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its place in the index.
    pub(crate) slot: Slot,
    /// What was told about the node itself.
    pub(crate) state: NodeState,
    /// A stable hash of its id, for the seeded order.
    pub(crate) id_hash: u64,
    /// The label `containerslots`, if it is a number (S11).
    pub(crate) container_slots: Option<u64>,
    image_names: Vec<Box<str>>,
    workloads: BTreeMap<WorkloadId, PlacedWorkload>,
    reservations: BTreeMap<ReservationId, Reservation>,
    used: Totals,
    ports: Ports,
}

/// The addresses on which a port is held.
type Ports = BTreeMap<(u16, PortProtocol), Vec<Box<str>>>;

/// What a workload and a reservation have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occupant<'n> {
    /// The container id; a reservation has none yet.
    pub(crate) id: Option<&'n WorkloadId>,
    /// Its name without a leading slash, or nothing.
    pub(crate) name: &'n str,
    /// Its labels.
    pub(crate) labels: &'n Labels,
    resources: &'n Resources,
    ports: &'n [HostPort],
}

impl<'n> From<&'n PlacedWorkload> for Occupant<'n> {
    fn from(workload: &'n PlacedWorkload) -> Self {
        Self {
            id: Some(&workload.id),
            name: without_slash(&workload.name),
            labels: &workload.labels,
            resources: &workload.resources,
            ports: &workload.ports,
        }
    }
}

impl<'n> From<&'n PlacementRequest> for Occupant<'n> {
    fn from(request: &'n PlacementRequest) -> Self {
        Self {
            id: None,
            name: without_slash(&request.name),
            labels: &request.labels,
            resources: &request.resources,
            ports: &request.ports,
        }
    }
}

impl<'n> From<&'n Reservation> for Occupant<'n> {
    fn from(reservation: &'n Reservation) -> Self {
        (&reservation.request).into()
    }
}

impl<'n> Occupant<'n> {
    /// The id that Swarm keeps over rescheduling.
    pub(crate) fn swarm_id(&self) -> Option<&'n str> {
        self.labels.get("com.docker.swarm.id")
    }
}

impl Node {
    pub(crate) fn new(slot: Slot, state: NodeState) -> Self {
        Self {
            slot,
            id_hash: fnv1a(state.id.as_str()),
            container_slots: container_slots(&state),
            image_names: image_names(&state.images),
            state,
            workloads: BTreeMap::new(),
            reservations: BTreeMap::new(),
            used: Totals::default(),
            ports: Ports::new(),
        }
    }

    /// Takes what is new about the node itself.
    pub(crate) fn update(&mut self, state: NodeState) {
        self.container_slots = state
            .labels
            .get("containerslots")
            .and_then(|n| n.parse().ok());
        self.image_names = image_names(&state.images);
        self.state = state;
    }

    /// Workloads and reservations on it.
    pub(crate) fn containers(&self) -> usize {
        self.workloads.len() + self.reservations.len()
    }

    pub(crate) fn workloads(&self) -> impl Iterator<Item = &PlacedWorkload> {
        self.workloads.values()
    }

    pub(crate) fn reservations(&self) -> impl Iterator<Item = &Reservation> {
        self.reservations.values()
    }

    pub(crate) fn reservation(&self, id: &ReservationId) -> Option<&Reservation> {
        self.reservations.get(id)
    }

    /// Everything that holds room, workloads first.
    pub(crate) fn occupants(&self) -> impl Iterator<Item = Occupant<'_>> {
        let workloads = self.workloads.values().map(Occupant::from);
        workloads.chain(self.reservations.values().map(Occupant::from))
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
        match self.ports.get(&(port.port, port.protocol)) {
            None => true,
            Some(addresses) => !addresses.iter().any(|address| {
                port.is_any_address() || is_any_address(address) || **address == *port.address
            }),
        }
    }

    /// Who holds a port that can't be had, for people.
    pub(crate) fn port_holder(&self, port: &HostPort) -> Option<Occupant<'_>> {
        self.occupants()
            .find(|occupant| occupant.ports.iter().any(|p| p.conflicts_with(port)))
    }

    /// The values of a node attribute: for `node` its id and name, else the label, if present (S6).
    pub(crate) fn attribute(&self, key: &str) -> impl Iterator<Item = &str> {
        let (first, second) = match key {
            "node" => (Some(self.state.id.as_str()), Some(self.state.name.as_str())),
            _ => (self.state.labels.get(key), None),
        };
        first.into_iter().chain(second)
    }

    /// Hands over the values of what else is on the node: for `container` ids and names, for
    /// `image` all names of its images, else that label of every container which has it (S6).
    pub(crate) fn company<T>(
        &self,
        key: &str,
        use_values: impl FnOnce(&mut dyn Iterator<Item = &str>) -> T,
    ) -> T {
        match key {
            "container" => use_values(&mut self.occupants().flat_map(|occupant| {
                let id = occupant.id.map(WorkloadId::as_str);
                let name = Some(occupant.name).filter(|name| !name.is_empty());
                id.into_iter().chain(name).chain(occupant.swarm_id())
            })),
            "image" => use_values(&mut self.image_names.iter().map(|name| &**name)),
            _ => use_values(
                &mut self
                    .occupants()
                    .filter_map(|occupant| occupant.labels.get(key)),
            ),
        }
    }

    pub(crate) fn insert_workload(&mut self, workload: PlacedWorkload) {
        take(&mut self.used, &mut self.ports, (&workload).into());
        self.workloads.insert(workload.id.clone(), workload);
    }

    pub(crate) fn remove_workload(&mut self, id: &WorkloadId) -> Option<PlacedWorkload> {
        let old = self.workloads.remove(id)?;
        give_back(&mut self.used, &mut self.ports, (&old).into());
        Some(old)
    }

    pub(crate) fn insert_reservation(&mut self, reservation: Reservation) {
        take(&mut self.used, &mut self.ports, (&reservation).into());
        self.reservations
            .insert(reservation.id.clone(), reservation);
    }

    pub(crate) fn remove_reservation(&mut self, id: &ReservationId) -> Option<Reservation> {
        let old = self.reservations.remove(id)?;
        give_back(&mut self.used, &mut self.ports, (&old).into());
        Some(old)
    }

    /// Whether the sums are what a count from scratch gives.
    #[cfg(test)]
    pub(crate) fn is_consistent(&self) -> bool {
        let (mut used, mut ports) = (Totals::default(), Ports::new());
        for occupant in self.occupants() {
            take(&mut used, &mut ports, occupant);
        }
        let sorted = |ports: &Ports| {
            let mut ports = ports.clone();
            ports
                .values_mut()
                .for_each(|addresses| addresses.sort_unstable());
            ports
        };
        used == self.used && sorted(&ports) == sorted(&self.ports)
    }
}

fn take(used: &mut Totals, ports: &mut Ports, occupant: Occupant<'_>) {
    used.add(occupant.resources);
    for port in occupant.ports.iter().filter(|port| port.port != 0) {
        ports
            .entry((port.port, port.protocol))
            .or_default()
            .push(port.address.as_str().into());
    }
}

fn give_back(used: &mut Totals, ports: &mut Ports, occupant: Occupant<'_>) {
    used.subtract(occupant.resources);
    for port in occupant.ports {
        let key = (port.port, port.protocol);
        let Some(addresses) = ports.get_mut(&key) else {
            continue;
        };
        if let Some(at) = addresses
            .iter()
            .position(|address| **address == *port.address)
        {
            addresses.swap_remove(at);
        }
        if addresses.is_empty() {
            ports.remove(&key);
        }
    }
}

/// S11: what is not a number means unlimited.
fn container_slots(state: &NodeState) -> Option<u64> {
    state.labels.get("containerslots")?.parse().ok()
}

fn is_any_address(address: &str) -> bool {
    matches!(address, "" | "0.0.0.0" | "::")
}

fn without_slash(name: &str) -> &str {
    name.strip_prefix('/').unwrap_or(name)
}

/// Every name by which an image affinity finds an image: as told, without its tag, and its digest
/// alone. A registry's port is not a tag, and an image id is not a repository.
fn image_names(images: &[String]) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = Vec::with_capacity(images.len() * 2);
    for image in images {
        names.push(image.as_str().into());
        if let Some((repository, digest)) = image.split_once('@') {
            names.push(repository.into());
            names.push(digest.into());
        } else if let Some((repository, tag)) = image.rsplit_once(':')
            && !tag.contains('/')
            && repository != "sha256"
        {
            names.push(repository.into());
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// FNV-1a: the same on every machine and in every release, unlike the standard library's hasher.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(image: &str, names: &[&str]) {
        let found = image_names(&[image.to_owned()]);
        assert_eq!(found.iter().map(|name| &**name).collect::<Vec<_>>(), names);
    }

    #[test]
    fn an_image_is_found_by_every_name_it_has() {
        check("redis:7", &["redis", "redis:7"]);
        check("redis", &["redis"]);
        check("host:5000/redis", &["host:5000/redis"]);
        check(
            "host:5000/redis:7",
            &["host:5000/redis", "host:5000/redis:7"],
        );
        check(
            "redis@sha256:0a",
            &["redis", "redis@sha256:0a", "sha256:0a"],
        );
        check("sha256:0a", &["sha256:0a"]);
    }
}
