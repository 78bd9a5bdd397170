//! `docker-compose` against the endpoint.

use std::process::Stdio;

use crate::cluster::{Cluster, IMAGE, text};

#[test]
fn compose_brings_a_project_up_and_down() {
    let Some(cluster) = Cluster::start("lab compose") else {
        return;
    };
    if longshore_lab::find_program("docker-compose").is_none() {
        longshore_lab::skip("lab compose", "docker-compose is not installed");
        return;
    }
    let file = cluster.path("docker-compose.yml");
    let content = format!(
        "version: '2'\nservices:\n  web:\n    image: {IMAGE}\n    network_mode: bridge\n    \
         command: sh -c 'echo web is up; exec sleep 600'\n  worker:\n    image: {IMAGE}\n    \
         network_mode: bridge\n    depends_on: [web]\n    environment:\n      \
         - constraint:zone==nat\n    command: sh -c 'echo worker is up; exec sleep 600'\n"
    );
    std::fs::write(&file, content).expect("the file is written");
    let compose = |arguments: &[&str]| {
        let output = cluster
            .client("docker-compose")
            .args(["--project-name", "lab", "--file"])
            .arg(&file)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("docker-compose runs");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(
            output.status.success(),
            "{arguments:?}: {said}\n{}",
            cluster.log_tail()
        );
        said
    };
    compose(&["up", "-d"]);
    let listed = compose(&["ps"]);
    assert_eq!(listed.matches("Up").count(), 2, "{listed}");
    let logs = compose(&["logs", "--no-color"]);
    assert!(
        logs.contains("web is up") && logs.contains("worker is up"),
        "{logs}"
    );
    let worker = cluster.ok([
        "ps",
        "-q",
        "--filter",
        "label=com.docker.compose.service=worker",
    ]);
    assert_eq!(
        cluster.node_of(&worker),
        cluster.lab.host(crate::cluster::NAT).name()
    );
    compose(&["up", "-d", "--scale", "web=3"]);
    let webs = cluster.ok([
        "ps",
        "-q",
        "--filter",
        "label=com.docker.compose.service=web",
    ]);
    assert_eq!(webs.lines().count(), 3);
    compose(&["down", "-t", "1"]);
    assert_eq!(cluster.ok(["ps", "-aq"]), "");
}
