//! The words of refusals (spec/swarm.md 2.4, 2.5, 2.6, S12) and of bad input.

use longshore_core::*;
use longshore_sched::{ClusterScheduler, FilterName, Strategy};

use crate::support::*;

#[track_caller]
fn check(scheduler: &ClusterScheduler, request: &PlacementRequest, message: &str, summary: &str) {
    assert_eq!(
        refusal(scheduler, request),
        (message.to_owned(), summary.to_owned())
    );
}

const UNSATISFIED: &str = "Unable to find a node that satisfies the following conditions ";

#[test]
fn no_healthy_node_is_said_unwrapped() {
    let empty = scheduler([]);
    check(
        &empty,
        &request(),
        "No healthy node available in the cluster",
        "the cluster has no nodes",
    );
    let mut states = ["a", "b", "c", "d"].map(|name| node(name, &[]));
    states[0].health = NodeHealth::Pending;
    states[1].health = NodeHealth::Unhealthy;
    states[2].availability = Availability::Cordoned;
    states[3].availability = Availability::Draining;
    check(
        &scheduler(states),
        &request(),
        "No healthy node available in the cluster",
        "0 of 4 nodes can take it: 2 nodes are not healthy; 1 node is cordoned; 1 node is draining",
    );
}

#[test]
fn conditions_are_listed_up_to_the_filter_that_left_no_node() {
    let mut scheduler = scheduler([
        node("a", &[("zone", "eu")]),
        node("b", &[("zone", "us")]),
        node("c", &[("zone", "us")]),
    ]);
    let mut web = named("w1", "a", "web");
    web.ports = vec![HostPort::any(80, PortProtocol::Tcp)];
    observe(&mut scheduler, [Change::Workload(web)]);
    // The port refuses `a`, the constraint the others.
    let wanted = request()
        .with_port(HostPort::any(80, PortProtocol::Tcp))
        .with_port(HostPort::any(53, PortProtocol::Udp))
        .with_constraint(expression("zone==eu"))
        .with_constraint(expression("node!=/x|y/"));
    check(
        &scheduler,
        &wanted,
        &format!(
            "{UNSATISFIED}\n[port 80 (Bridge mode) port 53/udp (Bridge mode)]\n\
             [available container slots]\n[zone==eu node!=/x|y/]"
        ),
        "0 of 3 nodes can take it: constraint zone==eu not satisfied on 2 nodes; \
         port 80/tcp in use on 1 node",
    );
    let mut on_host = request().with_port(HostPort::any(80, PortProtocol::Tcp));
    on_host.host_network = true;
    on_host.constraints = vec![expression("zone==eu")];
    let (message, _) = refusal(&scheduler, &on_host);
    assert!(
        message.contains("\n[port 80/tcp (Host mode)]\n"),
        "{message}"
    );
}

#[test]
fn every_filter_words_its_conditions_as_swarm() {
    let scheduler = scheduler([node("a", &[])]);
    let slots = "\n[available container slots]";
    let mut dependent = request();
    let on = |kind, target: &str| Dependency {
        kind,
        target: target.into(),
    };
    dependent.dependencies = vec![
        on(DependencyKind::VolumesFrom, "data:ro"),
        on(DependencyKind::Link, "db:alias"),
        on(DependencyKind::Network, "vpn"),
    ];
    check(
        &scheduler,
        &dependent,
        &format!(
            "{UNSATISFIED}{slots}\n[--volumes-from=data:ro --link=db:alias --net=container:vpn]"
        ),
        "0 of 1 node can take it: no --volumes-from=data:ro on 1 node",
    );
    let affine = request()
        .with_affinity(expression("container==web"))
        .with_affinity(expression("image!=~redis"));
    check(
        &scheduler,
        &affine,
        &format!("{UNSATISFIED}{slots}\n[container==web (soft=false) image!=redis (soft=true)]"),
        "0 of 1 node can take it: affinity container==web not satisfied on 1 node",
    );
    let mut listed = request();
    listed.whitelists = vec![expression("node==x|y")];
    check(
        &scheduler,
        &listed,
        &format!("{UNSATISFIED}{slots}\n[node==x|y (soft=false)]"),
        "0 of 1 node can take it: whitelist node==x|y not satisfied on 1 node",
    );
    let full = self::scheduler_with_slots();
    check(
        &full,
        &request().with_constraint(expression("zone==eu")),
        &format!("{UNSATISFIED}{slots}"),
        "0 of 1 node can take it: no container slot free on 1 node",
    );
}

fn scheduler_with_slots() -> ClusterScheduler {
    scheduler([node("a", &[("containerslots", "0")])])
}

#[test]
fn lack_of_resources_says_of_which() {
    let mut gpu = node("b", &[("zone", "eu")]);
    gpu.capacity.generic.insert("gpu".into(), 1);
    let mut scheduler = scheduler([node("a", &[("zone", "eu")]), gpu, node("c", &[])]);
    for (name, mib) in [("a", 3584), ("b", 3072)] {
        let mut load = workload(name, name);
        load.resources.memory = Bytes::from_mib(mib);
        observe(&mut scheduler, [Change::Workload(load)]);
    }
    let large = sized(0, Bytes::from_gib(2)).with_constraint(expression("zone==eu"));
    check(
        &scheduler,
        &large,
        "no resources available to schedule container: \
         not enough memory on 2 nodes (2 GiB needed, at most 1 GiB free)",
        "0 of 3 nodes can take it: \
         not enough memory on 2 nodes (2 GiB needed, at most 1 GiB free); \
         constraint zone==eu not satisfied on 1 node",
    );
    assert_eq!(
        reasons(&scheduler, &large, "a"),
        ["resources: needs 2 GiB of memory, 512 MiB of 4 GiB free"]
    );
    let mut greedy = sized(4500, Bytes::ZERO);
    greedy.resources.generic.insert("gpu".into(), 2);
    check(
        &scheduler,
        &greedy,
        "no resources available to schedule container: \
         not enough CPU on 3 nodes (4.5 needed, at most 4 free)",
        "0 of 3 nodes can take it: not enough CPU on 3 nodes (4.5 needed, at most 4 free)",
    );
    assert_eq!(
        reasons(&scheduler, &greedy, "b"),
        [
            "resources: needs 4.5 CPUs, 4 of 4 CPUs free",
            "resources: needs 2 gpu, 1 of 1 gpu free"
        ]
    );
}

#[test]
fn no_nodes_is_said_only_without_health_and_slots() {
    let none = with_filters(&[FilterName::Constraint], []);
    check(
        &none,
        &request(),
        "No nodes available in the cluster",
        "the cluster has no nodes",
    );
    let demanding = request().with_constraint(expression("zone==eu"));
    check(
        &none,
        &demanding,
        &format!("{UNSATISFIED}\n[zone==eu]"),
        "the cluster has no nodes",
    );
    let slots = with_filters(&[FilterName::ContainerSlots], []);
    check(
        &slots,
        &request(),
        &format!("{UNSATISFIED}\n[available container slots]"),
        "the cluster has no nodes",
    );
}

#[test]
fn reasons_compare_values() {
    let mut scheduler = scheduler([node("a", &[("zone", "us")]), node("b", &[])]);
    for number in 0..7 {
        let name = format!("c{number}");
        observe(
            &mut scheduler,
            [Change::Workload(named(&format!("w{number}"), "a", &name))],
        );
    }
    let of = |request: PlacementRequest, node: &str| reasons(&scheduler, &request, node);
    let constraint = |text: &str| request().with_constraint(expression(text));
    let affinity = |text: &str| request().with_affinity(expression(text));
    assert_eq!(
        of(constraint("zone==eu"), "a"),
        ["constraint: zone is us, wanted eu"]
    );
    assert_eq!(
        of(constraint("zone==eu"), "b"),
        ["constraint: zone is absent, wanted eu"]
    );
    assert_eq!(
        of(constraint("zone!=/us|eu/"), "a"),
        ["constraint: zone is us, wanted not /us|eu/"]
    );
    assert_eq!(
        of(constraint("node==b"), "a"),
        ["constraint: node is a, wanted b"]
    );
    assert_eq!(
        of(affinity("container==db"), "a"),
        ["affinity: container is c0, c1, c2, c3, c4 and 9 more, wanted db"]
    );
    assert_eq!(
        of(affinity("image==db"), "b"),
        ["affinity: image is absent, wanted db"]
    );
    let mut listed = request();
    listed.whitelists = vec![expression("node==b"), expression("node!=a|c")];
    assert_eq!(
        of(listed, "a"),
        ["whitelist: a is not one of b", "whitelist: a is one of a|c"]
    );
    // Every failing filter, in order, with every failing demand.
    let both = sized(8000, Bytes::ZERO)
        .with_constraint(expression("zone==eu"))
        .with_constraint(expression("disk==ssd"));
    assert_eq!(
        of(both, "a"),
        [
            "constraint: zone is us, wanted eu",
            "constraint: disk is absent, wanted ssd",
            "resources: needs 8 CPUs, 4 of 4 CPUs free",
        ]
    );
}

#[test]
fn bad_names_are_refused_in_swarms_words() {
    let error = ClusterScheduler::from_names("fair", ["health"]).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::InvalidInput, "strategy not supported")
    );
    let error = ClusterScheduler::from_names("spread", ["health", "moon"]).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::InvalidInput, "filter not supported")
    );
    assert_eq!(
        "Spread".parse::<Strategy>().unwrap_err().to_string(),
        "strategy not supported"
    );
}

#[test]
fn a_wrong_request_is_named() {
    let scheduler = scheduler([node("a", &[])]);
    let message = |request: &PlacementRequest| match scheduler.place(request, NOW, 0) {
        Err(Refusal::Invalid { message }) => message,
        other => panic!("expected an invalid request, got {other:?}"),
    };
    let broken = message(&request().with_constraint(expression("zone!=/a(b/")));
    assert!(
        broken.starts_with("constraint zone!=/a(b/ is invalid: regex parse error:"),
        "{broken}"
    );
    assert!(broken.contains("unclosed group"), "{broken}");
    let huge = message(&request().with_affinity(expression("image==/(a{1000}){1000}/")));
    assert!(
        huge.starts_with("affinity image==/(a{1000}){1000}/ is invalid: "),
        "{huge}"
    );
    let mut many = request();
    many.constraints = vec![expression("zone==eu"); 10_000];
    assert_eq!(
        message(&many),
        "a request holds at most 128 constraints, affinities and whitelists, this one holds 10000"
    );
    let mut many = request();
    many.ports = (0..2000)
        .map(|port| HostPort::any(port, PortProtocol::Tcp))
        .collect();
    assert_eq!(
        message(&many),
        "a request holds at most 1024 ports, this one holds 2000"
    );
}

#[test]
fn refused_changes_say_why() {
    let mut scheduler = scheduler([node("a", &[])]);
    observe(&mut scheduler, [Change::Workload(named("w", "a", "web"))]);
    let reserve = |id: &str, request: PlacementRequest| {
        let id = id.parse().unwrap();
        Change::Reserve(Reservation::new(
            id,
            "id-a".parse().unwrap(),
            request,
            EXPIRY,
        ))
    };
    let mut refuse = |change| scheduler.observe(change).unwrap_err().to_string();
    assert_eq!(
        refuse(reserve("r", request().with_name("/web"))),
        "Conflict: The name web is already assigned. You have to delete (or rename) that container \
         to be able to assign web to a container again."
    );
    assert_eq!(
        refuse(reserve("r", sized(5000, Bytes::ZERO))),
        "node a no longer fits: resources: needs 5 CPUs, 4 of 4 CPUs free"
    );
    let mut ill = node("b", &[]);
    ill.health_indicator = 101;
    assert_eq!(
        refuse(Change::Node(ill)),
        "invalid health indicator 101 of node id-b: expected 0 to 100"
    );
    assert_eq!(
        refuse(Change::Workload(workload("w", "nosuch"))),
        "workload w is on node id-nosuch, which is not known"
    );
    refuse(Change::Reserve(Reservation::new(
        "r".parse().unwrap(),
        "id-a".parse().unwrap(),
        request().with_constraint(expression("zone==/(/")),
        EXPIRY,
    )));
    observe(&mut scheduler, [Change::Tick(EXPIRY)]);
    let error = scheduler.observe(reserve("late", request())).unwrap_err();
    assert_eq!(error.to_string(), "reservation late has expired already");
}

/// The sentence of an explanation: how many nodes are what was asked for, and what those lack.
#[track_caller]
fn explained(scheduler: &ClusterScheduler, request: &PlacementRequest, sentence: &str) {
    assert_eq!(
        scheduler.explain(request, NOW, 0).unwrap().summary,
        sentence
    );
}

#[test]
fn s12_an_explanation_is_a_sentence() {
    let european = |name: String| node(&name, &[("zone", "eu")]);
    let mut nodes: Vec<NodeState> = (0..3).map(|n| european(format!("eu{n}"))).collect();
    nodes.extend((0..37).map(|n| node(&format!("us{n}"), &[("zone", "us")])));
    let mut scheduler = scheduler(nodes);
    for n in 0..3 {
        let mut big = workload(&format!("w{n}"), &format!("eu{n}"));
        big.resources.memory = Bytes::from_gib(3);
        scheduler.observe(Change::Workload(big)).unwrap();
    }
    let wanted = |term| sized(1, Bytes::from_gib(2)).with_constraint(expression(term));
    let words = "3 of 40 nodes have zone=eu; all 3 lack 2 GiB of memory";
    explained(&scheduler, &wanted("zone==eu"), words);
    let words = "3 of 40 nodes satisfy zone==e*; all 3 lack 2 GiB of memory";
    explained(&scheduler, &wanted("zone==e*"), words);
    let mut closed = node("eu1", &[("zone", "eu")]);
    closed.availability = Availability::Quarantined;
    scheduler.observe(Change::Node(closed)).unwrap();
    let words = "3 of 40 nodes have zone=eu; 2 lack 2 GiB of memory, 1 is quarantined";
    explained(&scheduler, &wanted("zone==eu"), words);
    let one = wanted("zone==eu").with_constraint(expression("node==eu2"));
    explained(
        &scheduler,
        &one,
        "1 of 40 nodes has zone=eu and node=eu2; it lacks 2 GiB of memory",
    );
    let words = "0 of 40 nodes can take it: constraint zone==asia not satisfied on 39 nodes; \
                 1 node is quarantined";
    explained(&scheduler, &wanted("zone==asia"), words);
}
