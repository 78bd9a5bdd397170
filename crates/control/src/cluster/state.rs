mod nodes;
mod pending;
mod reservations;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_core::{
    Availability, Change, Explanation, NodeHealth, NodeId, NodeName, PlacementRequest, Result,
    Scheduler, Timestamp, Workload, WorkloadId,
};

use super::{
    ContainerView, SWARM_ID_LABEL,
    index::ContainerIndex,
    lookup,
    placements::PlacementLog,
    slot::{MOST_CONTAINERS, MOST_HELD_DEVICES, Record, Slot, SlotId},
};
use crate::{
    devices,
    pending::{Relief, Waiting},
    placement::{self, Accounting},
};

use tokio::sync::Notify;

pub(crate) use self::reservations::{NameHold, Reserved};

/// The cluster behind its one lock. The lock is held for memory work only, never across an await.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    state: Arc<Mutex<State>>,
}

impl Cluster {
    pub(crate) fn new(state: State) -> Self {
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of an embedder's scheduler must not take the control plane down for good.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All that is known of the cluster: nodes, containers, names, reservations, and the scheduler
/// that is told every change of them.
pub(crate) struct State {
    scheduler: Box<dyn Scheduler>,
    overcommit: f64,
    accounting: Accounting,
    next_slot: u64,
    sequence: u64,
    slots: BTreeMap<SlotId, Slot>,
    by_address: HashMap<String, SlotId>,
    by_id: HashMap<NodeId, SlotId>,
    /// What operators want; kept by identity, so it survives a change of address.
    availability: HashMap<NodeId, Availability>,
    /// Told of every change.
    changed: Arc<Notify>,
    containers: ContainerIndex,
    listing: Option<Arc<[Arc<ContainerView>]>>,
    names: HashMap<String, NameHold>,
    reservations: HashMap<longshore_core::ReservationId, Reserved>,
    placements: PlacementLog,
    /// Work that waits for room.
    waiting: Waiting,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("nodes", &self.slots.len())
            .field("reservations", &self.reservations.len())
            .finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn new(
        scheduler: Box<dyn Scheduler>,
        overcommit: f64,
        accounting: Accounting,
        explanation_capacity: usize,
        changed: Arc<Notify>,
        waiting: Waiting,
    ) -> Self {
        Self {
            scheduler,
            overcommit,
            accounting,
            next_slot: 0,
            sequence: 0,
            slots: BTreeMap::new(),
            by_address: HashMap::new(),
            by_id: HashMap::new(),
            availability: HashMap::new(),
            changed,
            containers: ContainerIndex::default(),
            listing: None,
            names: HashMap::new(),
            reservations: HashMap::new(),
            placements: PlacementLog::new(explanation_capacity),
            waiting,
        }
    }

    pub(crate) fn scheduler(&self) -> &dyn Scheduler {
        &*self.scheduler
    }

    /// A number for a look that begins now. What a look finds is applied under its number, so that
    /// an older look that arrives late changes nothing.
    pub(crate) fn begin_look(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// Takes in what a look found of one container.
    pub(crate) fn upsert(&mut self, slot: SlotId, workload: Workload, as_of: u64) {
        self.upsert_shared(slot, Arc::new(workload), as_of);
    }

    fn upsert_shared(&mut self, slot_id: SlotId, workload: Arc<Workload>, as_of: u64) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        let (Some(node), Some(info)) = (slot.id.clone(), slot.info.clone()) else {
            return;
        };
        let id = workload.id.clone();
        if slot.tombstones.get(&id).is_some_and(|gone| *gone >= as_of)
            || slot.records.get(&id).is_some_and(|old| old.as_of > as_of)
        {
            return;
        }
        if slot.is_full() && !slot.records.contains_key(&id) {
            slot.overflow = true;
            return;
        }
        slot.tombstones.remove(&id);
        if let Some(old) = slot.records.get_mut(&id)
            && *old.view.workload == *workload
        {
            old.as_of = as_of;
            return;
        }
        let mut placed = placement::placed(&workload, &node, self.accounting);
        let old_one = slot.records.get(&id);
        let mistrust = devices::mistrust(&workload);
        if let Some(reason) = &mistrust
            && old_one.is_none_or(|old| devices::mistrust(&old.view.workload) != mistrust)
        {
            tracing::warn!(node = %info.name, container = %id, "{reason}");
        }
        let others = slot.held_devices - old_one.map_or(0, |old| old.placed.devices.len());
        if others + placed.devices.len() > MOST_HELD_DEVICES {
            tracing::warn!(
                node = %info.name, container = %id,
                "its devices are not noted: the node's containers hold {others} already"
            );
            placed.devices.clear();
        }
        let view = Arc::new(view_of(slot, &node, &info.name, workload));
        let record = Record {
            view: Arc::clone(&view),
            placed: placed.clone(),
            as_of,
        };
        slot.count_in(&record);
        let old = slot.records.insert(id.clone(), record);
        if let Some(old) = &old {
            slot.count_out(old);
        }
        self.containers.insert(view);
        self.listing = None;
        self.changed.notify_one();
        if let Some(old) = &old
            && placed.devices.is_empty()
            && !old.placed.devices.is_empty()
        {
            // Work that is told without devices keeps those it had.
            self.tell(Change::WorkloadGone(node, id), Relief::NONE);
        }
        if !self.observed_name(&placed) && old.as_ref().is_none_or(|old| old.placed != placed) {
            let relief = match old {
                None => Relief::CAME,
                Some(_) => Relief::CAME | Relief::FREED,
            };
            self.tell(Change::Workload(placed), relief);
        }
    }

    /// Takes out a container that a look found gone.
    pub(crate) fn remove(&mut self, slot_id: SlotId, id: &WorkloadId, as_of: u64) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        if slot.records.get(id).is_some_and(|old| old.as_of > as_of) {
            return;
        }
        if slot.tombstones.len() < MOST_CONTAINERS {
            slot.tombstones.insert(id.clone(), as_of);
        }
        self.drop_record(slot_id, id);
    }

    /// Takes in a full list of a node's containers. Returns those that should be inspected:
    /// the new ones, and those whose listing changed.
    pub(crate) fn replace_all(
        &mut self,
        slot_id: SlotId,
        mut list: Vec<Workload>,
        as_of: u64,
        began: Timestamp,
    ) -> Vec<WorkloadId> {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return Vec::new();
        };
        slot.overflow = list.len() > MOST_CONTAINERS;
        list.truncate(MOST_CONTAINERS);
        let listed: HashSet<WorkloadId> = list.iter().map(|w| w.id.clone()).collect();
        let gone: Vec<WorkloadId> = slot
            .records
            .iter()
            .filter(|(id, record)| record.as_of <= as_of && !listed.contains(*id))
            .map(|(id, _)| id.clone())
            .collect();
        // Looks older than this one can no longer bring anything back but through `as_of`.
        slot.tombstones.retain(|_, at| *at > as_of);
        slot.listed_at = Some(began);
        self.changed.notify_one();
        let mut inspect = Vec::new();
        for id in gone {
            self.drop_record(slot_id, &id);
        }
        for workload in list {
            let known = self
                .slots
                .get(&slot_id)
                .and_then(|slot| slot.records.get(&workload.id));
            let merged = match known {
                _ if workload.detail.is_some() => workload,
                Some(old) if same_listing(&old.view.workload, &workload) => {
                    if old.view.workload.detail.is_none() {
                        inspect.push(workload.id.clone());
                    }
                    let mut merged = workload;
                    merged.detail = old.view.workload.detail.clone();
                    merged
                }
                _ => {
                    inspect.push(workload.id.clone());
                    let mut merged = workload;
                    // Until the inspection is there, the last known detail keeps resources held.
                    merged.detail = known.and_then(|old| old.view.workload.detail.clone());
                    merged
                }
            };
            self.upsert_shared(slot_id, Arc::new(merged), as_of);
        }
        inspect
    }

    fn drop_record(&mut self, slot_id: SlotId, id: &WorkloadId) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        let Some(record) = slot.records.remove(id) else {
            return;
        };
        slot.count_out(&record);
        let node = record.view.node.clone();
        self.containers.remove(id, &node);
        self.placements.forget(id);
        self.listing = None;
        self.changed.notify_one();
        self.tell(Change::WorkloadGone(node, id.clone()), Relief::FREED);
    }

    /// All containers, newest first. The same allocation as long as nothing changed.
    pub(crate) fn listing(&mut self) -> Arc<[Arc<ContainerView>]> {
        if let Some(listing) = &self.listing {
            return Arc::clone(listing);
        }
        let mut views: Vec<Arc<ContainerView>> = self.containers.views().cloned().collect();
        // Stable, so containers of one moment stay in order of id.
        views.sort_by_key(|view| std::cmp::Reverse(view.workload.created));
        let listing: Arc<[Arc<ContainerView>]> = views.into();
        self.listing = Some(Arc::clone(&listing));
        listing
    }

    /// The containers that belong to stacks.
    pub(crate) fn managed(&self) -> Vec<Arc<ContainerView>> {
        self.containers.managed()
    }

    pub(crate) fn find(&self, reference: &str) -> Result<Arc<ContainerView>> {
        lookup::find(&self.containers, reference)
    }

    pub(crate) fn container_on(&self, slot: SlotId, id: &WorkloadId) -> Option<Arc<ContainerView>> {
        let record = self.slots.get(&slot)?.records.get(id)?;
        Some(Arc::clone(&record.view))
    }

    /// The explanation kept from the time of placement.
    pub(crate) fn kept_explanation(&self, id: &WorkloadId) -> Option<Explanation> {
        self.placements.get(id).cloned()
    }

    pub(crate) fn keep_explanation(&mut self, id: WorkloadId, explanation: Explanation) {
        self.placements.keep(id, explanation);
    }

    pub(crate) fn explain(
        &mut self,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        self.tick(now);
        self.scheduler.explain(request, now, seed)
    }

    /// What would be decided if these changes had happened.
    pub(crate) fn explain_after(
        &mut self,
        changes: Vec<Change>,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        self.tick(now);
        self.scheduler.explain_after(changes, request, now, seed)
    }

    /// What would be decided for a container if it were not there.
    pub(crate) fn explain_anew(
        &mut self,
        view: &ContainerView,
        request: &PlacementRequest,
        now: Timestamp,
        seed: u64,
    ) -> Result<Explanation> {
        let (node, id) = (view.node.clone(), view.workload.id.clone());
        self.tell(Change::WorkloadGone(node.clone(), id), Relief::NONE);
        let explained = self.explain(request, now, seed);
        let record = self.slot_of(&node).and_then(|slot| self.slots.get(&slot));
        let record = record.and_then(|slot| slot.records.get(&view.workload.id));
        let placed = match record {
            Some(record) => record.placed.clone(),
            None => placement::placed(&view.workload, &node, self.accounting),
        };
        self.tell(Change::Workload(placed), Relief::NONE);
        explained
    }

    /// Tells the scheduler, and those who wait for room what it may do for them. Its refusal is a
    /// defect of ours or of the scheduler: the view goes on.
    fn tell(&mut self, change: Change, relief: Relief) {
        self.waiting.relieve(relief);
        if let Err(error) = self.scheduler.observe(change) {
            tracing::warn!(error = %error.chain(), "the scheduler refused a change");
        }
    }

    /// Makes the views of a node's containers anew after something shown in them changed.
    fn renew_views(&mut self, slot_id: SlotId) {
        let Some(slot) = self.slots.get_mut(&slot_id) else {
            return;
        };
        let (Some(node), Some(info)) = (slot.id.clone(), slot.info.clone()) else {
            return;
        };
        let workloads: Vec<Arc<Workload>> = slot
            .records
            .values()
            .map(|record| Arc::clone(&record.view.workload))
            .collect();
        for workload in workloads {
            let id = workload.id.clone();
            let view = Arc::new(view_of(slot, &node, &info.name, workload));
            if let Some(record) = slot.records.get_mut(&id) {
                record.view = Arc::clone(&view);
            }
            self.containers.insert(view);
        }
        self.listing = None;
        self.changed.notify_one();
    }
}

fn view_of(slot: &Slot, node: &NodeId, name: &NodeName, workload: Arc<Workload>) -> ContainerView {
    ContainerView {
        node: node.clone(),
        node_name: name.clone(),
        node_ip: slot.ip.clone(),
        node_health: slot.status.health,
        swarm_id: workload
            .labels
            .get(SWARM_ID_LABEL)
            .filter(|id| is_swarm_id(id))
            .map(str::to_owned),
        stale: slot.stale || slot.status.health == NodeHealth::Disconnected,
        workload,
    }
}

/// Swarm ids are made by control planes: 64 hex digits. Anything else is somebody's own text.
fn is_swarm_id(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether two listings of a container tell the same, so that a new inspection would too. A
/// restarting container changes without its listing showing it.
fn same_listing(old: &Workload, new: &Workload) -> bool {
    old.state == new.state
        && new.state != longshore_core::WorkloadState::Restarting
        && old.names == new.names
        && old.image_id == new.image_id
        && old.ports == new.ports
        && old.labels == new.labels
}

#[cfg(test)]
mod tests;
