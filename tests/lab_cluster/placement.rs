//! Where containers land: constraints, affinities, spread, ports, and why not.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, IMAGE, NAT};

#[test]
fn containers_land_where_the_demands_say() {
    let Some(cluster) = Cluster::start("lab placement") else {
        return;
    };
    let names: Vec<String> = (0..=NAT)
        .map(|i| cluster.lab.host(i).name().to_owned())
        .collect();

    // Constraints, also on the node behind NAT.
    for (zone, node) in [("a", &names[0]), ("b", &names[1]), ("nat", &names[NAT])] {
        let name = format!("in-{zone}");
        let constraint = format!("constraint:zone=={zone}");
        cluster.idle(&name, &constraint);
        assert_eq!(&cluster.node_of(&name), node);
    }
    // A label that the agent told, beside those of its engine.
    cluster.idle("on-ssd", "constraint:disk==ssd");
    assert_eq!(&cluster.node_of("on-ssd"), &names[NAT]);
    // The expression does not reach the container's environment.
    let environment = cluster.ok(["inspect", "--format", "{{.Config.Env}}", "in-a"]);
    assert!(!environment.contains("constraint"), "{environment}");

    // Affinity to a container and away from one.
    cluster.idle("near", "affinity:container==in-nat");
    assert_eq!(&cluster.node_of("near"), &names[NAT]);
    cluster.ok([
        "run",
        "-d",
        "--name",
        "far",
        "-e",
        "affinity:container!=in-nat",
        "-e",
        "affinity:container!=in-a",
        IMAGE,
        "sleep",
        "600",
    ]);
    assert_eq!(&cluster.node_of("far"), &names[1]);

    // A wish that can't be met is no obstacle.
    cluster.idle("wish", "constraint:zone==~mars");

    // A published port is held once per node, so three fit and the fourth does not.
    let mut nodes = BTreeSet::new();
    for index in 0..3 {
        let name = format!("port-{index}");
        cluster.ok([
            "run", "-d", "--name", &name, "-p", "8099:80", IMAGE, "sleep", "600",
        ]);
        nodes.insert(cluster.node_of(&name));
    }
    assert_eq!(nodes.len(), 3);
    let refusal = cluster.refused(["run", "-d", "-p", "8099:80", IMAGE, "sleep", "600"]);
    assert!(
        refusal.contains("Unable to find a node that satisfies the following conditions")
            && refusal.contains("port 8099 (Bridge mode)"),
        "{refusal}"
    );

    // Bad input names itself, and nothing half-done stays behind.
    let before = cluster.ok(["ps", "-aq"]).lines().count();
    let refusal = cluster.refused(["run", "-d", "-e", "constraint:zone=eu", IMAGE]);
    assert!(
        refusal.contains("One of operator ==, != is expected"),
        "{refusal}"
    );
    let refusal = cluster.refused(["run", "-d", "-e", "constraint:zone==/(/", IMAGE]);
    assert!(refusal.contains("regex"), "{refusal}");
    let refusal = cluster.refused(["run", "-d", "--name", "in-a", IMAGE]);
    assert!(
        refusal.contains("Conflict: The name in-a is already assigned."),
        "{refusal}"
    );
    assert_eq!(cluster.ok(["ps", "-aq"]).lines().count(), before);

    // Why is it there, and why can't it be placed?
    let why = platform_output(&cluster, &["explain", "in-nat"]);
    assert!(why.contains(&names[NAT]), "{why}");
    let why = platform_output(
        &cluster,
        &["explain", "--image", IMAGE, "-e", "constraint:zone==mars"],
    );
    for name in &names {
        assert!(why.contains(name.as_str()), "{why}");
    }
    assert!(why.contains("zone") && why.contains("mars"), "{why}");
}

#[test]
fn spread_fills_the_emptiest_node_first() {
    let Some(cluster) = Cluster::start("lab spread") else {
        return;
    };
    for _ in 0..6 {
        cluster.ok(["run", "-d", IMAGE, "sleep", "600"]);
    }
    for index in 0..=NAT {
        let node = format!("node={}", cluster.lab.host(index).name());
        assert_eq!(
            cluster.ok(["ps", "-q", "--filter", &node]).lines().count(),
            2
        );
    }
}

fn platform_output(cluster: &Cluster, arguments: &[&str]) -> String {
    let output = crate::cluster::platform()
        .args(arguments)
        .env(
            "DOCKER_HOST",
            format!("unix://{}", cluster.socket.display()),
        )
        .output()
        .expect("the platform program runs");
    crate::cluster::text(&output.stdout) + &crate::cluster::text(&output.stderr)
}
