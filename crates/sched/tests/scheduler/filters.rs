//! Each filter's rule (spec/swarm.md 2.3, 2.4), and where longshore differs (S5, S6, S9 to S11).

use longshore_core::*;
use longshore_sched::{ClusterScheduler, FilterName, Strategy};

use crate::support::*;

/// Which of these nodes a constraint allows. `c` has no labels.
#[track_caller]
fn check_constraint(text: &str, allowed: &[&str]) {
    let scheduler = scheduler([
        node("a", &[("zone", "eu.west"), ("empty", "")]),
        node("b", &[("zone", "EU-west")]),
        node("c", &[]),
    ]);
    assert_eq!(
        feasible(&scheduler, &request().with_constraint(expression(text))),
        allowed
    );
}

#[test]
fn s6_constraints_match_labels_and_the_node() {
    check_constraint("node==a", &["a"]);
    check_constraint("node==id-a", &["a"]);
    check_constraint("node!=a", &["b", "c"]);
    check_constraint("node!=id-a", &["b", "c"]);
    check_constraint("node==/^[ab]$/", &["a", "b"]);
    check_constraint("zone==eu.west", &["a"]);
    check_constraint("zone==*west", &["a", "b"]);
    check_constraint("zone==/(?i)^eu/", &["a", "b"]);
    check_constraint("zone==/west/", &["a", "b"]);
    // S5: a dot is a dot.
    check_constraint("zone==EU.west", &[]);
    // S6: an absent label is not empty.
    check_constraint("zone==*", &["a", "b"]);
    check_constraint("zone!=*", &["c"]);
    check_constraint("zone!=eu.west", &["b", "c"]);
    check_constraint("empty==*", &["a"]);
    check_constraint("zone==/^$/", &[]);
    check_constraint("executiondriver!=native", &["a", "b", "c"]);
}

#[test]
fn affinities_match_containers_images_and_their_labels() {
    let mut image = node("a", &[]);
    image.images = [
        "redis:7",
        "reg:5000/app/web:1",
        "nginx@sha256:0abc",
        "sha256:feed",
    ]
    .map(str::to_owned)
    .to_vec();
    let mut scheduler = scheduler([image, node("b", &[]), node("c", &[])]);
    let mut db = named("0123456789abcdef", "b", "/db");
    db.labels = Labels::new()
        .with("tier", "data")
        .with("com.docker.swarm.id", "5warm");
    observe(
        &mut scheduler,
        [
            Change::Workload(db),
            Change::Workload(named("w2", "c", "web")),
        ],
    );
    let check = |text: &str, allowed: &[&str]| {
        let request = request().with_affinity(expression(text));
        assert_eq!(feasible(&scheduler, &request), allowed, "{text}");
    };
    check("container==db", &["b"]);
    check("container==0123456789abcdef", &["b"]);
    check("container==5warm", &["b"]);
    check("container==d*", &["b"]);
    check("container!=db", &["a", "c"]);
    check("container!=*", &["a"]);
    check("image==redis", &["a"]);
    check("image==redis:7", &["a"]);
    check("image==redis:6", &[]);
    check("image==reg:5000/app/web", &["a"]);
    check("image==reg", &[]);
    check("image==nginx", &["a"]);
    check("image==nginx@sha256:0abc", &["a"]);
    check("image==sha256:0abc", &["a"]);
    check("image==sha256:feed", &["a"]);
    check("image==sha256", &[]);
    check("image!=redis", &["b", "c"]);
    check("tier==data", &["b"]);
    check("tier!=data", &["a", "c"]);
    check("tier==*", &["b"]);
    check("tier!=*", &["a", "c"]);
}

#[test]
fn s10_whitelists_intersect_and_not_equal_excludes() {
    let scheduler = scheduler(["a", "b", "c"].map(|name| node(name, &[])));
    let check = |texts: &[&str], allowed: &[&str]| {
        let mut request = request();
        request.whitelists = texts.iter().map(|text| expression(text)).collect();
        assert_eq!(feasible(&scheduler, &request), allowed, "{texts:?}");
    };
    check(&["node==a|b"], &["a", "b"]);
    check(&["node==a|b", "node==b|c"], &["b"]);
    check(&["anything==c"], &["c"]);
    check(&["node!=a|b"], &["c"]);
    check(&["node==a*"], &[]);
    check(&["node==nosuch"], &[]);
    let mut wish = request();
    wish.whitelists = vec![expression("node==~c")];
    let placement = scheduler.place(&wish, NOW, 0).unwrap();
    assert_eq!(placement.chosen.name.as_str(), "c");
}

#[test]
fn s11_containerslots_count_everything_on_the_node() {
    let mut scheduler = scheduler([node("a", &[("containerslots", "2")])]);
    observe(&mut scheduler, [Change::Workload(workload("w1", "a"))]);
    assert_eq!(feasible(&scheduler, &request()), ["a"]);
    let held = Reservation::new(
        "r".parse().unwrap(),
        "id-a".parse().unwrap(),
        request(),
        EXPIRY,
    );
    observe(&mut scheduler, [Change::Reserve(held)]);
    assert_eq!(
        reasons(&scheduler, &request(), "a"),
        ["containerslots: 2 of 2 container slots taken"]
    );
    observe(
        &mut scheduler,
        [Change::Node(node("a", &[("containerslots", "0")]))],
    );
    assert_eq!(
        reasons(&scheduler, &request(), "a"),
        ["containerslots: 2 of 0 container slots taken"]
    );
    // S11: what is not a number means unlimited.
    for text in ["-1", "many", "", "1.5"] {
        observe(
            &mut scheduler,
            [Change::Node(node("a", &[("containerslots", text)]))],
        );
        assert_eq!(feasible(&scheduler, &request()), ["a"], "{text:?}");
    }
}

#[test]
fn dependencies_are_found_as_swarm_finds_containers() {
    let mut scheduler = scheduler([node("a", &[]), node("b", &[])]);
    let mut db = named("0123456789abcdef", "a", "db");
    db.labels = Labels::new().with("com.docker.swarm.id", "feedfacecafe0000");
    let changes = [
        db,
        named("0123aaaa", "b", "web"),
        named("77aa", "b", "0123456789ab"),
    ];
    observe(&mut scheduler, changes.map(Change::Workload));
    let check = |kind, target: &str, allowed: &[&str]| {
        let mut request = request();
        request.dependencies = vec![Dependency {
            kind,
            target: target.into(),
        }];
        assert_eq!(feasible(&scheduler, &request), allowed, "{target}");
    };
    use DependencyKind::{Link, Network, VolumesFrom};
    for kind in [Link, Network, VolumesFrom] {
        check(kind, "db", &["a"]);
        check(kind, "/db", &["a"]);
        check(kind, "a/db", &["a"]);
        check(kind, "id-a/db", &["a"]);
        check(kind, "b/db", &[]);
        check(kind, "0123456789abcdef", &["a"]);
        check(kind, "feedfacecafe0000", &["a"]);
        check(kind, "feedfacecafe", &["a"]);
        check(kind, "01234", &["a"]);
        // Several nodes have something that begins like this.
        check(kind, "0123", &[]);
        check(kind, "nosuch", &[]);
        check(kind, "", &[]);
    }
    // A short id goes before a name of the same letters.
    check(Link, "0123456789ab", &["a"]);
    check(Link, "db:alias", &["a"]);
    check(VolumesFrom, "db:ro", &["a"]);
    check(Network, "db:ro", &[]);
    // All of them have to be on one node.
    let mut both = request();
    let on = |target: &str| Dependency {
        kind: Link,
        target: target.into(),
    };
    both.dependencies = vec![on("db"), on("web")];
    assert_eq!(feasible(&scheduler, &both), Vec::<String>::new());
    assert_eq!(
        reasons(&scheduler, &both, "b"),
        ["dependency: db is on another node"]
    );
}

#[test]
fn s9_ports_conflict_by_protocol_across_host_and_published() {
    let mut scheduler = scheduler([node("a", &[])]);
    // What is on the node holds ports, whether published or of the node's own network.
    let mut on_host = named("w", "a", "proxy");
    on_host.ports = vec![HostPort::any(80, PortProtocol::Tcp)];
    observe(&mut scheduler, [Change::Workload(on_host)]);
    let mut wanted = request().with_port(HostPort::any(80, PortProtocol::Tcp));
    for host_network in [false, true] {
        wanted.host_network = host_network;
        assert_eq!(
            reasons(&scheduler, &wanted, "a"),
            ["port: port 80/tcp is in use by proxy"]
        );
    }
    let udp = request().with_port(HostPort::any(80, PortProtocol::Udp));
    assert_eq!(feasible(&scheduler, &udp), ["a"]);
    // A pending container of either kind holds its ports.
    let mut pending = request().with_port(HostPort::any(53, PortProtocol::Sctp));
    pending.host_network = true;
    let held = Reservation::new(
        "r".parse().unwrap(),
        "id-a".parse().unwrap(),
        pending,
        EXPIRY,
    );
    observe(&mut scheduler, [Change::Reserve(held)]);
    let mut bound = HostPort::any(53, PortProtocol::Sctp);
    bound.address = "10.0.0.1".into();
    assert_eq!(
        reasons(&scheduler, &request().with_port(bound), "a"),
        ["port: port 53/sctp on 10.0.0.1 is in use by a reservation"]
    );
}

#[test]
fn health_and_availability_have_their_own_reasons() {
    let mut states = ["a", "b", "c", "d", "e"].map(|name| node(name, &[]));
    states[0].health = NodeHealth::Unhealthy;
    states[1].health_indicator = 0;
    states[2].availability = Availability::Cordoned;
    states[3].availability = Availability::Draining;
    let scheduler = scheduler(states.clone());
    assert_eq!(feasible(&scheduler, &request()), ["e"]);
    assert_eq!(
        reasons(&scheduler, &request(), "a"),
        ["health: the node is Unhealthy, wanted Healthy"]
    );
    assert_eq!(
        reasons(&scheduler, &request(), "b"),
        ["health: the node's health indicator is 0, wanted more"]
    );
    assert_eq!(
        reasons(&scheduler, &request(), "c"),
        ["health: the node is cordoned"]
    );
    assert_eq!(
        reasons(&scheduler, &request(), "d"),
        ["health: the node is draining"]
    );
    // Without the health filter, nodes of any health take work, closed ones none.
    let scheduler = with_filters(&[FilterName::Port], states);
    assert_eq!(feasible(&scheduler, &request()), ["a", "b", "e"]);
    assert_eq!(
        reasons(&scheduler, &request(), "c"),
        ["availability: the node is cordoned"]
    );
}

#[test]
fn a_filter_that_is_switched_off_ignores_its_demands() {
    let scheduler = with_filters(&[FilterName::Health], [node("a", &[])]);
    let demands = request()
        .with_constraint(expression("zone==eu"))
        .with_constraint(expression("zone==~eu"))
        .with_affinity(expression("container==web"));
    let placement = scheduler.place(&demands, NOW, 0).unwrap();
    assert!(placement.unmet_wishes.is_empty());
    // A regular expression that does not compile is wrong all the same.
    let wrong = request().with_constraint(expression("zone==/(/"));
    assert!(matches!(
        scheduler.place(&wrong, NOW, 0),
        Err(Refusal::Invalid { .. })
    ));
}

#[test]
fn names_choose_strategy_and_filters() {
    let scheduler = ClusterScheduler::from_names("binpacking", ["constraint", "health"]).unwrap();
    assert_eq!(scheduler.strategy(), "binpack");
    assert_eq!(scheduler.filters(), ["constraint", "health"]);
    let scheduler = ClusterScheduler::from_names("random", [""; 0]).unwrap();
    let all = "health port containerslots dependency affinity constraint whitelist";
    assert_eq!(scheduler.filters().join(" "), all);
    assert_eq!(ClusterScheduler::default().strategy(), "spread");
    assert_eq!("binpack".parse::<Strategy>().unwrap(), Strategy::BinPack);
}
