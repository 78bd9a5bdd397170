//! Small words for clusters and requests.

use longshore_core::*;
use longshore_sched::{ClusterScheduler, FilterName, Strategy};

pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_000);
pub(crate) const EXPIRY: Timestamp = Timestamp::from_secs(1_030);

/// A healthy node with 4 CPUs, 4 GiB and these labels.
pub(crate) fn node(name: &str, labels: &[(&str, &str)]) -> NodeState {
    let capacity = Resources::new(MilliCpu::from_cpus(4), Bytes::from_gib(4));
    let id = format!("id-{name}").parse().unwrap();
    NodeState::new(id, name.parse().unwrap(), capacity)
        .with_labels(labels.iter().copied().collect())
}

/// A workload on a node of [`node`].
pub(crate) fn workload(id: &str, node: &str) -> PlacedWorkload {
    PlacedWorkload::new(id.parse().unwrap(), format!("id-{node}").parse().unwrap())
}

pub(crate) fn named(id: &str, node: &str, name: &str) -> PlacedWorkload {
    let mut workload = workload(id, node);
    workload.name = name.into();
    workload
}

pub(crate) fn request() -> PlacementRequest {
    PlacementRequest::new("image")
}

pub(crate) fn sized(milli_cpu: u64, memory: Bytes) -> PlacementRequest {
    request().with_resources(Resources::new(MilliCpu(milli_cpu), memory))
}

pub(crate) fn expression(text: &str) -> Expression {
    text.parse().unwrap()
}

pub(crate) fn scheduler(nodes: impl IntoIterator<Item = NodeState>) -> ClusterScheduler {
    filled(ClusterScheduler::new(Strategy::Spread), nodes)
}

pub(crate) fn with_filters(
    filters: &[FilterName],
    nodes: impl IntoIterator<Item = NodeState>,
) -> ClusterScheduler {
    filled(
        ClusterScheduler::builder()
            .filters(filters.iter().copied())
            .build(),
        nodes,
    )
}

pub(crate) fn filled(
    mut scheduler: ClusterScheduler,
    nodes: impl IntoIterator<Item = NodeState>,
) -> ClusterScheduler {
    for node in nodes {
        scheduler.observe(Change::Node(node)).unwrap();
    }
    scheduler
}

#[track_caller]
pub(crate) fn observe(scheduler: &mut ClusterScheduler, changes: impl IntoIterator<Item = Change>) {
    for change in changes {
        scheduler.observe(change).unwrap();
    }
}

/// The names of the nodes that could take the work, sorted.
pub(crate) fn feasible(scheduler: &ClusterScheduler, request: &PlacementRequest) -> Vec<String> {
    let nodes = scheduler.explain(request, NOW, 0).unwrap().nodes;
    let feasible = nodes.iter().filter(NodeVerdict::is_feasible);
    let mut names: Vec<String> = feasible.map(|verdict| verdict.name.to_string()).collect();
    names.sort();
    names
}

/// The reasons that a node gives, as `filter: reason`.
pub(crate) fn reasons(
    scheduler: &ClusterScheduler,
    request: &PlacementRequest,
    node: &str,
) -> Vec<String> {
    let nodes = scheduler.explain(request, NOW, 0).unwrap().nodes;
    let verdict = nodes
        .iter()
        .find(|verdict| verdict.name.as_str() == node)
        .unwrap();
    verdict
        .failures
        .iter()
        .map(|f| format!("{}: {}", f.filter, f.reason))
        .collect()
}

/// The first words of a refusal and its counts.
#[track_caller]
pub(crate) fn refusal(
    scheduler: &ClusterScheduler,
    request: &PlacementRequest,
) -> (String, String) {
    match scheduler.place(request, NOW, 0) {
        Err(Refusal::Unplaceable {
            message, summary, ..
        }) => (message, summary),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

/// The winner's name.
#[track_caller]
pub(crate) fn winner(scheduler: &dyn Scheduler, request: &PlacementRequest, seed: u64) -> String {
    scheduler
        .place(request, NOW, seed)
        .unwrap()
        .chosen
        .name
        .to_string()
}
