//! What fits: exact, and never more than there is.

use super::{
    Harness,
    cluster::{
        check_refused, check_unplaceable, explain, node, node_id, observe, place, placed, request,
        reservation, reservation_id, sized, with_nodes, workload, workload_id,
    },
};
use crate::{Bytes, Change, Device, DeviceId, ErrorKind, MilliCpu, Resources};

/// Without nodes every request is unplaceable, and the explanation lists no node.
pub async fn an_empty_cluster_takes_nothing<H: Harness + ?Sized>(harness: &H) {
    let scheduler = harness.scheduler();
    check_unplaceable(&*scheduler, &request());
    let explanation = explain(&*scheduler, &request());
    assert!(explanation.nodes.is_empty() && explanation.placement.is_none());
    assert!(explanation.refusal.is_some() && !explanation.summary.is_empty());
}

/// Work is placed until a node is exactly full, and never beyond.
pub async fn a_placement_never_exceeds_capacity<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b"]);
    // 4 CPUs and 4 GiB per node: three fit on each, a quarter of a node stays free.
    let large = sized(1100, 1024);
    for count in 0..6 {
        let placement = place(&*scheduler, &large);
        observe(
            &mut *scheduler,
            Change::Workload(placed(&format!("w{count}"), &placement, &large)),
        );
    }
    check_unplaceable(&*scheduler, &large);
    // What is left is exactly 700 milli-CPU and 1 GiB: one byte or milli-CPU more is too much.
    check_unplaceable(&*scheduler, &sized(701, 0));
    let mut a_byte_more = sized(0, 1024);
    a_byte_more.resources.memory += Bytes(1);
    check_unplaceable(&*scheduler, &a_byte_more);
    place(&*scheduler, &sized(700, 1024));
}

/// A full node takes work that asks for nothing of what is full.
pub async fn what_is_not_asked_for_is_not_checked<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let mut hog = workload("hog", "a");
    hog.resources = Resources::new(MilliCpu::from_cpus(9), Bytes::from_gib(1));
    observe(&mut *scheduler, Change::Workload(hog));
    check_unplaceable(&*scheduler, &sized(1, 0));
    place(&*scheduler, &sized(0, 3 * 1024));
    place(&*scheduler, &request());
}

/// A resource of another kind is handed out by count, and a node without it has none.
pub async fn generic_resources_are_counted<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let mut b = node("b");
    b.capacity.generic.insert("gpu".into(), 3);
    observe(&mut *scheduler, Change::Node(b));
    let mut two = request();
    two.resources.generic.insert("gpu".into(), 2);
    let placement = place(&*scheduler, &two);
    assert_eq!(placement.chosen.node.as_str(), "b");
    observe(
        &mut *scheduler,
        Change::Workload(placed("w", &placement, &two)),
    );
    check_unplaceable(&*scheduler, &two);
    two.resources.generic.insert("gpu".into(), 1);
    assert_eq!(place(&*scheduler, &two).chosen.node.as_str(), "b");
}

/// A named device is assigned by the placement and has one holder until that has gone; a reservation
/// hands it over to the work that fulfils it.
pub async fn a_device_has_one_holder<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let mut b = node("b");
    let sizes = [("g2", "8GiB"), ("g1", "16GiB"), ("g0", "16GiB")];
    b.devices
        .extend(sizes.map(|(name, memory)| Device::new("gpu", name).with("memory", memory)));
    observe(&mut *scheduler, Change::Node(b));
    let mut large = request();
    large.devices = vec!["gpu where memory>=16GiB".parse().expect("devices")];
    let gpu = |name: &str| vec![DeviceId::new("gpu", name)];
    let first = place(&*scheduler, &large).chosen;
    assert_eq!((first.node.as_str(), &first.devices), ("b", &gpu("g0")));
    let held = reservation("r0", "b", &large).with_devices(first.devices);
    observe(&mut *scheduler, Change::Reserve(held.clone()));
    observe(&mut *scheduler, Change::Reserve(held));
    let taken = reservation("r1", "b", &large).with_devices(gpu("g0"));
    check_refused(&mut *scheduler, Change::Reserve(taken), ErrorKind::Conflict);
    assert_eq!(place(&*scheduler, &large).chosen.devices, gpu("g1"));
    let next = reservation("r1", "b", &large);
    observe(&mut *scheduler, Change::Reserve(next));
    check_unplaceable(&*scheduler, &large);
    // The engine does not tell of devices: the work has those of its reservation, also later.
    for _ in 0..2 {
        let seen = Change::Fulfil(reservation_id("r0"), workload("w", "b"));
        observe(&mut *scheduler, seen);
        check_unplaceable(&*scheduler, &large);
    }
    observe(&mut *scheduler, Change::Workload(workload("w", "b")));
    check_unplaceable(&*scheduler, &large);
    observe(&mut *scheduler, Change::Release(reservation_id("r1")));
    assert_eq!(place(&*scheduler, &large).chosen.devices, gpu("g1"));
    let gone = Change::WorkloadGone(node_id("b"), workload_id("w"));
    observe(&mut *scheduler, gone);
    assert_eq!(place(&*scheduler, &large).chosen.devices, gpu("g0"));
}

/// The largest amounts are refused, and come off again exactly when their workload goes: sums must
/// not saturate.
pub async fn absurd_amounts_are_refused_without_overflow<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let mut absurd = request();
    absurd.resources = Resources::new(MilliCpu(u64::MAX), Bytes(u64::MAX));
    absurd.resources.generic.insert("gpu".into(), u64::MAX);
    check_unplaceable(&*scheduler, &absurd);
    let mut small = workload("small", "a");
    small.resources = Resources::new(MilliCpu(1000), Bytes::from_gib(1));
    observe(&mut *scheduler, Change::Workload(small));
    for id in ["w1", "w2"] {
        let mut huge = workload(id, "a");
        huge.resources = absurd.resources.clone();
        observe(&mut *scheduler, Change::Workload(huge));
    }
    check_unplaceable(&*scheduler, &sized(1, 0));
    for id in ["w1", "w2"] {
        observe(
            &mut *scheduler,
            Change::WorkloadGone(node_id("a"), workload_id(id)),
        );
    }
    place(&*scheduler, &sized(3000, 3072));
    check_unplaceable(&*scheduler, &sized(3001, 0));
    check_unplaceable(&*scheduler, &sized(0, 3073));
}
