use std::{borrow::Borrow, collections::HashMap, fmt, hash::Hash, sync::Arc};

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
    fn of_workload(workload: &PlacedWorkload, pools: &mut Pools) -> Self {
        Self {
            profile: pools.profile(workload.service.as_ref(), &workload.labels),
            resources: workload.resources.clone(),
            ports: held(&workload.ports),
            priority: workload.priority,
        }
    }

    fn of_request(request: &PlacementRequest, pools: &mut Pools) -> Self {
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

/// Loads that are kept once, however many workloads bear them.
#[derive(Clone, Default)]
pub(super) struct Loads {
    pool: Pool<Load>,
    /// By the address of a request, which is not another's as long as it is held here: the replicas
    /// of a service are often placed by one request, again and again.
    recent: HashMap<usize, (Arc<PlacementRequest>, Arc<Load>)>,
}

/// Addresses are another matter in each process.
impl fmt::Debug for Loads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Loads");
        fields.field("pool", &self.pool);
        fields.field("recent", &self.recent.len()).finish()
    }
}

impl Loads {
    pub(super) fn of_workload(
        &mut self,
        workload: &PlacedWorkload,
        pools: &mut Pools,
    ) -> Arc<Load> {
        self.pool.share(Load::of_workload(workload, pools))
    }

    /// Of a request that hardly comes again.
    pub(super) fn of_single(&mut self, request: &PlacementRequest, pools: &mut Pools) -> Arc<Load> {
        self.pool.share(Load::of_request(request, pools))
    }

    /// Of a request by which many replicas are placed.
    pub(super) fn of_batch(
        &mut self,
        request: &Arc<PlacementRequest>,
        pools: &mut Pools,
    ) -> Arc<Load> {
        let address = Arc::as_ptr(request).addr();
        if let Some((_, load)) = self.recent.get(&address) {
            return load.clone();
        }
        let load = self.of_single(request, pools);
        if self.recent.len() >= MAX_RECENT {
            self.recent.clear();
        }
        self.recent.insert(address, (request.clone(), load.clone()));
        load
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

const MAX_RECENT: usize = 256;
