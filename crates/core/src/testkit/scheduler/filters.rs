//! Which nodes may be chosen.

use super::{
    Harness,
    cluster::{
        NOW, check_choices, check_refused, check_unplaceable, expression, has_filter, node,
        node_id, observe, place, request, reservation, reservation_id, sized, with_nodes, workload,
        zones,
    },
};
use crate::testkit::suite::does_not_apply;
use crate::{
    Availability, Bytes, Change, ErrorKind, HostPort, Labels, MilliCpu, NodeHealth, PortProtocol,
    Refusal, Resources,
};

/// Only a healthy node with a health indicator above zero takes work (filter `health`).
pub async fn unhealthy_nodes_take_no_work<H: Harness + ?Sized>(harness: &H) {
    let mut scheduler = harness.scheduler();
    if !has_filter(&*scheduler, "health") {
        return does_not_apply("it has no filter health");
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
            let placement = scheduler
                .place(&request(), NOW, seed)
                .expect("a node has room");
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
        return does_not_apply("it has no filter port");
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
        return does_not_apply("it has no filter constraint");
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
        return does_not_apply("it has no filter constraint");
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
        return does_not_apply("it has no filter affinity");
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
        return does_not_apply("it has no filter constraint");
    }
    for operator in ["==", "!="] {
        let wrong = request().with_constraint(expression(&format!("zone{operator}/(/")));
        let refusal = scheduler
            .place(&wrong, NOW, 0)
            .expect_err("it must be refused");
        assert!(matches!(refusal, Refusal::Invalid { .. }), "{refusal:?}");
        assert!(
            refusal.to_string().contains("/(/"),
            "the input is not named: {refusal}"
        );
        let error = scheduler
            .explain(&wrong, NOW, 0)
            .expect_err("it must be refused");
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        let change = Change::Reserve(reservation("r", "a", &wrong));
        check_refused(&mut *scheduler, change, ErrorKind::InvalidInput);
    }
}
