//! Small clusters, and checks on them.

use super::Harness;
use crate::{
    Bytes, Change, ErrorKind, Explanation, Expression, MilliCpu, NodeId, NodeState, NodeVerdict,
    PlacedWorkload, Placement, PlacementRequest, Refusal, Reservation, ReservationId, Resources,
    Scheduler, Timestamp, WorkloadId,
};

pub(super) const NOW: Timestamp = Timestamp::from_secs(1_000);
pub(super) const EXPIRY: Timestamp = Timestamp::from_secs(1_030);

pub(super) fn node_id(id: &str) -> NodeId {
    id.parse().expect("a valid name")
}

pub(super) fn workload_id(id: &str) -> WorkloadId {
    id.parse().expect("a valid name")
}

pub(super) fn reservation_id(id: &str) -> ReservationId {
    id.parse().expect("a valid name")
}

pub(super) fn expression(text: &str) -> Expression {
    text.parse().expect("a valid name")
}

/// A healthy node with 4 CPUs and 4 GiB.
pub(super) fn node(name: &str) -> NodeState {
    let capacity = Resources::new(MilliCpu::from_cpus(4), Bytes::from_gib(4));
    NodeState::new(node_id(name), name.parse().expect("a valid name"), capacity)
}

pub(super) fn request() -> PlacementRequest {
    PlacementRequest::new("image")
}

pub(super) fn sized(milli_cpu: u64, mib: u64) -> PlacementRequest {
    request().with_resources(Resources::new(MilliCpu(milli_cpu), Bytes::from_mib(mib)))
}

pub(super) fn workload(id: &str, node: &str) -> PlacedWorkload {
    PlacedWorkload::new(workload_id(id), node_id(node))
}

pub(super) fn placed(
    id: &str,
    placement: &Placement,
    request: &PlacementRequest,
) -> PlacedWorkload {
    let mut workload = PlacedWorkload::new(workload_id(id), placement.chosen.node.clone());
    workload.resources = request.resources.clone();
    workload
}

pub(super) fn reservation(id: &str, node: &str, request: &PlacementRequest) -> Reservation {
    Reservation::new(reservation_id(id), node_id(node), request.clone(), EXPIRY)
}

pub(super) fn with_nodes<H: Harness + ?Sized>(harness: &H, names: &[&str]) -> Box<dyn Scheduler> {
    let mut scheduler = harness.scheduler();
    for name in names {
        observe(&mut *scheduler, Change::Node(node(name)));
    }
    scheduler
}

/// `a` and `b` in zone `eu`, `c` in `us`, `d` without a zone.
pub(super) fn zones<H: Harness + ?Sized>(harness: &H) -> Box<dyn Scheduler> {
    let mut scheduler = harness.scheduler();
    for (name, zone) in [
        ("a", Some("eu")),
        ("b", Some("eu")),
        ("c", Some("us")),
        ("d", None),
    ] {
        let labels = zone.map(|zone| ("zone", zone)).into_iter().collect();
        observe(
            &mut *scheduler,
            Change::Node(node(name).with_labels(labels)),
        );
    }
    scheduler
}

pub(super) fn has_filter(scheduler: &dyn Scheduler, name: &str) -> bool {
    scheduler.filters().iter().any(|filter| filter == name)
}

#[track_caller]
pub(super) fn observe(scheduler: &mut dyn Scheduler, change: Change) {
    if let Err(error) = scheduler.observe(change.clone()) {
        panic!("{change:?} was refused: {error}");
    }
}

#[track_caller]
pub(super) fn explain(scheduler: &dyn Scheduler, request: &PlacementRequest) -> Explanation {
    scheduler
        .explain(request, NOW, 0)
        .expect("the request is valid")
}

#[track_caller]
pub(super) fn place(scheduler: &dyn Scheduler, request: &PlacementRequest) -> Placement {
    match scheduler.place(request, NOW, 0) {
        Ok(placement) => placement,
        Err(refusal) => panic!("{request:?} was refused: {refusal}"),
    }
}

#[track_caller]
pub(super) fn check_unplaceable(scheduler: &dyn Scheduler, request: &PlacementRequest) {
    match scheduler.place(request, NOW, 0) {
        Err(Refusal::Unplaceable { message, .. }) => assert!(!message.is_empty()),
        other => panic!("{request:?} should be unplaceable, got {other:?}"),
    }
}

pub(super) fn is_feasible_on(
    scheduler: &dyn Scheduler,
    name: &str,
    request: &PlacementRequest,
) -> bool {
    let verdicts = explain(scheduler, request).nodes;
    verdicts
        .iter()
        .any(|verdict| verdict.node.as_str() == name && verdict.is_feasible())
}

#[track_caller]
pub(super) fn check_unplaceable_on(
    scheduler: &dyn Scheduler,
    name: &str,
    request: &PlacementRequest,
) {
    assert!(
        !is_feasible_on(scheduler, name, request),
        "{name} should not take {request:?}"
    );
}

#[track_caller]
pub(super) fn place_on(scheduler: &dyn Scheduler, name: &str, request: &PlacementRequest) {
    assert!(
        is_feasible_on(scheduler, name, request),
        "{name} should take {request:?}"
    );
}

/// Whatever the seed, only these nodes are chosen; each of them could be.
#[track_caller]
pub(super) fn check_choices(
    scheduler: &dyn Scheduler,
    request: &PlacementRequest,
    allowed: &[&str],
) {
    let verdicts = explain(scheduler, request).nodes;
    let mut feasible: Vec<String> = verdicts
        .iter()
        .filter(NodeVerdict::is_feasible)
        .map(|v| v.node.to_string())
        .collect();
    feasible.sort_unstable();
    assert_eq!(feasible, allowed, "for {request:?}");
    for seed in 0..20 {
        match scheduler.place(request, NOW, seed) {
            Ok(placement) => assert!(allowed.contains(&placement.chosen.node.as_str())),
            Err(refusal) => assert!(allowed.is_empty(), "{request:?} was refused: {refusal}"),
        }
    }
}

/// The change is refused and changes nothing.
#[track_caller]
pub(super) fn check_refused(
    scheduler: &mut dyn Scheduler,
    change: Change,
    kind: ErrorKind,
) -> crate::Error {
    let error = check_refused_any(scheduler, change.clone());
    assert_eq!(error.kind(), kind, "{change:?} was refused with: {error}");
    error
}

#[track_caller]
pub(super) fn check_refused_any(scheduler: &mut dyn Scheduler, change: Change) -> crate::Error {
    let before = explain(scheduler, &sized(1, 1));
    let error = match scheduler.observe(change.clone()) {
        Ok(()) => panic!("{change:?} should be refused"),
        Err(error) => error,
    };
    assert_eq!(
        explain(scheduler, &sized(1, 1)),
        before,
        "{change:?} left something behind"
    );
    error
}
