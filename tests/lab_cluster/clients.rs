//! The stock `docker` client through the endpoint, on nodes that are dialled and on the one
//! behind NAT.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Command, Stdio},
    time::Duration,
};

use crate::cluster::{Cluster, IMAGE, NAT, text};

#[test]
fn the_stock_client_does_its_work() {
    let Some(cluster) = Cluster::start("lab stock client") else {
        return;
    };
    assert!(
        !cluster
            .lab
            .host(0)
            .reaches(cluster.lab.host(NAT).tcp_endpoint()),
        "the host behind NAT must not be reachable"
    );

    let version = cluster.ok(["version"]);
    assert!(version.contains("swarm/"), "{version}");
    let info = cluster.ok(["info"]);
    for index in 0..=NAT {
        assert!(info.contains(cluster.lab.host(index).name()), "{info}");
    }
    assert!(cluster.ok(["images"]).contains("busybox"));

    for zone in ["a", "nat"] {
        lifecycle(&cluster, zone);
        streams(&cluster, zone);
        copies(&cluster, zone);
    }
    terminal(&cluster);
    events(&cluster);
}

/// create, start, ps, inspect, top, stats, rename, stop, kill, wait, rm
fn lifecycle(cluster: &Cluster, zone: &str) {
    let constraint = format!("constraint:zone=={zone}");
    let name = format!("life-{zone}");
    let id = cluster.ok([
        "create",
        "--name",
        &name,
        "-e",
        &constraint,
        IMAGE,
        "sleep",
        "600",
    ]);
    assert_eq!(id.len(), 64);
    assert_eq!(
        cluster.ok(["inspect", "--format", "{{.State.Status}}", &name]),
        "created"
    );
    assert_eq!(cluster.ok(["start", &name]), name);
    let listed = cluster.ok([
        "ps",
        "--no-trunc",
        "--format",
        "{{.ID}} {{.Names}} {{.Status}}",
    ]);
    let line = listed
        .lines()
        .find(|line| line.starts_with(&id))
        .expect("it is listed");
    assert!(line.contains(&format!("/{name} Up ")), "{line}");
    assert!(cluster.ok(["top", &name]).contains("sleep 600"));
    let stats = cluster.ok([
        "stats",
        "--no-stream",
        "--format",
        "{{.Name}} {{.PIDs}}",
        &name,
    ]);
    assert!(stats.contains(&name), "{stats}");
    let renamed = format!("{name}-2");
    cluster.ok(["rename", &name, &renamed]);
    cluster.ok(["stop", "-t", "1", &renamed]);
    assert_eq!(cluster.ok(["wait", &renamed]), "137");
    cluster.ok(["start", &renamed]);
    cluster.ok(["kill", "-s", "KILL", &renamed]);
    cluster.ok(["rm", "-f", &renamed]);
    assert!(cluster.refused(["inspect", &renamed]).contains("No such"));
}

/// run, logs -f, attach, exec with input, half-close and exit codes
fn streams(cluster: &Cluster, zone: &str) {
    let constraint = format!("constraint:zone=={zone}");
    let run = ["run", "--rm", "-e", &constraint, IMAGE];
    assert_eq!(cluster.ok(run.iter().chain(&["echo", "hello"])), "hello");
    let output = cluster.docker(
        run.iter()
            .chain(&["sh", "-c", "echo out; echo err >&2; exit 7"]),
    );
    assert_eq!(
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr)
        ),
        (Some(7), "out".into(), "err".into())
    );

    let name = format!("talk-{zone}");
    let script = "i=0; while [ $i -lt 5 ]; do echo line $i; i=$((i+1)); sleep 0.2; done";
    cluster.ok([
        "run",
        "-d",
        "--name",
        &name,
        "-e",
        &constraint,
        IMAGE,
        "sh",
        "-c",
        script,
    ]);
    let followed = cluster.ok(["logs", "-f", &name]);
    assert_eq!(followed, "line 0\nline 1\nline 2\nline 3\nline 4");

    // Input with a half-close behind it: the answer comes after the end of the input.
    let mut child = cluster
        .client("docker")
        .args([
            "run",
            "--rm",
            "-i",
            "-e",
            &constraint,
            IMAGE,
            "sh",
            "-c",
            "sort; echo end; exit 5",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker runs");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(b"b\na\n")
        .expect("input is taken");
    let output = child.wait_with_output().expect("docker ends");
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(5), "a\nb\nend".into())
    );

    let name = format!("in-{zone}");
    cluster.idle(&name, &constraint);
    let output = cluster.docker(["exec", &name, "sh", "-c", "echo in; exit 9"]);
    assert_eq!(
        (output.status.code(), text(&output.stdout)),
        (Some(9), "in".into())
    );
    // Bytes that look like frame headers pass unchanged.
    let output = cluster.docker(["exec", &name, "printf", r"\000\001\002\000\377"]);
    assert_eq!(output.stdout, b"\0\x01\x02\0\xff");
    cluster.ok(["rm", "-f", &name]);
}

/// cp in both directions
fn copies(cluster: &Cluster, zone: &str) {
    let constraint = format!("constraint:zone=={zone}");
    let name = format!("copy-{zone}");
    cluster.idle(&name, &constraint);
    let (there, back) = (cluster.path("there"), cluster.path("back"));
    let content: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(&there, &content).expect("a file is written");
    let inside = format!("{name}:/tmp/copied");
    cluster.ok(["cp", &there.display().to_string(), &inside]);
    cluster.ok(["cp", &inside, &back.display().to_string()]);
    assert_eq!(std::fs::read(&back).expect("it came back"), content);
    cluster.ok(["rm", "-f", &name]);
}

/// `exec -it` on the node behind NAT: the size arrives, changes, and the exit code returns.
fn terminal(cluster: &Cluster) {
    cluster.idle("tty", "constraint:zone==nat");
    let session = format!("longshore-{}", cluster.lab.id());
    let tmux = |arguments: &[&str]| {
        let output = Command::new("tmux")
            .args(["-L", &session])
            .args(arguments)
            .output()
            .expect("tmux runs");
        text(&output.stdout)
    };
    let enter = format!(
        "DOCKER_HOST=unix://{} docker exec -it tty sh; echo left with $?; sleep 60",
        cluster.socket.display()
    );
    tmux(&["new-session", "-d", "-x", "91", "-y", "23", &enter]);
    let _guard = EndTmux(&session);
    let sees = |what: &str| tmux(&["capture-pane", "-p"]).contains(what);
    cluster.wait_for("prompt", |_| sees("#"));
    tmux(&["send-keys", "stty size; tty", "Enter"]);
    cluster.wait_for("first size", |_| sees("23 91") && sees("/dev/pts/"));
    tmux(&["resize-window", "-x", "77", "-y", "31"]);
    cluster.wait_for("second size", |_| {
        tmux(&["send-keys", "stty size", "Enter"]);
        sees("31 77")
    });
    tmux(&["send-keys", "exit 42", "Enter"]);
    cluster.wait_for("exit code", |_| sees("left with 42"));
    cluster.ok(["rm", "-f", "tty"]);
}

struct EndTmux<'a>(&'a str);

impl Drop for EndTmux<'_> {
    fn drop(&mut self) {
        let _ = Command::new("tmux")
            .args(["-L", self.0, "kill-server"])
            .output();
    }
}

/// `docker events` shows the node's name.
fn events(cluster: &Cluster) {
    let mut child = cluster
        .client("docker")
        .args(["events", "--format", "{{json .}}"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("docker runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    std::thread::sleep(Duration::from_millis(500));
    cluster.ok([
        "run",
        "--rm",
        "--name",
        "seen",
        "-e",
        "constraint:zone==nat",
        IMAGE,
        "true",
    ]);
    let node = cluster.lab.host(NAT).name();
    let found = lines
        .by_ref()
        .take(20)
        .map_while(Result::ok)
        .find(|line| line.contains("\"start\"") && line.contains("seen"));
    let _ = child.kill();
    let _ = child.wait();
    let line = found.expect("the start is told");
    assert!(
        line.contains(&format!("\"node.name\":\"{node}\"")),
        "{line}"
    );
    assert!(line.contains(&format!("node:{node}")), "{line}");
}

#[test]
fn attach_sends_input_and_sees_the_end() {
    let Some(cluster) = Cluster::start("lab attach") else {
        return;
    };
    for zone in ["b", "nat"] {
        let constraint = format!("constraint:zone=={zone}");
        let name = format!("attach-{zone}");
        let script = "read a; echo got $a; exit 4";
        cluster.ok([
            "create",
            "-i",
            "--name",
            &name,
            "-e",
            &constraint,
            IMAGE,
            "sh",
            "-c",
            script,
        ]);
        let mut child = cluster
            .client("docker")
            .args(["start", "-ai", &name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("docker runs");
        child
            .stdin
            .as_mut()
            .expect("piped")
            .write_all(b"ping\n")
            .expect("input is taken");
        let mut output = String::new();
        child
            .stdout
            .take()
            .expect("piped")
            .read_to_string(&mut output)
            .expect("output ends");
        assert_eq!(
            (output.trim(), child.wait().expect("it ends").code()),
            ("got ping", Some(4))
        );
    }
}
