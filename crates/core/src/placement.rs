use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    Device, DeviceId, DeviceRequest, Error, Expression, Labels, NodeId, NodeName, Platform,
    ReservationId, Resources, ServiceName, Timestamp, TopologySpread, WorkloadId,
};

/// A transport protocol of a port.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum PortProtocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl PortProtocol {
    /// `tcp`, `udp` or `sctp`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for PortProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for PortProtocol {
    type Err = Error;
    fn from_str(text: &str) -> crate::Result<Self> {
        match text {
            "tcp" | "" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "sctp" => Ok(Self::Sctp),
            _ => Err(Error::invalid(format!(
                "invalid port protocol {text:?}: expected tcp, udp or sctp"
            ))),
        }
    }
}

/// A port of a node.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct HostPort {
    /// On which of the node's addresses; empty, `0.0.0.0` and `::` mean all.
    pub address: String,
    /// The port; 0 lets the engine choose.
    pub port: u16,
    /// Its protocol.
    pub protocol: PortProtocol,
}

impl HostPort {
    /// A port on all of the node's addresses.
    pub fn any(port: u16, protocol: PortProtocol) -> Self {
        Self {
            address: String::new(),
            port,
            protocol,
        }
    }

    /// Whether it means all of the node's addresses.
    pub fn is_any_address(&self) -> bool {
        matches!(self.address.as_str(), "" | "0.0.0.0" | "::")
    }

    /// Whether both can't be held on one node at a time. Port 0 never conflicts.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.port != 0
            && self.port == other.port
            && self.protocol == other.protocol
            && (self.is_any_address() || other.is_any_address() || self.address == other.address)
    }
}

/// A node's health as the control plane sees it; Swarm's state names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum NodeHealth {
    /// Announced, not yet validated.
    #[default]
    Pending,
    /// Answers.
    Healthy,
    /// Stopped answering.
    Unhealthy,
    /// Left the cluster; final.
    Disconnected,
}

impl fmt::Display for NodeHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pending => "Pending",
            Self::Healthy => "Healthy",
            Self::Unhealthy => "Unhealthy",
            Self::Disconnected => "Disconnected",
        })
    }
}

/// What an operator wants of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Availability {
    /// It takes work.
    #[default]
    Active,
    /// It keeps its work and takes no new.
    Cordoned,
    /// Its work is moved away.
    Draining,
    /// Set apart because it failed too often: it keeps its work and takes no new until released.
    Quarantined,
}

/// A node as a scheduler sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeState {
    /// Its identity.
    pub id: NodeId,
    /// Its name.
    pub name: NodeName,
    /// Its health.
    pub health: NodeHealth,
    /// Swarm's HealthIndicator, 0 to 100: 100 − failures × 100 / allowed failures, 0 unless healthy.
    pub health_indicator: u8,
    /// What the operator wants.
    pub availability: Availability,
    /// What may be handed out in all (with overcommit, where used).
    pub capacity: Resources,
    /// Engine labels and built-in attributes; built-in ones win.
    pub labels: Labels,
    /// Image ids, `repository:tag` and `repository@digest` names held by the node.
    pub images: Vec<String>,
    /// Names of the volumes whose data is on the node.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// Its devices, at most 256, each named once.
    #[serde(default)]
    pub devices: Vec<Device>,
    /// When it last failed, if it ever did.
    #[serde(default)]
    pub last_failure: Option<Timestamp>,
}

impl NodeState {
    /// A healthy, active node.
    pub fn new(id: NodeId, name: NodeName, capacity: Resources) -> Self {
        Self {
            id,
            name,
            health: NodeHealth::Healthy,
            health_indicator: 100,
            availability: Availability::Active,
            capacity,
            labels: Labels::new(),
            images: Vec::new(),
            volumes: Vec::new(),
            devices: Vec::new(),
            last_failure: None,
        }
    }

    /// Sets the labels.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.labels = labels;
        self
    }
}

/// A workload that sits on a node, running or not, as a scheduler sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlacedWorkload {
    /// Its id.
    pub id: WorkloadId,
    /// Its node.
    pub node: NodeId,
    /// Its name, empty if none.
    pub name: String,
    /// The service it belongs to.
    pub service: Option<ServiceName>,
    /// Its image reference.
    pub image: String,
    /// Its labels.
    pub labels: Labels,
    /// What it holds.
    pub resources: Resources,
    /// Node ports it holds. Port 0 is not listed.
    pub ports: Vec<HostPort>,
    /// How important it is: more important work may take its place.
    #[serde(default)]
    pub priority: i32,
    /// Devices that it holds. None on a workload that is known means those it had, and on one that
    /// fulfils a reservation those of the reservation: engines do not tell.
    #[serde(default)]
    pub devices: Vec<DeviceId>,
}

impl PlacedWorkload {
    /// A workload that holds nothing.
    pub fn new(id: WorkloadId, node: NodeId) -> Self {
        Self {
            id,
            node,
            name: String::new(),
            service: None,
            image: String::new(),
            labels: Labels::new(),
            resources: Resources::default(),
            ports: Vec::new(),
            priority: 0,
            devices: Vec::new(),
        }
    }
}

/// Why a workload must sit where another one does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DependencyKind {
    /// `--volumes-from`.
    VolumesFrom,
    /// `--link`.
    Link,
    /// `--net=container:…`.
    Network,
}

impl DependencyKind {
    /// The flag, as it stands in error messages: `--volumes-from`, `--link`, `--net=container`.
    pub fn flag(self) -> &'static str {
        match self {
            Self::VolumesFrom => "--volumes-from",
            Self::Link => "--link",
            Self::Network => "--net=container",
        }
    }
}

/// A workload that must be on the same node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    /// Why.
    pub kind: DependencyKind,
    /// The other workload by id, unique id prefix or name.
    pub target: String,
}

/// What a scheduler is asked to place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct PlacementRequest {
    /// The workload's name, empty if the engine shall make one up.
    pub name: String,
    /// The service it belongs to.
    pub service: Option<ServiceName>,
    /// Its image reference.
    pub image: String,
    /// Its labels.
    pub labels: Labels,
    /// What it asks for.
    pub resources: Resources,
    /// Node ports it asks for.
    pub ports: Vec<HostPort>,
    /// Whether it uses the node's own network: then its ports are those it exposes.
    pub host_network: bool,
    /// Demands on node labels and attributes.
    pub constraints: Vec<Expression>,
    /// Demands on what else is on the node (`container`, `image`, or a container label).
    pub affinities: Vec<Expression>,
    /// Lists of node names, separated by `|`.
    pub whitelists: Vec<Expression>,
    /// Workloads that must be on the same node.
    pub dependencies: Vec<Dependency>,
    /// How important it is, 0 for most work: where preemption is asked for, less important work
    /// makes room.
    pub priority: i32,
    /// Failure domains over which the service is kept even.
    pub topology: Vec<TopologySpread>,
    /// Node labels over whose values the service is spread, the most important first: SwarmKit's
    /// placement preferences. A wish: unlike [`topology`](Self::topology) it refuses no node.
    pub preferences: Vec<String>,
    /// Devices that it needs for itself.
    pub devices: Vec<DeviceRequest>,
    /// Volumes that it uses: it goes where their data is. One that no node has may be anywhere.
    pub volumes: Vec<String>,
    /// Platforms that the image runs on; none means any.
    pub platforms: Vec<Platform>,
    /// Whose work it is. Nodes with the label `tenant` take only work of the tenants listed there,
    /// separated by commas.
    pub tenant: Option<String>,
}

impl PlacementRequest {
    /// A request for this image with no demands.
    pub fn new(image: impl Into<String>) -> Self {
        Self {
            image: image.into(),
            ..Self::default()
        }
    }

    /// Sets the name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets what it asks for.
    #[must_use]
    pub fn with_resources(mut self, resources: Resources) -> Self {
        self.resources = resources;
        self
    }

    /// Adds a constraint.
    #[must_use]
    pub fn with_constraint(mut self, expression: Expression) -> Self {
        self.constraints.push(expression);
        self
    }

    /// Adds an affinity.
    #[must_use]
    pub fn with_affinity(mut self, expression: Expression) -> Self {
        self.affinities.push(expression);
        self
    }

    /// Adds a port.
    #[must_use]
    pub fn with_port(mut self, port: HostPort) -> Self {
        self.ports.push(port);
        self
    }
}

/// Room held on a node for work that was placed and is not seen there yet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reservation {
    /// Its id, chosen by the caller.
    pub id: ReservationId,
    /// The node.
    pub node: NodeId,
    /// For what.
    pub request: PlacementRequest,
    /// When it is given up unless released before.
    pub expires: Timestamp,
    /// The devices that its placement named. None where the request asks for some: those that a
    /// placement on the node would name now.
    pub devices: Vec<DeviceId>,
}

impl Reservation {
    /// Room for a request on a node.
    pub fn new(
        id: ReservationId,
        node: NodeId,
        request: PlacementRequest,
        expires: Timestamp,
    ) -> Self {
        Self {
            id,
            node,
            request,
            expires,
            devices: Vec::new(),
        }
    }

    /// Names the devices to hold.
    #[must_use]
    pub fn with_devices(mut self, devices: Vec<DeviceId>) -> Self {
        self.devices = devices;
        self
    }
}

/// What a scheduler is told.
#[expect(
    clippy::large_enum_variant,
    reason = "a change is taken in at once; a box would cost every reservation an allocation"
)]
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// A node came or changed.
    Node(NodeState),
    /// A node left; what was on it is forgotten.
    NodeGone(NodeId),
    /// A workload is on a node, or changed.
    Workload(PlacedWorkload),
    /// A workload left a node.
    WorkloadGone(NodeId, WorkloadId),
    /// Room is held.
    Reserve(Reservation),
    /// Room is given back: the work was given up.
    Release(ReservationId),
    /// The work of a reservation was seen: both happen in one step.
    Fulfil(ReservationId, PlacedWorkload),
    /// Time passes: reservations that expired are given up.
    Tick(Timestamp),
}
