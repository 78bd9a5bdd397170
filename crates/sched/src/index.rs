mod devices;
mod directory;
mod groups;
mod holding;
mod images;
mod labels;
mod load;
mod names;
mod node;
mod occupant;
mod profiles;
mod slots;
mod texts;
mod totals;
mod values;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use longshore_core::{
    Dependency, DependencyKind, Error, NodeId, NodeState, PlacedWorkload, PortProtocol, Result,
    Timestamp, WorkloadId,
};

pub(crate) use self::{
    devices::{Holder, NodeDevices},
    directory::Found,
    load::Load,
    node::{Changed, Node, without_slash},
    occupant::Workload,
    profiles::Profile,
    slots::{SlotSet, bits},
    texts::Text,
    values::{Catalogue, LabelValues},
};
use self::{
    directory::Directory,
    groups::{Groups, Member},
    labels::Pools,
    load::Loads,
    names::NameOrder,
    profiles::Profiles,
};

/// Everything a scheduler was told, kept so that placing sums nothing up: per-node totals, ports,
/// counts and names are maintained with every change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    nodes: Vec<Option<Node>>,
    free: Vec<Slot>,
    by_id: HashMap<NodeId, Slot>,
    names: NameOrder,
    directory: Directory,
    ports: HashMap<(u16, PortProtocol), SlotSet>,
    groups: Groups,
    pools: Pools,
    loads: Loads,
    catalogue: Catalogue,
    profiles: Profiles,
    now: Timestamp,
    news: Vec<News>,
}

/// Where a node stands in the index; valid while the node is known.
pub(crate) type Slot = u32;

/// What changed, for those who keep more about nodes than the index does.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// The node's own numbers changed: room, health, rank.
    Room(Slot),
    /// The node is new.
    New(Slot),
    /// The node's labels, name or images changed.
    Node(Slot, Changed),
    /// The node left.
    Gone(Slot),
    /// Something came onto the node.
    Came(Slot, Arc<Load>),
    /// Something left the node.
    Left(Slot, Arc<Load>),
}

impl Index {
    /// How many nodes are known.
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// One more than the largest slot in use.
    pub(crate) fn slots(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes, in no particular order.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// As [`nodes`](Self::nodes), some read ahead with these labels: side by side, they are waited
    /// for once.
    pub(crate) fn warmed(&self, keys: &[&str]) -> impl Iterator<Item = &Node> {
        self.nodes.chunks(READ_AHEAD).flat_map(move |chunk| {
            let nodes = || chunk.iter().flatten();
            let labels = |node: &Node| -> usize {
                let values = keys.iter().filter_map(|key| node.label(key));
                values.map(str::len).sum::<usize>() + node.identity_warmth()
            };
            std::hint::black_box(nodes().map(labels).sum::<usize>());
            nodes()
        })
    }

    /// All nodes in the order of their names, then ids.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = &Node> {
        self.names.slots().filter_map(|slot| self.at(slot))
    }

    /// Whether any node is reserved for tenants.
    pub(crate) fn has_tenants(&self) -> bool {
        self.catalogue.label("tenant").is_some()
    }

    /// Which nodes have which labels, images and volumes.
    pub(crate) fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The nodes of each profile of work that is on any.
    pub(crate) fn profiles(&self) -> impl Iterator<Item = (&Profile, &SlotSet)> {
        self.profiles.iter()
    }

    /// A node by its id.
    pub(crate) fn node(&self, id: &NodeId) -> Option<&Node> {
        self.by_id.get(id).and_then(|slot| self.at(*slot))
    }

    /// A node by its slot.
    pub(crate) fn at(&self, slot: Slot) -> Option<&Node> {
        self.nodes.get(slot as usize)?.as_ref()
    }

    /// Reads what holding room touches of many nodes: side by side, they are waited for once.
    pub(crate) fn warm(&self, slots: impl Iterator<Item = Slot>) {
        let nodes = slots.filter_map(|slot| self.at(slot));
        std::hint::black_box(nodes.map(Node::warmth).sum::<usize>());
    }

    /// The nodes of this name or id.
    pub(crate) fn called(&self, text: &str) -> Vec<Slot> {
        let mut found: Vec<Slot> = self.names.named(text).collect();
        found.extend(self.by_id.get(text));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The nodes of this name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = Slot> {
        self.names.named(name)
    }

    /// The nodes on which a container has this id or name.
    pub(crate) fn with_container(&self, target: &str) -> Vec<Slot> {
        let mut found: Vec<Slot> = self.directory.named(target, &self.nodes).collect();
        found.extend(self.directory.identified(target, &self.nodes));
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The nodes on which a port is held, on whatever address.
    pub(crate) fn with_port(&self, port: u16, protocol: PortProtocol) -> Option<&SlotSet> {
        self.ports.get(&(port, protocol))
    }

    /// The latest time that it was told.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether a workload or a reservation has this name.
    pub(crate) fn is_name_taken(&self, name: &str) -> bool {
        self.directory.named(name, &self.nodes).next().is_some()
    }

    /// A node on which something has this name.
    pub(crate) fn with_name(&self, name: &str) -> Option<Slot> {
        self.directory.named(name, &self.nodes).next()
    }

    /// Tells of every node as if it had just come, to whoever knows nothing yet.
    pub(crate) fn tell_all(&mut self) {
        let known: Vec<News> = self.nodes().map(|node| News::New(node.slot)).collect();
        self.news.extend(known);
    }

    /// What happened since the last call.
    pub(crate) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Gives the buffer of [`take_news`](Self::take_news) back for the next change.
    pub(crate) fn return_news(&mut self, mut news: Vec<News>) {
        if self.news.is_empty() && news.capacity() <= MAX_KEPT_NEWS {
            news.clear();
            self.news = news;
        }
    }

    /// The node that holds a dependency's target.
    pub(crate) fn find_dependency(&self, dependency: &Dependency) -> Found {
        let whole = self.directory.find(&dependency.target, &self.nodes);
        if whole != Found::Nowhere || dependency.kind == DependencyKind::Network {
            return whole;
        }
        // `--volumes-from name:mode` and `--link name:alias`.
        match dependency.target.split_once(':') {
            Some((name, _)) => self.directory.find(name, &self.nodes),
            None => Found::Nowhere,
        }
    }

    /// A node came or changed; what is on it stays.
    pub(crate) fn set_node(&mut self, state: NodeState) -> Result<()> {
        if state.health_indicator > 100 {
            return Err(Error::invalid(format!(
                "invalid health indicator {} of node {}: expected 0 to 100",
                state.health_indicator, state.id
            )));
        }
        NodeDevices::check(&state)?;
        if let Some(&slot) = self.by_id.get(&state.id)
            && let Some(node) = slot_of(&mut self.nodes, slot)
        {
            let old_name = (node.state.name != state.name).then(|| node.state.name.clone());
            let changed = node.update(state, &mut self.pools, &mut self.catalogue);
            if let Some(old) = old_name {
                let (name, id) = (node.state.name.clone(), node.state.id.clone());
                self.names.remove(&old, &id);
                self.rank(slot, &name, &id);
            }
            self.news.push(match changed.is_any() {
                true => News::Node(slot, changed),
                false => News::Room(slot),
            });
            return Ok(());
        }
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = Slot::try_from(self.nodes.len())
                    .map_err(|_| Error::invalid("a scheduler knows at most 2^32 nodes"))?;
                self.nodes.push(None);
                slot
            }
        };
        let (name, id) = (state.name.clone(), state.id.clone());
        self.by_id.insert(state.id.clone(), slot);
        let new = Node::new(slot, 0, state, &mut self.pools, &mut self.catalogue);
        self.nodes[slot as usize] = Some(new);
        self.rank(slot, &name, &id);
        self.news.push(News::New(slot));
        Ok(())
    }

    /// Gives a node its place in the order of names.
    fn rank(&mut self, slot: Slot, name: &longshore_core::NodeName, id: &NodeId) {
        let (nodes, news) = (&mut self.nodes, &mut self.news);
        let rank = self.names.insert(name, id, slot, |other, rank| {
            if let Some(node) = slot_of(nodes, other) {
                node.rank = rank;
                news.push(News::Room(other));
            }
        });
        if let Some(node) = slot_of(&mut self.nodes, slot) {
            node.rank = rank;
        }
    }

    /// A node left: what was on it is forgotten, reservations too.
    pub(crate) fn remove_node(&mut self, id: &NodeId) {
        let Some(slot) = self.by_id.remove(id) else {
            return;
        };
        let Some(node) = self.nodes[slot as usize].take() else {
            return;
        };
        self.catalogue.remove(&node);
        self.names.remove(&node.state.name, &node.state.id);
        for occupant in node.occupants() {
            self.directory.remove(slot, occupant, None);
            self.profiles.left(slot, &occupant.load.profile);
            for port in &occupant.load.ports {
                forget_port(&mut self.ports, (port.port, port.protocol), slot);
            }
        }
        for held in node.held() {
            self.groups.leave(Member {
                group: held.group,
                number: held.number,
            });
        }
        self.free.push(slot);
        self.news.push(News::Gone(slot));
    }

    /// A workload is on a node, or changed.
    pub(crate) fn set_workload(&mut self, mut workload: PlacedWorkload) -> Result<()> {
        let slot = self.slot(&workload.node, "workload", workload.id.as_str())?;
        let holder = Holder::Workload(workload.id.clone());
        let mut devices = std::mem::take(&mut workload.devices);
        if devices.is_empty()
            && let Some(node) = self.at(slot)
        {
            devices = node.devices_of(&holder);
        }
        self.take_workload(slot, workload.id.as_str());
        let load = self.loads.of_workload(&workload, &mut self.pools);
        let Some(node) = slot_of(&mut self.nodes, slot) else {
            return Ok(());
        };
        let new = Workload {
            name: without_slash(&workload.name).into(),
            id: workload.id,
            load: load.clone(),
        };
        self.directory.insert(slot, (&new).into());
        node.insert_workload(new);
        node.hold_devices(&holder, devices);
        self.came(slot, load);
        Ok(())
    }

    /// A workload left a node. Nothing to do if it was never there.
    pub(crate) fn remove_workload(&mut self, node: &NodeId, id: &WorkloadId) {
        if let Some(&slot) = self.by_id.get(node) {
            self.take_workload(slot, id.as_str());
        }
    }

    fn take_workload(&mut self, slot: Slot, id: &str) {
        let Some(node) = slot_of(&mut self.nodes, slot) else {
            return;
        };
        if let Some(old) = node.remove_workload(id) {
            self.directory.remove(slot, (&old).into(), Some(node));
            self.left(slot, old.load);
        }
    }

    fn came(&mut self, slot: Slot, load: Arc<Load>) {
        for port in &load.ports {
            self.ports
                .entry((port.port, port.protocol))
                .or_default()
                .insert(slot);
        }
        self.profiles.came(slot, &load.profile);
        self.news.push(News::Came(slot, load));
    }

    fn left(&mut self, slot: Slot, load: Arc<Load>) {
        for port in &load.ports {
            let key = (port.port, port.protocol);
            let still = self
                .at(slot)
                .is_some_and(|node| node.holds_port(key.0, key.1));
            if !still {
                forget_port(&mut self.ports, key, slot);
            }
        }
        let still = self
            .at(slot)
            .is_some_and(|node| node.has_profile(&load.profile));
        if !still {
            self.profiles.left(slot, &load.profile);
        }
        self.news.push(News::Left(slot, load));
    }

    /// Whether the running totals equal a sum over everything that is held: what incremental
    /// maintenance must never lose.
    #[cfg(test)]
    pub(crate) fn is_consistent(&self) -> bool {
        let held: usize = self.nodes().map(|node| node.held().len()).sum();
        let mut ports: HashMap<(u16, PortProtocol), SlotSet> = HashMap::new();
        for node in self.nodes() {
            for port in node.occupants().flat_map(|occupant| &occupant.load.ports) {
                ports
                    .entry((port.port, port.protocol))
                    .or_default()
                    .insert(node.slot);
            }
        }
        let plain = |ports: &HashMap<(u16, PortProtocol), SlotSet>| {
            let sets = ports
                .iter()
                .map(|(port, set)| (*port, set.iter().collect::<Vec<_>>()));
            sets.collect::<HashMap<_, _>>()
        };
        self.nodes().all(Node::is_consistent)
            && self.groups.is_consistent(held)
            && self.directory.is_consistent(&self.nodes)
            && plain(&ports) == plain(&self.ports)
            && self.catalogue.is_consistent(self.nodes())
            && self.profiles.is_consistent(self.nodes())
            && self.in_order().map(|node| node.rank).is_sorted()
            && self
                .in_order()
                .is_sorted_by_key(|node| (&node.state.name, &node.state.id))
            && self.in_order().count() == self.len()
    }

    fn slot(&self, node: &NodeId, what: &str, id: &str) -> Result<Slot> {
        self.by_id.get(node).copied().ok_or_else(|| {
            Error::not_found(format!("{what} {id} is on node {node}, which is not known"))
        })
    }
}

/// Borrows the nodes only, so that the directory stays free for the caller.
fn slot_of(nodes: &mut [Option<Node>], slot: Slot) -> Option<&mut Node> {
    nodes.get_mut(slot as usize)?.as_mut()
}

fn forget_port(
    ports: &mut HashMap<(u16, PortProtocol), SlotSet>,
    key: (u16, PortProtocol),
    slot: Slot,
) {
    if let Entry::Occupied(mut nodes) = ports.entry(key) {
        nodes.get_mut().remove(slot);
        if nodes.get().len() == 0 {
            nodes.remove();
        }
    }
}

const MAX_KEPT_NEWS: usize = 1024;

/// As many nodes as memory is asked for at a time.
const READ_AHEAD: usize = 32;
