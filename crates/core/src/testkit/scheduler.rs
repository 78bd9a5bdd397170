//! Conformance suite of [`Scheduler`].
//!
//! The rules are synchronous like the trait; they are async functions only so that all suites look
//! alike. A rule about a filter is skipped where [`Scheduler::filters`] does not name that filter.
//!
//! ```ignore
//! longshore_core::scheduler_suite!(paused, || Box::new(MyScheduler::new()) as Box<dyn Scheduler>);
//! ```

use std::collections::BTreeSet;

use crate::{
    Availability, Bytes, Change, ErrorKind, Explanation, Expression, HostPort, Labels, MilliCpu,
    NodeHealth, NodeId, NodeState, PlacedWorkload, Placement, PlacementRequest, PortProtocol,
    Refusal, Reservation, ReservationId, Resources, Scheduler, Timestamp, WorkloadId,
};

/// Makes schedulers to test.
pub trait Harness: Send + Sync {
    /// A fresh scheduler that knows no node.
    fn scheduler(&self) -> Box<dyn Scheduler>;
}

impl<F: Fn() -> Box<dyn Scheduler> + Send + Sync> Harness for F {
    fn scheduler(&self) -> Box<dyn Scheduler> {
        self()
    }
}

/// Tests an implementation of [`Scheduler`] against every rule.
#[macro_export]
macro_rules! scheduler_suite {
    ($arm:ident, $harness:expr) => {
        $crate::conformance_tests!(
            $arm,
            scheduler,
            $harness,
            [
                an_empty_cluster_takes_nothing,
                a_placement_never_exceeds_capacity,
                what_is_not_asked_for_is_not_checked,
                generic_resources_are_counted,
                absurd_amounts_are_refused_without_overflow,
                unhealthy_nodes_take_no_work,
                closed_nodes_take_no_new_work,
                a_port_is_held_once_per_node,
                a_hard_constraint_is_never_broken,
                a_soft_constraint_yields,
                a_hard_affinity_is_never_broken,
                a_wrong_request_is_invalid_not_unplaceable,
                a_reservation_holds_its_room,
                a_released_reservation_gives_its_room_back,
                a_reservation_ends_with_its_expiry_and_not_before,
                a_fulfilled_reservation_counts_once,
                a_reservation_that_no_longer_fits_is_a_conflict,
                a_reservation_id_is_used_once,
                a_name_is_reserved_once,
                an_unknown_node_is_named,
                a_refused_change_changes_nothing,
                the_same_change_twice_counts_once,
                a_changed_workload_holds_what_it_holds_now,
                a_gone_workload_gives_its_room_back,
                a_gone_node_takes_everything_along,
                a_changed_node_keeps_its_work,
                the_same_inputs_give_the_same_answer,
                the_order_of_nodes_does_not_matter,
                runners_up_could_take_the_work,
                explain_agrees_with_place,
                every_refused_node_has_its_reasons,
            ]
        );
    };
}

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

/// The largest amounts are refused, and taken off again when their workload goes.
pub async fn absurd_amounts_are_refused_without_overflow<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let mut absurd = request();
    absurd.resources = Resources::new(MilliCpu(u64::MAX), Bytes(u64::MAX));
    absurd.resources.generic.insert("gpu".into(), u64::MAX);
    check_unplaceable(&*scheduler, &absurd);
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
    place(&*scheduler, &sized(4000, 4096));
}

/// Only a healthy node with a health indicator above zero takes work (filter `health`).
pub async fn unhealthy_nodes_take_no_work<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = harness.scheduler();
    if !has_filter(&*scheduler, "health") {
        return;
    }
    for health in [
        NodeHealth::Pending,
        NodeHealth::Unhealthy,
        NodeHealth::Disconnected,
    ] {
        let mut ill = node("a");
        (ill.health, ill.health_indicator) = (health, 0);
        observe(&mut *scheduler, Change::Node(ill));
        check_unplaceable(&*scheduler, &request());
    }
    let mut failing = node("a");
    failing.health_indicator = 0;
    observe(&mut *scheduler, Change::Node(failing));
    check_unplaceable(&*scheduler, &request());
    observe(&mut *scheduler, Change::Node(node("a")));
    place(&*scheduler, &request());
}

/// A cordoned or draining node takes no new work, whatever filters run.
pub async fn closed_nodes_take_no_new_work<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b"]);
    for availability in [Availability::Cordoned, Availability::Draining] {
        let mut closed = node("a");
        closed.availability = availability;
        observe(&mut *scheduler, Change::Node(closed.clone()));
        for seed in 0..20 {
            let placement = scheduler.place(&request(), NOW, seed).unwrap();
            assert_eq!(placement.chosen.node.as_str(), "b");
            assert!(placement.runners_up.is_empty());
        }
    }
    observe(&mut *scheduler, Change::NodeGone(node_id("b")));
    check_unplaceable(&*scheduler, &request());
}

/// A port is taken by number, protocol and address; all addresses conflict with any (filter `port`).
pub async fn a_port_is_held_once_per_node<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    if !has_filter(&*scheduler, "port") {
        return;
    }
    let with_port = |address: &str, port, protocol| {
        request().with_port(HostPort {
            address: address.into(),
            port,
            protocol,
        })
    };
    let mut holder = workload("w", "a");
    holder.ports = vec![
        HostPort::any(80, PortProtocol::Tcp),
        HostPort {
            address: "10.0.0.1".into(),
            port: 53,
            protocol: PortProtocol::Udp,
        },
    ];
    observe(&mut *scheduler, Change::Workload(holder));
    check_unplaceable(&*scheduler, &with_port("", 80, PortProtocol::Tcp));
    check_unplaceable(&*scheduler, &with_port("10.0.0.1", 80, PortProtocol::Tcp));
    check_unplaceable(&*scheduler, &with_port("0.0.0.0", 53, PortProtocol::Udp));
    check_unplaceable(&*scheduler, &with_port("::", 53, PortProtocol::Udp));
    check_unplaceable(&*scheduler, &with_port("10.0.0.1", 53, PortProtocol::Udp));
    place(&*scheduler, &with_port("", 80, PortProtocol::Udp));
    place(&*scheduler, &with_port("", 81, PortProtocol::Tcp));
    place(&*scheduler, &with_port("10.0.0.2", 53, PortProtocol::Udp));
    place(&*scheduler, &with_port("", 53, PortProtocol::Tcp));
    place(&*scheduler, &with_port("", 0, PortProtocol::Tcp));
    // A reservation holds its ports too.
    let web = with_port("", 443, PortProtocol::Tcp);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &web)),
    );
    check_unplaceable(&*scheduler, &web);
    observe(&mut *scheduler, Change::Release(reservation_id("r")));
    place(&*scheduler, &web);
}

/// Nodes that a hard constraint excludes are never chosen (filter `constraint`).
pub async fn a_hard_constraint_is_never_broken<H: Harness + ?Sized>(harness: &H) {
    let scheduler = zones(harness);
    if !has_filter(&*scheduler, "constraint") {
        return;
    }
    let cases: [(&str, &[&str]); 8] = [
        ("zone==eu", &["a", "b"]),
        ("zone==e*", &["a", "b"]),
        ("zone==/^(eu|us)$/", &["a", "b", "c"]),
        ("zone!=eu", &["c", "d"]),
        ("zone!=*", &["d"]),
        ("zone==asia", &[]),
        ("node==c", &["c"]),
        ("node!=/[abc]/", &["d"]),
    ];
    for (text, allowed) in cases {
        check_choices(
            &*scheduler,
            &request().with_constraint(expression(text)),
            allowed,
        );
    }
    let both = request()
        .with_constraint(expression("zone==eu"))
        .with_constraint(expression("node!=a"));
    check_choices(&*scheduler, &both, &["b"]);
}

/// A soft constraint is fulfilled where possible and given up where not, one at a time (filter
/// `constraint`).
pub async fn a_soft_constraint_yields<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = zones(harness);
    if !has_filter(&*scheduler, "constraint") {
        return;
    }
    let wish = sized(1000, 0).with_constraint(expression("zone==~us"));
    let placement = place(&*scheduler, &wish);
    assert_eq!(placement.chosen.node.as_str(), "c");
    assert!(placement.unmet_wishes.is_empty());
    // Two wishes that no node fulfils together: the earlier one wins.
    let torn = wish.clone().with_constraint(expression("zone==~eu"));
    let placement = place(&*scheduler, &torn);
    assert_eq!(placement.chosen.node.as_str(), "c");
    assert_eq!(placement.unmet_wishes, ["zone==~eu"]);
    // Full: the wish yields to the lack of resources.
    let mut hog = workload("hog", "c");
    hog.resources = Resources::new(MilliCpu::from_cpus(4), Bytes::ZERO);
    observe(&mut *scheduler, Change::Workload(hog));
    let placement = place(&*scheduler, &wish);
    assert_ne!(placement.chosen.node.as_str(), "c");
    assert_eq!(placement.unmet_wishes, ["zone==~us"]);
}

/// Affinities look at what else is on the node, reservations included (filter `affinity`).
pub async fn a_hard_affinity_is_never_broken<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = harness.scheduler();
    if !has_filter(&*scheduler, "affinity") {
        return;
    }
    for name in ["a", "b", "c"] {
        let mut state = node(name);
        if name == "b" {
            state.images = vec!["host:5000/redis:7".into(), "sha256:0a1b".into()];
        }
        observe(&mut *scheduler, Change::Node(state));
    }
    let mut web = workload("w1", "a");
    web.name = "web".into();
    web.labels = Labels::new().with("tier", "front");
    observe(&mut *scheduler, Change::Workload(web));
    let db = request().with_name("db");
    observe(&mut *scheduler, Change::Reserve(reservation("r", "c", &db)));
    let cases: [(&str, &[&str]); 11] = [
        ("container==web", &["a"]),
        ("container==w1", &["a"]),
        ("container!=web", &["b", "c"]),
        ("container==db", &["c"]),
        ("container!=/web|db/", &["b"]),
        ("image==host:5000/redis", &["b"]),
        ("image==host:5000/redis:7", &["b"]),
        ("image!=sha256:0a1b", &["a", "c"]),
        ("tier==front", &["a"]),
        ("tier!=*", &["b", "c"]),
        ("container==nosuch", &[]),
    ];
    for (text, allowed) in cases {
        check_choices(
            &*scheduler,
            &request().with_affinity(expression(text)),
            allowed,
        );
    }
}

/// A request that can never be placed anywhere because it is wrong says so.
pub async fn a_wrong_request_is_invalid_not_unplaceable<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    if !has_filter(&*scheduler, "constraint") {
        return;
    }
    for operator in ["==", "!="] {
        let wrong = request().with_constraint(expression(&format!("zone{operator}/(/")));
        let refusal = scheduler.place(&wrong, NOW, 0).unwrap_err();
        assert!(matches!(refusal, Refusal::Invalid { .. }), "{refusal:?}");
        assert!(
            refusal.to_string().contains("/(/"),
            "the input is not named: {refusal}"
        );
        let error = scheduler.explain(&wrong, NOW, 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let change = Change::Reserve(reservation("r", "a", &wrong));
        check_refused(&mut *scheduler, change, ErrorKind::InvalidInput);
    }
}

/// Room that is reserved is not given away.
pub async fn a_reservation_holds_its_room<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let most = sized(3000, 3072);
    place(&*scheduler, &most);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &most)),
    );
    check_unplaceable(&*scheduler, &most);
    check_unplaceable(&*scheduler, &sized(1001, 0));
    place(&*scheduler, &sized(1000, 1024));
}

/// A released reservation gives its room back, and releasing again changes nothing.
pub async fn a_released_reservation_gives_its_room_back<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let before = explain(&*scheduler, &sized(1, 1));
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &sized(4000, 0))),
    );
    check_unplaceable(&*scheduler, &sized(1, 1));
    for _ in 0..2 {
        observe(&mut *scheduler, Change::Release(reservation_id("r")));
        assert_eq!(explain(&*scheduler, &sized(1, 1)), before);
    }
}

/// A reservation is given up by the first tick that is not before its expiry.
pub async fn a_reservation_ends_with_its_expiry_and_not_before<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let before = explain(&*scheduler, &sized(1, 1));
    let all = sized(4000, 4096);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r", "a", &all)),
    );
    let almost = Timestamp::from_micros(EXPIRY.as_micros() - 1);
    observe(&mut *scheduler, Change::Tick(almost));
    check_unplaceable(&*scheduler, &sized(1, 1));
    observe(&mut *scheduler, Change::Tick(EXPIRY));
    assert_eq!(explain(&*scheduler, &sized(1, 1)), before);
    // An expired reservation is not taken again, and its late fulfilment is a fact all the same.
    let late = Change::Reserve(reservation("r", "a", &all));
    check_refused(&mut *scheduler, late, ErrorKind::Conflict);
    let mut seen = workload("w", "a");
    seen.resources = all.resources.clone();
    observe(&mut *scheduler, Change::Fulfil(reservation_id("r"), seen));
    check_unplaceable(&*scheduler, &sized(1, 1));
}

/// A fulfilled reservation turns into its workload: the room is never counted twice or not at all,
/// also when the workload was seen first.
pub async fn a_fulfilled_reservation_counts_once<H: Harness + ?Sized>(harness: &H) {
    let half = sized(2000, 2048);
    let mut seen = workload("w", "a");
    seen.resources = half.resources.clone();
    for seen_first in [false, true] {
        let mut scheduler = with_nodes(harness, &["a"]);
        observe(
            &mut *scheduler,
            Change::Reserve(reservation("r", "a", &half)),
        );
        if seen_first {
            observe(&mut *scheduler, Change::Workload(seen.clone()));
        }
        observe(
            &mut *scheduler,
            Change::Fulfil(reservation_id("r"), seen.clone()),
        );
        place(&*scheduler, &half);
        check_unplaceable(&*scheduler, &sized(2001, 0));
        observe(&mut *scheduler, Change::Tick(EXPIRY));
        check_unplaceable(&*scheduler, &sized(2001, 0));
        observe(
            &mut *scheduler,
            Change::WorkloadGone(node_id("a"), workload_id("w")),
        );
        place(&*scheduler, &sized(4000, 4096));
    }
}

/// Of two placements of the same room, the second reservation is refused and may be tried again.
pub async fn a_reservation_that_no_longer_fits_is_a_conflict<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a"]);
    let most = sized(3000, 0);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r1", "a", &most)),
    );
    let second = Change::Reserve(reservation("r2", "a", &most));
    let error = check_refused(&mut *scheduler, second.clone(), ErrorKind::Conflict);
    assert!(error.is_retryable());
    observe(&mut *scheduler, Change::Release(reservation_id("r1")));
    observe(&mut *scheduler, second);
}

/// Another reservation under an id that is held is refused; the same one is not.
pub async fn a_reservation_id_is_used_once<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b"]);
    let first = reservation("r", "a", &sized(1000, 0));
    observe(&mut *scheduler, Change::Reserve(first.clone()));
    observe(&mut *scheduler, Change::Reserve(first));
    for other in [
        reservation("r", "b", &sized(1000, 0)),
        reservation("r", "a", &sized(999, 0)),
    ] {
        check_refused(
            &mut *scheduler,
            Change::Reserve(other),
            ErrorKind::AlreadyExists,
        );
    }
}

/// Of two reservations for one name exactly one wins, also against a workload of that name; work
/// without a name never clashes.
pub async fn a_name_is_reserved_once<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b"]);
    let web = request().with_name("web");
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r1", "a", &web)),
    );
    let second = Change::Reserve(reservation("r2", "b", &web));
    check_refused(&mut *scheduler, second.clone(), ErrorKind::AlreadyExists);
    let mut seen = workload("w", "a");
    seen.name = "web".into();
    observe(&mut *scheduler, Change::Fulfil(reservation_id("r1"), seen));
    check_refused(&mut *scheduler, second.clone(), ErrorKind::AlreadyExists);
    observe(
        &mut *scheduler,
        Change::WorkloadGone(node_id("a"), workload_id("w")),
    );
    observe(&mut *scheduler, second);
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r3", "a", &request())),
    );
    observe(
        &mut *scheduler,
        Change::Reserve(reservation("r4", "a", &request())),
    );
}

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
        // `check_refused` compares explanations before and after.
        scheduler.observe(change.clone()).unwrap_err();
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

/// The same request, time and seed give the same answer, as often as asked.
pub async fn the_same_inputs_give_the_same_answer<H: Harness + ?Sized>(harness: &H) {
    let names: Vec<String> = (0..30).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (one, other) = (with_nodes(harness, &names), with_nodes(harness, &names));
    for seed in 0..20 {
        let answer = one.place(&request(), NOW, seed).unwrap();
        assert_eq!(one.place(&request(), NOW, seed).unwrap(), answer);
        assert_eq!(other.place(&request(), NOW, seed).unwrap(), answer);
    }
}

/// The order in which nodes and workloads came does not matter.
pub async fn the_order_of_nodes_does_not_matter<H: Harness + ?Sized>(harness: &H) {
    let mut states: Vec<NodeState> = (0..20)
        .map(|n| {
            node(&format!("n{n}")).with_labels(Labels::new().with("zone", format!("z{}", n % 3)))
        })
        .collect();
    let mut workloads: Vec<PlacedWorkload> = (0..40)
        .map(|n| {
            let mut workload = workload(&format!("w{n}"), &format!("n{}", n * 7 % 20));
            workload.resources = Resources::new(MilliCpu(n * 20), Bytes::from_mib(n));
            workload
        })
        .collect();
    let fill = |states: &[NodeState], workloads: &[PlacedWorkload]| {
        let mut scheduler = harness.scheduler();
        for state in states {
            observe(&mut *scheduler, Change::Node(state.clone()));
        }
        for workload in workloads {
            observe(&mut *scheduler, Change::Workload(workload.clone()));
        }
        scheduler
    };
    let forward = fill(&states, &workloads);
    states.reverse();
    states.rotate_left(7);
    workloads.reverse();
    let mut backward = fill(&states, &workloads);
    // A node that left and came back stands elsewhere in an index.
    for name in ["n3", "n11"] {
        observe(&mut *backward, Change::NodeGone(node_id(name)));
    }
    for name in ["n11", "n3"] {
        let state = states
            .iter()
            .find(|state| state.id.as_str() == name)
            .unwrap();
        observe(&mut *backward, Change::Node(state.clone()));
        for workload in workloads
            .iter()
            .filter(|workload| workload.node.as_str() == name)
        {
            observe(&mut *backward, Change::Workload(workload.clone()));
        }
    }
    for seed in 0..20 {
        for request in [
            request(),
            sized(500, 64).with_constraint(expression("zone==z1")),
        ] {
            let explain = |s: &dyn Scheduler| s.explain(&request, NOW, seed).unwrap();
            assert_eq!(explain(&*forward), explain(&*backward), "seed {seed}");
        }
    }
}

/// Runners-up are other nodes that could take the work, each once, and numbers add up.
pub async fn runners_up_could_take_the_work<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = with_nodes(harness, &["a", "b", "c", "d", "e", "f", "g", "h"]);
    for full in ["b", "f"] {
        let mut hog = workload(full, full);
        hog.resources = Resources::new(MilliCpu(4000), Bytes::ZERO);
        observe(&mut *scheduler, Change::Workload(hog));
    }
    for seed in 0..20 {
        let placement = scheduler.place(&sized(1, 0), NOW, seed).unwrap();
        assert_eq!((placement.feasible, placement.considered), (6, 8));
        let mut named = BTreeSet::from([&placement.chosen.node]);
        for scored in &placement.runners_up {
            assert!(named.insert(&scored.node), "{} is named twice", scored.node);
        }
        assert!(named.iter().all(|id| !["b", "f"].contains(&id.as_str())));
    }
}

/// What is explained is what would be done: the same placement or the same refusal, every node
/// named once, those that could take the work first.
pub async fn explain_agrees_with_place<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = zones(harness);
    let mut hog = workload("hog", "a");
    hog.resources = Resources::new(MilliCpu(3500), Bytes::from_gib(1));
    observe(&mut *scheduler, Change::Workload(hog));
    let requests = [
        request(),
        sized(1000, 1024),
        sized(9000, 0),
        sized(1000, 0).with_constraint(expression("zone==eu")),
        sized(1000, 0).with_constraint(expression("zone==~eu")),
        request().with_constraint(expression("zone==nosuch")),
    ];
    for (request, seed) in requests
        .iter()
        .flat_map(|request| (0..5).map(move |seed| (request, seed)))
    {
        let explanation = scheduler.explain(request, NOW, seed).unwrap();
        let feasible = explanation
            .nodes
            .iter()
            .take_while(|verdict| verdict.is_feasible())
            .count();
        assert!(
            explanation.nodes[feasible..]
                .iter()
                .all(|verdict| !verdict.is_feasible())
        );
        let named: BTreeSet<_> = explanation
            .nodes
            .iter()
            .map(|verdict| &verdict.node)
            .collect();
        assert_eq!((named.len(), explanation.nodes.len()), (4, 4));
        assert!(!explanation.summary.is_empty());
        match scheduler.place(request, NOW, seed) {
            Ok(placement) => {
                assert_eq!(explanation.nodes[0].node, placement.chosen.node);
                assert_eq!(placement.feasible, feasible);
                assert_eq!(explanation.placement, Some(placement));
                assert_eq!(explanation.refusal, None);
            }
            Err(Refusal::Unplaceable { message, .. }) => {
                assert_eq!((feasible, explanation.placement), (0, None));
                assert_eq!(explanation.refusal, Some(message));
            }
            Err(other) => panic!("{request:?} is valid, got {other}"),
        }
    }
}

/// Every node that is refused names each filter that refuses it, with a reason.
pub async fn every_refused_node_has_its_reasons<H: Harness + ?Sized>(harness: &H) {
    let scheduler = zones(harness);
    let constrained = has_filter(&*scheduler, "constraint");
    let wanted = sized(9000, 0).with_constraint(expression("zone==us"));
    for verdict in explain(&*scheduler, &wanted).nodes {
        assert!(
            verdict
                .failures
                .iter()
                .all(|failure| !failure.reason.is_empty())
        );
        let filters: Vec<&str> = verdict.failures.iter().map(|f| f.filter.as_str()).collect();
        let expected: &[&str] = match verdict.node.as_str() {
            "c" => &["resources"],
            _ if constrained => &["constraint", "resources"],
            _ => &["resources"],
        };
        assert_eq!(filters, expected, "on {}", verdict.node);
    }
}

const NOW: Timestamp = Timestamp::from_secs(1_000);
const EXPIRY: Timestamp = Timestamp::from_secs(1_030);

fn node_id(id: &str) -> NodeId {
    id.parse().unwrap()
}

fn workload_id(id: &str) -> WorkloadId {
    id.parse().unwrap()
}

fn reservation_id(id: &str) -> ReservationId {
    id.parse().unwrap()
}

fn expression(text: &str) -> Expression {
    text.parse().unwrap()
}

/// A healthy node with 4 CPUs and 4 GiB.
fn node(name: &str) -> NodeState {
    let capacity = Resources::new(MilliCpu::from_cpus(4), Bytes::from_gib(4));
    NodeState::new(node_id(name), name.parse().unwrap(), capacity)
}

fn request() -> PlacementRequest {
    PlacementRequest::new("image")
}

fn sized(milli_cpu: u64, mib: u64) -> PlacementRequest {
    request().with_resources(Resources::new(MilliCpu(milli_cpu), Bytes::from_mib(mib)))
}

fn workload(id: &str, node: &str) -> PlacedWorkload {
    PlacedWorkload::new(workload_id(id), node_id(node))
}

fn placed(id: &str, placement: &Placement, request: &PlacementRequest) -> PlacedWorkload {
    let mut workload = PlacedWorkload::new(workload_id(id), placement.chosen.node.clone());
    workload.resources = request.resources.clone();
    workload
}

fn reservation(id: &str, node: &str, request: &PlacementRequest) -> Reservation {
    Reservation::new(reservation_id(id), node_id(node), request.clone(), EXPIRY)
}

fn with_nodes<H: Harness + ?Sized>(harness: &H, names: &[&str]) -> Box<dyn Scheduler> {
    let mut scheduler = harness.scheduler();
    for name in names {
        observe(&mut *scheduler, Change::Node(node(name)));
    }
    scheduler
}

/// `a` and `b` in zone `eu`, `c` in `us`, `d` without a zone.
fn zones<H: Harness + ?Sized>(harness: &H) -> Box<dyn Scheduler> {
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

fn has_filter(scheduler: &dyn Scheduler, name: &str) -> bool {
    scheduler.filters().iter().any(|filter| filter == name)
}

#[track_caller]
fn observe(scheduler: &mut dyn Scheduler, change: Change) {
    if let Err(error) = scheduler.observe(change.clone()) {
        panic!("{change:?} was refused: {error}");
    }
}

#[track_caller]
fn explain(scheduler: &dyn Scheduler, request: &PlacementRequest) -> Explanation {
    scheduler.explain(request, NOW, 0).unwrap()
}

#[track_caller]
fn place(scheduler: &dyn Scheduler, request: &PlacementRequest) -> Placement {
    match scheduler.place(request, NOW, 0) {
        Ok(placement) => placement,
        Err(refusal) => panic!("{request:?} was refused: {refusal}"),
    }
}

#[track_caller]
fn check_unplaceable(scheduler: &dyn Scheduler, request: &PlacementRequest) {
    match scheduler.place(request, NOW, 0) {
        Err(Refusal::Unplaceable { message, .. }) => assert!(!message.is_empty()),
        other => panic!("{request:?} should be unplaceable, got {other:?}"),
    }
}

fn is_feasible_on(scheduler: &dyn Scheduler, name: &str, request: &PlacementRequest) -> bool {
    let verdicts = explain(scheduler, request).nodes;
    verdicts
        .iter()
        .any(|verdict| verdict.node.as_str() == name && verdict.is_feasible())
}

#[track_caller]
fn check_unplaceable_on(scheduler: &dyn Scheduler, name: &str, request: &PlacementRequest) {
    assert!(
        !is_feasible_on(scheduler, name, request),
        "{name} should not take {request:?}"
    );
}

#[track_caller]
fn place_on(scheduler: &dyn Scheduler, name: &str, request: &PlacementRequest) {
    assert!(
        is_feasible_on(scheduler, name, request),
        "{name} should take {request:?}"
    );
}

/// Whatever the seed, only these nodes are chosen; each of them could be.
#[track_caller]
fn check_choices(scheduler: &dyn Scheduler, request: &PlacementRequest, allowed: &[&str]) {
    let verdicts = explain(scheduler, request).nodes;
    let mut feasible: Vec<&str> = verdicts
        .iter()
        .filter(|v| v.is_feasible())
        .map(|v| v.node.as_str())
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
fn check_refused(scheduler: &mut dyn Scheduler, change: Change, kind: ErrorKind) -> crate::Error {
    let error = check_refused_any(scheduler, change.clone());
    assert_eq!(error.kind(), kind, "{change:?} was refused with: {error}");
    error
}

#[track_caller]
fn check_refused_any(scheduler: &mut dyn Scheduler, change: Change) -> crate::Error {
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
