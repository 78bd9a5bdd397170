//! Lifelines in helper containers: where there is no shell, and no stub is in use.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use futures::{StreamExt, future::join_all};
use longshore::{
    ExecBackend,
    core::{ErrorKind, ExecRequest, OsRandom, Signal},
    exec::{CleanupOutcome, CleanupRung, DockerExec, GatewayLife},
};
use longshore_lab::Host;

use crate::{
    drops::runtime,
    survivors,
    tree::Shedding,
    world::{Class, Reports, World, gateway, plant},
};

const LIMIT: Duration = Duration::from_secs(30);
const IMAGE: &str = "bash:lab";

fn beside(world: &World) -> DockerExec {
    gateway(world.socket()).with_sidecar_image(IMAGE)
}

/// The class without a shell.
pub fn shellless(world: &World) -> &Class {
    &world.classes[1]
}

/// The containers of our own on this host, whether they run or not.
pub fn helpers(host: &Host) -> Vec<String> {
    let words = [
        "ps",
        "--all",
        "--no-trunc",
        "--filter",
        "label=longshore.exec",
    ];
    let format = ["--format", "{{.Names}} {{.Status}}"];
    let listed = host.docker_ok(words.iter().chain(&format));
    let listed = listed.expect("the engine lists them");
    listed.lines().map(str::to_owned).collect()
}

/// Waits until no container of our own is left.
pub fn no_helpers(host: &Host, limit: Duration) {
    let since = Instant::now();
    loop {
        let left = helpers(host);
        if left.is_empty() {
            return;
        }
        assert!(since.elapsed() < limit, "{left:?} are left");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Starts this in the container and waits until it says that it is ready.
async fn ready(
    gateway: &DockerExec,
    class: &Class,
    user: &str,
    script: &str,
) -> std::sync::Arc<dyn longshore::ExecSession> {
    let words = ["/busybox", "sh", "-c", script];
    let mut request = ExecRequest::new(class.container.clone(), words);
    user.clone_into(&mut request.user);
    let session = gateway.exec(&request).await.expect("a session");
    let mut output = session.take_output().expect("it is taken once");
    let first = output.next().await.expect("a word").expect("output");
    assert_eq!(&first.bytes[..], b"ready\n");
    tokio::spawn(output.for_each(|_| async {}));
    session
}

#[test]
fn one_helper_serves_all_sessions_of_a_container_without_a_shell() {
    let Some(world) = World::start("lab exec: a helper's lifeline") else {
        return;
    };
    let reports = Reports::default();
    let class = shellless(&world);
    let numbers: BTreeSet<u64> = (0..20)
        .map(|place| survivors::number(world.lab.id(), place))
        .collect();
    runtime().block_on(async {
        let gateway = reports.hear(beside(&world));
        let planting = numbers.iter().enumerate().map(|(index, number)| {
            plant(
                &gateway,
                class,
                *number,
                index % 2 == 0,
                Shedding::Something,
            )
        });
        let mut sessions = join_all(planting).await;
        assert_eq!(
            helpers(world.host()).len(),
            1,
            "{:?}",
            helpers(world.host())
        );
        // Some are dropped, and the others go on.
        let rest = sessions.split_off(10);
        let gone: BTreeSet<u64> = numbers.iter().copied().take(10).collect();
        let dropped = Instant::now();
        drop(sessions);
        survivors::tell(
            "sessions of a container without a shell, 10 at a time",
            survivors::vanish(&gone, dropped, LIMIT).await,
        );
        assert_eq!(survivors::count(&numbers).len(), 10);
        reports.wait_for(10).await;
        let dropped = Instant::now();
        drop(rest);
        survivors::vanish(&numbers, dropped, LIMIT).await;
        reports.wait_for(20).await;
        for report in reports.take() {
            assert_eq!(report.outcome, CleanupOutcome::Clean, "{report:?}");
            assert_eq!(report.rungs, [CleanupRung::Lifeline], "{report:?}");
        }
        assert_eq!(helpers(world.host()).len(), 1, "it waits for the next");
        signals(&gateway, class).await;
    });
    // Its stream ended with the runtime, and it looks for who comes late.
    assert_eq!(survivors::marked(world.host()), 0);
    no_helpers(world.host(), LIMIT * 2);
    world.lab.stop().expect("a clean end");
}

/// Also those of another user, whose processes nobody in the container shows.
async fn signals(gateway: &DockerExec, class: &Class) {
    let script = "trap 'exit 1' INT; trap 'exit 2' TERM; trap 'exit 3' USR1; echo ready
                  while :; do /busybox sleep 0.05; done";
    for user in ["", "1234:1235"] {
        for (signal, code) in [(Signal::INT, 1), (Signal::TERM, 2), (Signal::USR1, 3)] {
            let session = ready(gateway, class, user, script).await;
            session.signal(signal).await.expect("it is sent");
            let status = session.wait().await.expect("its end");
            assert_eq!(status.code, Some(code), "{user} {signal}: {status}");
        }
        let script = "trap '' HUP TERM; echo ready; while :; do /busybox sleep 0.05; done";
        let session = ready(gateway, class, user, script).await;
        session.close().await.expect("nothing of it is left");
    }
}

#[test]
fn a_stopped_container_takes_its_helper_with_it_and_gets_no_other() {
    let Some(world) = World::start("lab exec: a helper beside what stops") else {
        return;
    };
    let class = shellless(&world);
    let script = "echo ready; while :; do /busybox sleep 0.05; done";
    runtime().block_on(async {
        let gateway = beside(&world);
        let docker = |words: &[&str]| world.host().docker_ok(words).expect("docker");
        let container = class.container.to_string();
        for round in 0..2 {
            let session = ready(&gateway, class, "", script).await;
            let before = helpers(world.host());
            assert_eq!(before.len(), 1, "round {round}: {before:?}");
            match round {
                0 => docker(&["stop", "--time", "0", &container]),
                _ => docker(&["restart", "--time", "0", &container]),
            };
            session.wait().await.expect("its end");
            tokio::time::sleep(Duration::from_secs(3)).await;
            let after = helpers(world.host());
            assert!(after.is_empty(), "round {round}: {after:?}");
            if round == 0 {
                docker(&["start", &container]);
            }
        }
        for what in ["whose helper is made first", "whose helper is there"] {
            let asked = Instant::now();
            let session = ready(&gateway, class, "", script).await;
            let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
            println!(
                "MEASURED a session {what}: {:?}, load {load}",
                asked.elapsed()
            );
            session.close().await.expect("nothing of it is left");
        }
    });
    no_helpers(world.host(), LIMIT * 2);
    world.lab.stop().expect("a clean end");
}

/// As where a gateway died between the two calls.
#[test]
fn a_helper_that_was_made_and_not_started_is_reaped_by_the_next_life() {
    let Some(world) = World::start("lab exec: a helper that was not started") else {
        return;
    };
    let class = shellless(&world);
    let life = |name: &str| beside(&world).with_gateway(GatewayLife::begin(name, &OsRandom));
    let docker = |words: &[&str]| world.host().docker_ok(words).expect("docker");
    runtime().block_on(async {
        let gateway = life("lab");
        let session = ready(&gateway, class, "", "echo ready; /busybox sleep 100").await;
        session.close().await.expect("nothing of it is left");
        let running = docker(&["ps", "--quiet", "--filter", "label=longshore.exec"]);
        let format = "{{range $key, $value := .Config.Labels}}{{$key}}={{$value}} {{end}}";
        let labels = docker(&["inspect", "--format", format, &running]);
        let labels = labels
            .split_whitespace()
            .flat_map(|label| ["--label", label]);
        let create = |name: &'static str| {
            let words = ["create", "--name", name].into_iter().chain(labels.clone());
            docker(&words.chain([IMAGE, "true"]).collect::<Vec<_>>());
        };
        create("longshore-exec-lifeline-left");
        for (reaper, left) in [(&gateway, 2), (&life("other"), 2), (&life("lab"), 1)] {
            reaper.reap().await.expect("the engine answers");
            let there = helpers(world.host());
            assert_eq!(there.len(), left, "{there:?}");
        }
        assert_eq!(
            docker(&["ps", "--quiet", "--filter", "label=longshore.exec"]),
            running
        );
        // What only has its labels, as if by its image, is nobody's to remove.
        create("database");
        life("lab").reap().await.expect("the engine answers");
        docker(&["rm", "database"]);
    });
    no_helpers(world.host(), LIMIT * 2);
    world.lab.stop().expect("a clean end");
}

/// As without an image: it runs, nobody can signal it, and what is left is known.
#[test]
fn without_the_image_sessions_begin_all_the_same_and_no_helper_stays() {
    let Some(world) = World::start("lab exec: no image for a helper") else {
        return;
    };
    let class = shellless(&world);
    runtime().block_on(async {
        for image in ["not-there:lab", "bare:lab"] {
            let reports = Reports::default();
            let gateway = reports.hear(gateway(world.socket()));
            let gateway = gateway.with_sidecar_image(image);
            for _ in 0..3 {
                let session =
                    ready(&gateway, class, "", "echo ready; /busybox sleep 3; exit 7").await;
                let error = session.signal(Signal::TERM).await.expect_err("no way to");
                assert_eq!(error.kind(), ErrorKind::Unsupported, "{image}");
                assert_eq!(session.wait().await.expect("its end").code, Some(7));
            }
            reports.wait_for(3).await;
            for report in reports.take() {
                assert_eq!(report.outcome, CleanupOutcome::Clean, "{report:?}");
            }
        }
    });
    no_helpers(world.host(), LIMIT);
    world.lab.stop().expect("a clean end");
}
