//! What breaks, and that it mends by itself.

use std::time::Duration;

use crate::cluster::{Cluster, IMAGE, NAT};

#[test]
fn a_killed_engine_is_down_alone_and_comes_back() {
    let Some(mut cluster) = Cluster::start("lab engine faults") else {
        return;
    };
    for zone in ["a", "b", "nat"] {
        let (name, constraint) = (format!("c-{zone}"), format!("constraint:zone=={zone}"));
        let run = [
            "run",
            "-d",
            "--restart",
            "always",
            "--name",
            &name,
            "-e",
            &constraint,
        ];
        cluster.ok(run.iter().chain(&[IMAGE, "sleep", "600"]));
    }
    let status = |cluster: &Cluster, name: &str| {
        let filter = format!("name={name}");
        cluster.ok(["ps", "-a", "--format", "{{.Status}}", "--filter", &filter])
    };

    let fault = cluster.lab.kill_dockerd(0).expect("the engine is killed");
    cluster.wait_for("Host Down", |c| status(c, "c-a") == "Host Down");
    // The others keep serving.
    assert!(status(&cluster, "c-b").starts_with("Up"));
    assert_eq!(
        cluster.ok(["exec", "c-b", "echo", "still here"]),
        "still here"
    );
    assert_eq!(
        cluster.ok(["exec", "c-nat", "echo", "still here"]),
        "still here"
    );
    let refusal = cluster.refused(["exec", "c-a", "true"]);
    assert!(refusal.contains("running on unhealthy node"), "{refusal}");
    fault.undo().expect("the engine restarts");
    cluster.wait_for("recovery", |c| status(c, "c-a").starts_with("Up"));
    assert_eq!(cluster.ok(["exec", "c-a", "echo", "back"]), "back");

    // Frozen, not dead: connections are accepted and nothing answers.
    let fault = cluster.lab.freeze_dockerd(1).expect("the engine is frozen");
    cluster.wait_for("Host Down", |c| status(c, "c-b") == "Host Down");
    fault.undo().expect("the engine thaws");
    cluster.wait_for("recovery", |c| status(c, "c-b").starts_with("Up"));

    // The agent dies and returns: same node, same containers.
    cluster.agent().kill();
    cluster.wait_for("Host Down", |c| status(c, "c-nat") == "Host Down");
    cluster.start_agent();
    cluster.wait_for("recovery", |c| status(c, "c-nat").starts_with("Up"));
    // A second agent of the same identity replaces the first, which stays alive.
    let stand_in = agent_stand_in(&cluster);
    let first = std::mem::replace(cluster.agent(), stand_in);
    cluster.start_agent();
    cluster.wait_for("the new session", |c| status(c, "c-nat").starts_with("Up"));
    drop(first);
    cluster.wait_for("the new session alone", |c| {
        status(c, "c-nat").starts_with("Up")
    });
    assert_eq!(cluster.ok(["exec", "c-nat", "echo", "here"]), "here");
}

fn agent_stand_in(cluster: &Cluster) -> longshore_lab::LabProcess {
    let host = cluster.lab.host(NAT);
    host.spawn(host.command("true").stdin(std::process::Stdio::null()))
        .expect("true runs")
}

#[test]
fn a_restarted_plane_leaves_containers_alone_and_sees_them_again() {
    let Some(mut cluster) = Cluster::start("lab plane restart") else {
        return;
    };
    for zone in ["a", "b", "nat"] {
        let (name, constraint) = (format!("c-{zone}"), format!("constraint:zone=={zone}"));
        cluster.idle(&name, &constraint);
    }
    let started = |cluster: &Cluster| {
        cluster.ok([
            "inspect",
            "--format",
            "{{.Id}} {{.State.StartedAt}}",
            "c-a",
            "c-b",
            "c-nat",
        ])
    };
    let before = started(&cluster);
    cluster.plane().kill();
    cluster.start_plane();
    cluster.wait_for("three healthy nodes", |c| {
        crate::cluster::text(&c.docker(["info"]).stdout)
            .matches("Status: Healthy")
            .count()
            == 3
    });
    assert_eq!(started(&cluster), before);
    // A clean end removes the socket and exits with 0.
    let status = cluster
        .plane()
        .terminate(Duration::from_secs(20))
        .expect("the plane ends");
    assert!(status.success(), "{status}");
    assert!(!cluster.socket.exists());
    for index in 0..=NAT {
        let host = cluster.lab.host(index);
        assert_eq!(
            host.docker_ok(["ps", "-q"])
                .expect("the engine answers")
                .lines()
                .count(),
            1
        );
    }
}
