use std::{borrow::Borrow, hash::Hash};

use longshore_core::{HostPort, Labels, PlacedWorkload, PlacementRequest, Resources};

use super::{
    labels::Pools,
    profiles::Shared,
    texts::{Pool, Text},
};

/// What a piece of work is and holds, without its own name: replicas of a service share one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Load {
    /// Its service and its labels.
    pub(crate) profile: Shared,
    /// What it holds.
    pub(crate) resources: Resources,
    /// Node ports it holds; never port 0.
    pub(crate) ports: Box<[HostPort]>,
    /// How important it is.
    pub(crate) priority: i32,
}

impl Load {
    pub(crate) fn of_workload(workload: &PlacedWorkload, pools: &mut Pools) -> Self {
        Self {
            profile: pools.profile(workload.service.as_ref(), &workload.labels),
            resources: workload.resources.clone(),
            ports: held(&workload.ports),
            priority: workload.priority,
        }
    }

    pub(crate) fn of_request(request: &PlacementRequest, pools: &mut Pools) -> Self {
        Self {
            profile: pools.profile(request.service.as_ref(), &request.labels),
            resources: request.resources.clone(),
            ports: held(&request.ports),
            priority: request.priority,
        }
    }
}

impl AsRef<Self> for Load {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Labels as pairs of shared texts.
pub(super) fn share_labels(labels: &Labels, texts: &mut Pool<str>) -> Box<[(Text, Text)]> {
    labels
        .iter()
        .map(|(key, value)| (texts.share(key), texts.share(value)))
        .collect()
}

/// A value among pairs in key order.
pub(super) fn find<'p, K: Borrow<str>>(pairs: &'p [(K, Text)], key: &str) -> Option<&'p str> {
    let at = pairs.binary_search_by(|(other, _)| other.borrow().cmp(key));
    at.ok().map(|at| &*pairs[at].1)
}

fn held(ports: &[HostPort]) -> Box<[HostPort]> {
    ports
        .iter()
        .filter(|port| port.port != 0)
        .cloned()
        .collect()
}
