use serde::{Deserialize, Serialize};

/// Keeps the replicas of a service even over failure domains.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TopologySpread {
    /// The node label whose values are the domains. Nodes without it are refused.
    pub label: String,
    /// By how many replicas the fullest domain may be ahead of the emptiest; 0 counts as 1.
    pub max_skew: u32,
}
