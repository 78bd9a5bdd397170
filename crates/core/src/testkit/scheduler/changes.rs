//! What a scheduler is told.

use super::{
    Harness,
    cluster::{
        EXPIRY, check_refused, check_refused_any, check_unplaceable, check_unplaceable_on, explain,
        node, node_id, observe, place, place_on, request, reservation, reservation_id, sized,
        with_nodes, workload, workload_id,
    },
};
use crate::{Bytes, Change, ErrorKind, HostPort, MilliCpu, PortProtocol, Resources};

/// A workload or reservation on an unknown node is refused; what leaves one is not, for it is gone.
pub async fn an_unknown_node_is_named<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    for change in [
        Change::Workload(workload("w", "nosuch")),
        Change::Fulfil(reservation_id("r"), workload("w", "nosuch")),
        Change::Reserve(reservation("r", "nosuch", &request())),
    ] {
        let error = check_refused(&mut *scheduler, change, ErrorKind::NotFound);
        assert!(
            error.to_string().contains("nosuch"),
            "the node is not named: {error}"
        );
    }
    observe(&mut *scheduler, Change::NodeGone(node_id("nosuch")));
    observe(
        &mut *scheduler,
        Change::WorkloadGone(node_id("nosuch"), workload_id("w")),
    );
    observe(
        &mut *scheduler,
        Change::WorkloadGone(node_id("a"), workload_id("nosuch")),
    );
}

/// A refused change leaves the index as it was: also the reservation that a refused fulfilment
/// names.
pub async fn a_refused_change_changes_nothing<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b"]);
    let held = sized(3000, 1024)
        .with_name("held")
        .with_port(HostPort::any(80, PortProtocol::Tcp));
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &held)),
    );
    let changes = [
        Change::Fulfil(reservation_id("r"), workload("w", "nosuch")),
        Change::Reserve(reservation("r", "b", &held)),
        Change::Reserve(reservation("r2", "a", &sized(1001, 0))),
        Change::Reserve(reservation("r3", "b", &sized(1, 1).with_name("held"))),
        Change::Workload(workload("w", "nosuch")),
    ];
    for change in changes {
        check_refused_any(&mut *scheduler, change);
        check_unplaceable_on(&*scheduler, "a", &sized(1001, 0));
    }
    observe(&mut *scheduler, Change::Release(reservation_id("r")));
    place_on(&*scheduler, "a", &sized(4000, 4096));
}

/// Every change may be told twice.
pub async fn the_same_change_twice_counts_once<H: Harness + ?Sized>(harness: &H) {
    let part = sized(1000, 1024);
    let mut seen = workload("w1", "a");
    seen.resources = part.resources.clone();
    seen.ports = vec![HostPort::any(80, PortProtocol::Tcp)];
    let mut fulfilled = workload("w2", "a");
    fulfilled.resources = part.resources.clone();
    let changes = [
        Change::Node(node("a")),
        Change::Node(node("b")),
        Change::Workload(seen),
        Change::Reserve(reservation("r1", "a", &part)),
        Change::Reserve(reservation("r2", "b", &part)),
        Change::Fulfil(reservation_id("r1"), fulfilled),
        Change::Release(reservation_id("r2")),
        Change::WorkloadGone(node_id("a"), workload_id("w1")),
        Change::Tick(EXPIRY),
        Change::NodeGone(node_id("b")),
    ];
    let (mut once, mut twice) = (harness.scheduler(), harness.scheduler());
    for change in changes {
        observe(&mut *once, change.clone());
        observe(&mut *twice, change.clone());
        observe(&mut *twice, change.clone());
        let probe = sized(1, 1);
        assert_eq!(
            explain(&*once, &probe),
            explain(&*twice, &probe),
            "after {change:?}"
        );
    }
    place(&*twice, &sized(3000, 3072));
    check_unplaceable(&*twice, &sized(3001, 0));
}

/// A workload that is told again holds what it was told last.
pub async fn a_changed_workload_holds_what_it_holds_now<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let mut changing = workload("w", "a");
    changing.name = "old".into();
    changing.ports = vec![HostPort::any(80, PortProtocol::Tcp)];
    for cpu in [4000, 1000, 3000, 2000] {
        changing.resources = Resources::new(MilliCpu(cpu), Bytes::ZERO);
        observe(&mut *scheduler, Change::Workload(changing.clone()));
    }
    check_unplaceable(&*scheduler, &sized(2001, 0));
    place(&*scheduler, &sized(2000, 0));
    changing.name = "new".into();
    changing.ports.clear();
    observe(&mut *scheduler, Change::Workload(changing));
    place(
        &*scheduler,
        &request().with_port(HostPort::any(80, PortProtocol::Tcp)),
    );
    let old = reservation("r1", "a", &request().with_name("old"));
    observe(&mut *scheduler, Change::Reserve(old));
    let new = Change::Reserve(reservation("r2", "a", &request().with_name("new")));
    check_refused(&mut *scheduler, new, ErrorKind::AlreadyExists);
}

/// A workload that left gives back what it held.
pub async fn a_gone_workload_gives_its_room_back<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let before = explain(&*scheduler, &sized(1, 1));
    let mut hog = workload("w", "a");
    hog.resources = Resources::new(MilliCpu(4000), Bytes::from_gib(4));
    observe(&mut *scheduler, Change::Workload(hog));
    check_unplaceable(&*scheduler, &sized(1, 1));
    observe(
        &mut *scheduler,
        Change::WorkloadGone(node_id("a"), workload_id("w")),
    );
    assert_eq!(explain(&*scheduler, &sized(1, 1)), before);
}

/// A node that left is forgotten with its workloads and reservations, and comes back empty.
pub async fn a_gone_node_takes_everything_along<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let before = explain(&*scheduler, &sized(1, 1));
    let mut hog = workload("w", "a");
    hog.name = "hog".into();
    hog.resources = Resources::new(MilliCpu(2000), Bytes::ZERO);
    observe(&mut *scheduler, Change::Workload(hog));
    let held = sized(2000, 0).with_name("held");
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &held)),
    );
    observe(&mut *scheduler, Change::NodeGone(node_id("a")));
    check_unplaceable(&*scheduler, &request());
    observe(&mut *scheduler, Change::Node(node("a")));
    assert_eq!(explain(&*scheduler, &sized(1, 1)), before);
    // Names and ids are free again, and the old reservation's end takes nothing off.
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &sized(1, 1).with_name("hog"))),
    );
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r2", "a", &held)),
    );
    check_unplaceable(&*scheduler, &sized(2000, 0));
}

/// A node that changes keeps what is on it; its new capacity counts from then on.
pub async fn a_changed_node_keeps_its_work<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let mut hog = workload("w", "a");
    hog.resources = Resources::new(MilliCpu(3000), Bytes::ZERO);
    observe(&mut *scheduler, Change::Workload(hog));
    for (cpus, free) in [(8, 5000), (4, 1000), (2, 0), (5, 2000)] {
        let mut changed = node("a");
        changed.capacity.cpu = MilliCpu::from_cpus(cpus);
        observe(&mut *scheduler, Change::Node(changed));
        check_unplaceable(&*scheduler, &sized(free + 1, 0));
        if free > 0 {
            place(&*scheduler, &sized(free, 0));
        }
    }
}
