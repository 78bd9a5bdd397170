use std::{fmt, sync::Arc, time::Duration};

#[cfg(feature = "endpoint")]
use longshore_core::http::HttpClient;
use longshore_core::{
    Availability, Device, Engine, EngineInfo, Image, NodeHealth, NodeId, Resources, Timestamp,
};

/// A node as events and records name it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct NodeRef {
    /// Its name; its address while it never connected.
    pub name: String,
    /// The engine's id; empty while it is unknown.
    pub id: String,
    /// Where it is reached: `host:port` or `tunnel://…`.
    pub address: String,
    /// The host part of the address; empty where unknown.
    pub ip: String,
}

/// How many containers a node holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ContainerCounts {
    /// In all.
    pub total: usize,
    /// Running.
    pub running: usize,
    /// Frozen.
    pub paused: usize,
    /// Everything else.
    pub stopped: usize,
}

/// How far an engine's clock is off, by the last look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClockSkew {
    /// The engine is ahead.
    Ahead(Duration),
    /// The engine is behind.
    Behind(Duration),
}

impl ClockSkew {
    pub(crate) fn between(engine: Timestamp, here: Timestamp) -> Self {
        if engine >= here {
            Self::Ahead(engine.since(here))
        } else {
            Self::Behind(here.since(engine))
        }
    }

    /// Without the direction.
    pub fn amount(self) -> Duration {
        match self {
            Self::Ahead(by) | Self::Behind(by) => by,
        }
    }
}

impl fmt::Display for ClockSkew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ahead(by) => write!(f, "{by:.1?} ahead"),
            Self::Behind(by) => write!(f, "{by:.1?} behind"),
        }
    }
}

/// A node as the control plane sees it at one moment. Cheap to clone.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NodeView {
    /// The engine's id; `None` until it was first reached.
    pub id: Option<NodeId>,
    /// The host's name; the address until it was first reached.
    pub name: String,
    /// `host:port` or `tunnel://<identity>`.
    pub address: String,
    /// The host part of the address; empty where unknown.
    pub ip: String,
    /// Its health.
    pub health: NodeHealth,
    /// Swarm's HealthIndicator, 0 to 100.
    pub health_indicator: u8,
    /// What the operator wants of it.
    pub availability: Availability,
    /// What is wrong, if anything.
    pub error: Option<String>,
    /// Since when it is in this health.
    pub since: Timestamp,
    /// When it is tried again, while it is not healthy.
    pub next_retry: Option<Timestamp>,
    /// The last successful look at it.
    pub updated_at: Timestamp,
    /// What the engine said of itself.
    pub info: Option<Arc<EngineInfo>>,
    /// The engine.
    pub engine: Option<Arc<dyn Engine>>,
    #[cfg(feature = "endpoint")]
    pub(crate) http: Option<HttpClient>,
    /// How many containers it holds.
    pub containers: ContainerCounts,
    /// What its containers hold.
    pub reserved: Resources,
    /// What may be handed out, overcommit included.
    pub capacity: Resources,
    /// The devices that its engine and its labels name.
    pub devices: Arc<[Device]>,
    /// The images it holds.
    pub images: Arc<[Image]>,
    /// What an operator should look at.
    pub warnings: Vec<String>,
    /// How far its clock is off, if by 2 s or more.
    pub clock_skew: Option<ClockSkew>,
    /// Whether its entry is only held: discovery may have lost it.
    pub stale: bool,
}

impl NodeView {
    /// A client for the engine's own API, pooled and shared by all users of this node; `None` until
    /// the node has an engine.
    #[cfg(feature = "endpoint")]
    pub fn http(&self) -> Option<&HttpClient> {
        self.http.as_ref()
    }

    /// The node as events name it.
    pub fn reference(&self) -> NodeRef {
        NodeRef {
            name: self.name.clone(),
            id: self
                .id
                .as_ref()
                .map(|id| id.as_str().to_owned())
                .unwrap_or_default(),
            address: self.address.clone(),
            ip: self.ip.clone(),
        }
    }
}

/// Orders names as people do: runs of digits compare as numbers (`node-2` before `node-10`).
pub(crate) fn natural_order(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (m, n) = (digits(a), digits(b));
            let (left, right) = (strip_zeros(&a[..m]), strip_zeros(&b[..n]));
            let order = left.len().cmp(&right.len()).then_with(|| left.cmp(right));
            if order.is_ne() {
                return order;
            }
            (a, b) = (&a[m..], &b[n..]);
        } else if x == y {
            (a, b) = (&a[1..], &b[1..]);
        } else {
            return x.cmp(y);
        }
    }
    a.len().cmp(&b.len())
}

fn digits(text: &[u8]) -> usize {
    text.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

fn strip_zeros(digits: &[u8]) -> &[u8] {
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_order_naturally() {
        let mut names = ["node-10", "node-2", "node-1", "a", "node-02b", "node-2a"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            ["a", "node-1", "node-2", "node-2a", "node-02b", "node-10"]
        );
    }
}
