use std::{collections::HashMap, sync::Arc};

#[cfg(feature = "endpoint")]
use longshore_core::http::HttpClient;
use longshore_core::{
    Device, Engine, EngineInfo, Image, Labels, NodeHealth, NodeId, NodeName, PlacedWorkload,
    Resources, Timestamp, WorkloadId, WorkloadState,
};

use tokio::sync::mpsc;

use super::ContainerView;
use crate::{
    node::{ClockSkew, ContainerCounts, Note},
    pending::Told,
};

/// One entry of the membership, for as long as it lasts. An address that leaves and comes back
/// is another slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SlotId(pub(super) u64);

impl SlotId {
    /// No slot has this id.
    pub(super) const NONE: Self = Self(u64::MAX);
}

/// What the lifecycle says of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeStatus {
    pub(crate) health: NodeHealth,
    pub(crate) indicator: u8,
    pub(crate) error: Option<String>,
    pub(crate) since: Timestamp,
    pub(crate) next_retry: Option<Timestamp>,
    pub(crate) updated_at: Timestamp,
}

impl NodeStatus {
    pub(crate) fn pending(now: Timestamp) -> Self {
        Self {
            health: NodeHealth::Pending,
            indicator: 0,
            error: None,
            since: now,
            next_retry: Some(now),
            updated_at: now,
        }
    }
}

/// What a node is announced with, by its agent or by discovery: its operator's word, which wins over
/// the engine's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    pub(crate) name: Option<NodeName>,
    pub(crate) labels: Labels,
}

impl Announced {
    pub(super) fn over(&self, engine: &Arc<EngineInfo>) -> Arc<EngineInfo> {
        if self.name.is_none() && self.labels.is_empty() {
            return Arc::clone(engine);
        }
        let mut info = EngineInfo::clone(engine);
        if let Some(name) = &self.name {
            info.name = name.clone();
        }
        info.labels.extend(self.labels.iter());
        Arc::new(info)
    }
}

/// A node in the cluster's state.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) address: String,
    pub(super) ip: String,
    pub(super) status: NodeStatus,
    /// The identity that it holds: set when validated, unique in the cluster.
    pub(super) id: Option<NodeId>,
    /// What its engine says of itself.
    pub(super) engine_info: Option<Arc<EngineInfo>>,
    /// What was announced of it beside that.
    pub(super) announced: Announced,
    /// Both together: how the node is known.
    pub(super) info: Option<Arc<EngineInfo>>,
    pub(super) engine: Option<Arc<dyn Engine>>,
    #[cfg(feature = "endpoint")]
    pub(super) http: Option<HttpClient>,
    pub(super) capacity: Resources,
    pub(super) devices: Arc<[Device]>,
    /// How many devices its containers are said to hold.
    pub(super) held_devices: usize,
    pub(super) images: Arc<[Image]>,
    pub(super) warnings: Vec<String>,
    pub(super) skew: Option<ClockSkew>,
    pub(super) stale: bool,
    pub(super) records: HashMap<WorkloadId, Record>,
    /// Containers seen to go, with the number of that look: an older look does not bring them back.
    pub(super) tombstones: HashMap<WorkloadId, u64>,
    pub(super) counts: ContainerCounts,
    pub(super) reserved: Resources,
    /// Where its driver takes notes.
    pub(super) inbox: Option<mpsc::Sender<Note>>,
    /// What its agent says is wrong with the engine beside it.
    pub(super) agent_says: Option<String>,
    /// Whether it said that it holds more containers than are taken in.
    pub(super) overflow: bool,
    /// When the last full listing under its present identity began.
    pub(super) listed_at: Option<Timestamp>,
    /// What the scheduler was told of it last.
    pub(super) told: Option<Told>,
}

/// More containers of one node are not taken in: a listing is the node's own word.
pub(super) const MOST_CONTAINERS: usize = 10_000;

/// More devices than its containers can hold by right are not noted: which one has is its own word.
pub(super) const MOST_HELD_DEVICES: usize = 1_024;

/// A container on a node.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) view: Arc<ContainerView>,
    pub(super) placed: PlacedWorkload,
    /// The number of the look that it comes from.
    pub(super) as_of: u64,
}

impl Slot {
    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= MOST_CONTAINERS
    }

    pub(super) fn new(address: String, ip: String, now: Timestamp) -> Self {
        Self {
            address,
            ip,
            status: NodeStatus::pending(now),
            id: None,
            engine_info: None,
            announced: Announced::default(),
            info: None,
            engine: None,
            #[cfg(feature = "endpoint")]
            http: None,
            capacity: Resources::default(),
            devices: Arc::from([]),
            held_devices: 0,
            images: Arc::from([]),
            warnings: Vec::new(),
            skew: None,
            stale: false,
            records: HashMap::new(),
            tombstones: HashMap::new(),
            counts: ContainerCounts::default(),
            reserved: Resources::default(),
            inbox: None,
            listed_at: None,
            told: None,
            overflow: false,
            agent_says: None,
        }
    }

    pub(super) fn count_in(&mut self, record: &Record) {
        *slot_for(&mut self.counts, record.view.workload.state) += 1;
        self.counts.total += 1;
        self.reserved.add(&record.placed.resources);
        self.held_devices += record.placed.devices.len();
    }

    pub(super) fn count_out(&mut self, record: &Record) {
        let count = slot_for(&mut self.counts, record.view.workload.state);
        *count = count.saturating_sub(1);
        self.counts.total = self.counts.total.saturating_sub(1);
        self.reserved.subtract(&record.placed.resources);
        let held = record.placed.devices.len();
        self.held_devices = self.held_devices.saturating_sub(held);
    }
}

fn slot_for(counts: &mut ContainerCounts, state: WorkloadState) -> &mut usize {
    match state {
        WorkloadState::Running => &mut counts.running,
        WorkloadState::Paused => &mut counts.paused,
        _ => &mut counts.stopped,
    }
}
