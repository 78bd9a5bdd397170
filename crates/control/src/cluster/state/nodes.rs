use std::{sync::Arc, time::Duration};

#[cfg(feature = "endpoint")]
use longshore_core::http::HttpClient;
use longshore_core::{
    Availability, Change, Engine, EngineInfo, Error, ErrorKind, Image, Labels, NodeHealth, NodeId,
    NodeName, NodeState, Result, Timestamp,
};

use tokio::sync::mpsc;

use super::State;
use crate::{
    NodeView,
    cluster::slot::{Announced, MOST_CONTAINERS, NodeStatus, Slot, SlotId},
    devices,
    node::{ClockSkew, Note, natural_order},
    pending::{Relief, Told},
    placement,
};

impl State {
    /// Adds an announced node, Pending. `None` if the address is a member already.
    pub(crate) fn add_node(&mut self, address: &str, ip: &str, now: Timestamp) -> Option<SlotId> {
        if self.by_address.contains_key(address) {
            return None;
        }
        let id = SlotId(self.next_slot);
        self.next_slot += 1;
        self.slots
            .insert(id, Slot::new(address.to_owned(), ip.to_owned(), now));
        self.by_address.insert(address.to_owned(), id);
        Some(id)
    }

    /// Forgets a node and all on it. Returns how it looked last.
    pub(crate) fn remove_node(&mut self, slot_id: SlotId) -> Option<NodeView> {
        let view = self.view(slot_id)?;
        self.give_up_identity(slot_id);
        let slot = self.slots.remove(&slot_id)?;
        self.by_address.remove(&slot.address);
        self.changed.notify_one();
        Some(view)
    }

    pub(crate) fn set_inbox(&mut self, slot_id: SlotId, inbox: mpsc::Sender<Note>) {
        if let Some(slot) = self.slots.get_mut(&slot_id) {
            slot.inbox = Some(inbox);
        }
    }

    pub(crate) fn inbox(&self, slot_id: SlotId) -> Option<mpsc::Sender<Note>> {
        self.slots.get(&slot_id)?.inbox.clone()
    }

    /// Whether a node was found without any fault a moment ago.
    pub(crate) fn is_known_sound(&self, slot_id: SlotId, now: Timestamp) -> bool {
        self.slots.get(&slot_id).is_some_and(|slot| {
            let status = &slot.status;
            status.health == NodeHealth::Healthy
                && status.indicator == 100
                && now < status.updated_at.after(A_MOMENT)
        })
    }

    pub(crate) fn slot_at(&self, address: &str) -> Option<SlotId> {
        self.by_address.get(address).copied()
    }

    pub(crate) fn identity(&self, slot_id: SlotId) -> Option<NodeId> {
        self.slots.get(&slot_id)?.id.clone()
    }

    pub(crate) fn set_engine(
        &mut self,
        slot_id: SlotId,
        engine: Arc<dyn Engine>,
        #[cfg(feature = "endpoint")] http: HttpClient,
    ) {
        if let Some(slot) = self.slots.get_mut(&slot_id) {
            slot.engine = Some(engine);
            #[cfg(feature = "endpoint")]
            {
                slot.http = Some(http);
            }
        }
    }

    /// Gives an identity to a slot, taking it over from a slot that lost touch with it.
    ///
    /// Only between addresses that discovery announces, where a machine may come back at another
    /// one: what dials in through a tunnel is bound to its certificate, and an engine's id is its
    /// own word.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when another node that answers holds the identity, or one of the
    /// two is in a tunnel.
    pub(crate) fn claim_identity(&mut self, slot_id: SlotId, id: &NodeId) -> Result<()> {
        if let Some(holder) = self.by_id.get(id).copied()
            && holder != slot_id
        {
            let here = self.slots.get(&slot_id).map_or("", |slot| &slot.address);
            if let Some(other) = self.slots.get(&holder)
                && (other.status.health == NodeHealth::Healthy
                    || is_tunnel(here)
                    || is_tunnel(&other.address))
            {
                return Err(Error::new(
                    ErrorKind::AlreadyExists,
                    format!(
                        "ID duplicated. {id} shared by this node {here} and another node {}. If \
                         they are two machines, remove the engine's identity file on one of them \
                         (for Docker: /var/lib/docker/engine-id, or /etc/docker/key.json) and \
                         restart it; if they are one, announce it once",
                        other.address
                    ),
                )
                .with_retryable(true));
            }
            self.give_up_identity(holder);
        }
        let held = self.slots.get(&slot_id).and_then(|slot| slot.id.clone());
        if held.as_ref() != Some(id) {
            self.give_up_identity(slot_id);
            if let Some(slot) = self.slots.get_mut(&slot_id) {
                slot.id = Some(id.clone());
                self.by_id.insert(id.clone(), slot_id);
            }
        }
        Ok(())
    }

    /// Forgets who a slot is and all that was known of it.
    pub(crate) fn give_up_identity(&mut self, slot_id: SlotId) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        slot.tombstones.clear();
        slot.listed_at = None;
        let Some(id) = slot.id.take() else {
            return;
        };
        slot.told = None;
        slot.counts = crate::ContainerCounts::default();
        slot.reserved = longshore_core::Resources::default();
        slot.held_devices = 0;
        for (workload, _) in slot.records.drain() {
            self.containers.remove(&workload, &id);
        }
        self.listing = None;
        self.by_id.remove(&id);
        self.reservations.retain(|_, held| held.node != id);
        self.tell(Change::NodeGone(id), Relief::LEFT);
    }

    /// Takes what an engine says of itself; gives how its node is known then.
    pub(crate) fn set_info(
        &mut self,
        slot_id: SlotId,
        info: Arc<EngineInfo>,
        skew: Option<ClockSkew>,
    ) -> Arc<EngineInfo> {
        let overcommit = self.overcommit;
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return info;
        };
        slot.engine_info = Some(Arc::clone(&info));
        let is_named = slot.announced.name.is_some();
        let mut info = slot.announced.over(&info);
        let mut warnings = warnings(&info, skew);
        if !is_named
            && self
                .named(&info.name, slot_id)
                .any(|it| it.announced.name.is_some())
        {
            // That name is somebody's by his certificate or by discovery.
            warnings.push(format!(
                "Its name {} is another node's: it goes by its address",
                info.name
            ));
            let mut renamed = EngineInfo::clone(&info);
            if let Some(name) = name_of_address(self.slots.get(&slot_id)) {
                renamed.name = name;
            }
            info = Arc::new(renamed);
        }
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return info;
        };
        slot.capacity = placement::capacity_of(&info, overcommit);
        let (devices, of_devices) = devices::of_node(&info);
        slot.devices = devices.into();
        warnings.extend(of_devices);
        slot.warnings = warnings;
        slot.skew = skew;
        let renamed = slot.info.as_ref().is_none_or(|old| old.name != info.name);
        slot.info = Some(Arc::clone(&info));
        if renamed {
            self.renew_views(slot_id);
        }
        self.tell_node(slot_id);
        if is_named {
            self.make_way(slot_id, &info.name);
        }
        info
    }

    /// Takes what a node's agent says of its engine.
    pub(crate) fn set_agent_says(&mut self, slot_id: SlotId, error: Option<String>) {
        if let Some(slot) = self.slots.get_mut(&slot_id) {
            slot.agent_says = error;
        }
    }

    /// Those who go by a name, but for one.
    fn named<'a>(&'a self, name: &'a NodeName, but: SlotId) -> impl Iterator<Item = &'a Slot> {
        let others = self.slots.iter().filter(move |(id, _)| **id != but);
        others.map(|(_, slot)| slot).filter(move |slot| {
            let info = slot.info.as_ref();
            info.is_some_and(|info| info.name == *name)
        })
    }

    /// Renames those who only say that they have a name which is another's.
    fn make_way(&mut self, owner: SlotId, name: &NodeName) {
        let squatters: Vec<_> = self
            .slots
            .iter()
            .filter(|(id, slot)| {
                let info = slot.info.as_ref();
                **id != owner
                    && slot.announced.name.is_none()
                    && info.is_some_and(|info| info.name == *name)
            })
            .filter_map(|(id, slot)| Some((*id, slot.engine_info.clone()?, slot.skew)))
            .collect();
        for (slot, info, skew) in squatters {
            self.set_info(slot, info, skew);
        }
    }

    /// Takes what a node is announced with.
    pub(crate) fn set_announced(&mut self, slot_id: SlotId, announced: Announced) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        if slot.announced == announced {
            return;
        }
        slot.announced = announced;
        let skew = slot.skew;
        if let Some(info) = slot.engine_info.clone() {
            self.set_info(slot_id, info, skew);
        }
    }

    pub(crate) fn set_images(&mut self, slot_id: SlotId, images: Vec<Image>) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        if *slot.images != *images {
            slot.images = images.into();
            self.tell_node(slot_id);
        }
    }

    pub(crate) fn set_status(&mut self, slot_id: SlotId, status: NodeStatus) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        let health = slot.status.health != status.health;
        let indicator = slot.status.indicator != status.indicator;
        slot.status = status;
        if health {
            self.renew_views(slot_id);
        }
        if health || indicator {
            self.tell_node(slot_id);
            self.changed.notify_one();
        }
    }

    pub(crate) fn set_stale(&mut self, slot_id: SlotId, stale: bool) {
        if let Some(slot) = self.slots.get_mut(&slot_id)
            && slot.stale != stale
        {
            slot.stale = stale;
            self.renew_views(slot_id);
        }
    }

    pub(crate) fn set_availability(&mut self, id: &NodeId, availability: Availability) {
        self.availability.insert(id.clone(), availability);
        if let Some(slot) = self.by_id.get(id).copied() {
            self.tell_node(slot);
        }
    }

    pub(crate) fn view(&self, slot_id: SlotId) -> Option<NodeView> {
        let slot = self.slots.get(&slot_id)?;
        let name = match &slot.info {
            Some(info) => info.name.as_str().to_owned(),
            None => slot.address.clone(),
        };
        Some(NodeView {
            id: slot.id.clone(),
            name,
            address: slot.address.clone(),
            ip: slot.ip.clone(),
            health: slot.status.health,
            health_indicator: slot.status.indicator,
            availability: self.availability_of(slot.id.as_ref()),
            error: error_of(slot),
            since: slot.status.since,
            next_retry: slot.status.next_retry,
            updated_at: slot.status.updated_at,
            info: slot.info.clone(),
            engine: slot.engine.clone(),
            #[cfg(feature = "endpoint")]
            http: slot.http.clone(),
            containers: slot.counts,
            reserved: slot.reserved.clone(),
            capacity: slot.capacity.clone(),
            devices: Arc::clone(&slot.devices),
            images: Arc::clone(&slot.images),
            warnings: warnings_of(slot),
            clock_skew: slot.skew,
            stale: slot.stale,
        })
    }

    pub(crate) fn views(&self) -> Vec<NodeView> {
        let mut views: Vec<NodeView> = self
            .slots
            .keys()
            .filter_map(|slot| self.view(*slot))
            .collect();
        views.sort_by(|a, b| {
            natural_order(&a.name, &b.name).then_with(|| natural_order(&a.address, &b.address))
        });
        views
    }

    /// All nodes, with the time when the last full listing of each began.
    pub(crate) fn views_with_listing(&self) -> Vec<(NodeView, Option<Timestamp>)> {
        self.slots
            .iter()
            .filter_map(|(id, slot)| Some((self.view(*id)?, slot.listed_at)))
            .collect()
    }

    /// A node by id, name or address. A name held by several nodes finds none.
    pub(crate) fn find_node(&self, reference: &str) -> Option<SlotId> {
        if let Some(slot) = self.by_id.get(reference) {
            return Some(*slot);
        }
        if let Some(slot) = self.by_address.get(reference) {
            return Some(*slot);
        }
        let mut named = self.slots.iter().filter(|(_, slot)| {
            slot.info
                .as_ref()
                .is_some_and(|info| info.name.as_str() == reference)
        });
        match (named.next(), named.next()) {
            (Some((slot, _)), None) => Some(*slot),
            _ => None,
        }
    }

    pub(crate) fn slot_of(&self, id: &NodeId) -> Option<SlotId> {
        self.by_id.get(id).copied()
    }

    fn availability_of(&self, id: Option<&NodeId>) -> Availability {
        id.and_then(|id| self.availability.get(id))
            .copied()
            .unwrap_or_default()
    }

    fn tell_node(&mut self, slot_id: SlotId) {
        let Some(slot) = self.slots.get(&slot_id) else {
            return;
        };
        let (Some(id), Some(info)) = (&slot.id, &slot.info) else {
            return;
        };
        let mut labels: Labels = info.labels.clone();
        labels.remove(RESERVED_LABEL);
        labels.extend(info.attributes.iter());
        let mut state = NodeState::new(id.clone(), info.name.clone(), slot.capacity.clone())
            .with_labels(labels);
        state.health = slot.status.health;
        state.health_indicator = slot.status.indicator;
        state.availability = self.availability_of(Some(id));
        state.images = placement::image_names(&slot.images);
        state.devices = slot.devices.to_vec();
        let told = Told::of(&state);
        let relief = Relief::of_node(slot.told.as_ref(), &told);
        if let Some(slot) = self.slots.get_mut(&slot_id) {
            slot.told = Some(told);
        }
        self.tell(Change::Node(state), relief);
    }
}

/// Why a node is not reached: as it was seen from here, and as its agent sees it from there.
fn error_of(slot: &Slot) -> Option<String> {
    match (&slot.status.error, &slot.agent_says) {
        (Some(error), Some(agent)) => Some(format!("{error}; its agent says: {agent}")),
        (error, _) => error.clone(),
    }
}

fn warnings_of(slot: &Slot) -> Vec<String> {
    let mut warnings = slot.warnings.clone();
    if slot.overflow {
        warnings.push(format!(
            "It says that it holds more than {MOST_CONTAINERS} containers: the rest is not shown"
        ));
    }
    warnings
}

fn warnings(info: &EngineInfo, skew: Option<ClockSkew>) -> Vec<String> {
    let mut warnings: Vec<String> = info
        .bad_labels
        .iter()
        .map(|label| format!("Engine label {label:?} is skipped: not formatted as \"key=value\""))
        .collect();
    if info.labels.get(RESERVED_LABEL).is_some() {
        warnings.push(format!(
            "Engine label {RESERVED_LABEL:?} is skipped: the key is reserved"
        ));
    }
    for (key, value) in info.labels.iter() {
        if info.attributes.get(key).is_some() {
            warnings.push(format!(
                "Engine label {key}={value} is skipped: it cannot override the built-in attribute"
            ));
        }
    }
    if let Some(slots) = info.labels.get("containerslots")
        && slots.parse::<u64>().is_err()
    {
        warnings.push(format!(
            "Engine label containerslots={slots} is not a number: the node has no limit"
        ));
    }
    if let Some(skew) = skew {
        warnings.push(format!("Its clock is {skew}"));
    }
    warnings
}

/// `10.0.0.1:2375` as a name.
fn name_of_address(slot: Option<&Slot>) -> Option<NodeName> {
    let kept = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = slot?.address.chars().map(kept).take(200).collect();
    NodeName::new(name.trim_matches('-')).ok()
}

fn is_tunnel(address: &str) -> bool {
    address.starts_with("tunnel://")
}

/// A label key that would shadow the node's own name in constraints.
/// Less than between two probes, so that an answer still spares one.
const A_MOMENT: Duration = Duration::from_secs(1);
const RESERVED_LABEL: &str = "node";
