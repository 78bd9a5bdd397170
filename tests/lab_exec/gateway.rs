//! A gateway that is killed with -9 in mid-session.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use futures::future::join_all;
use longshore::{
    ExecBackend,
    core::{ExecRequest, OsRandom, WorkloadId},
    exec::{CleanupOutcome, DockerExec, GatewayLife},
};
use longshore_lab::Host;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    beside,
    drops::runtime,
    survivors,
    tree::Shedding,
    world::{Class, World, gateway, plant, stub},
};

/// Not a test of its own: what the others start as the gateway. Alone it has nothing to do.
#[test]
fn a_gateway_of_another_test() {
    let Ok(socket) = std::env::var(SOCKET) else {
        return;
    };
    let word = |name: &str| std::env::var(name).expect("the other test sets it");
    let containers: Vec<WorkloadId> = word(CONTAINERS)
        .split(',')
        .map(|id| WorkloadId::new(id).expect("an id"))
        .collect();
    let numbers: Vec<u64> = word(NUMBERS)
        .split(',')
        .map(|n| n.parse().expect("it"))
        .collect();
    let shedding = match word(SHEDDING).as_str() {
        "everything" => Shedding::Everything,
        _ => Shedding::Something,
    };
    runtime().block_on(async {
        let connector = std::sync::Arc::new(longshore::engine::UnixConnector::new(socket));
        let mut gateway = gateway(connector).with_gateway(life(NAME));
        let mut classes = Class::of(&containers);
        match word(BY).as_str() {
            "stub" => gateway = gateway.with_stub(stub()),
            "helper" => {
                gateway = gateway.with_sidecar_image("bash:lab");
                classes = vec![classes.swap_remove(WITHOUT_SHELL)];
            }
            _ => {}
        }
        if shedding == Shedding::Everything && word(BY) == "lifeline" {
            println!("\nSTANDING");
            return start_for_ever(&gateway, &classes, numbers[0]).await;
        }
        let planting = numbers.iter().enumerate().map(|(index, number)| {
            plant(
                &gateway,
                &classes[index % classes.len()],
                *number,
                index % 2 == 0,
                shedding,
            )
        });
        let _sessions = join_all(planting).await;
        println!("\nSTANDING");
        std::future::pending::<()>().await;
    });
}

/// Starts sessions without an end, in containers that a lifeline can be in.
async fn start_for_ever(gateway: &DockerExec, classes: &[Class], number: u64) {
    let containers: Vec<_> = WITH_SHELL.map(|at| classes[at].container.clone()).into();
    join_all(containers.into_iter().map(|container| async move {
        let mut sessions = Vec::new();
        loop {
            let script = format!("setsid sleep {number} & trap '' HUP TERM; sleep {number}; :");
            let request = ExecRequest::new(container.clone(), ["sh", "-c", &script]);
            sessions.push(gateway.exec(&request).await);
        }
    }))
    .await;
}

/// The gateway, killed when it is dropped.
struct Gateway(Child);

impl Gateway {
    fn start(world: &World, numbers: &BTreeSet<u64>, shedding: Shedding, by: &str) -> Self {
        let join = |words: Vec<String>| words.join(",");
        let containers = world
            .classes
            .iter()
            .map(|class| class.container.to_string());
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([
                "--exact",
                "gateway::a_gateway_of_another_test",
                "--nocapture",
            ])
            .env(SOCKET, world.host().socket())
            .env(CONTAINERS, join(containers.collect()))
            .env(NUMBERS, join(numbers.iter().map(u64::to_string).collect()))
            .env(BY, by)
            .env(SHEDDING, format!("{shedding:?}").to_lowercase())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let standing = lines.map_while(Result::ok).any(|line| line == "STANDING");
        let gateway = Self(child);
        assert!(standing, "the gateway could not start its sessions");
        gateway
    }

    /// SIGKILL.
    fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

#[test]
fn a_gateway_killed_with_9_leaves_nothing() {
    let Some(world) = World::start("lab exec: a killed gateway") else {
        return;
    };
    let numbers: BTreeSet<u64> = (0..world.classes.len() * 2)
        .map(|place| survivors::number(world.lab.id(), place))
        .collect();
    let mut dead = Gateway::start(&world, &numbers, Shedding::Everything, "stub");
    assert_eq!(survivors::count(&numbers).len(), numbers.len());
    assert!(survivors::marked(world.host()) >= numbers.len());
    let killed = Instant::now();
    dead.kill();
    let times = runtime().block_on(survivors::vanish(&numbers, killed, LIMIT));
    survivors::tell("sessions of a gateway killed with -9", times);
    assert_eq!(survivors::marked(world.host()), 0);
    world.lab.stop().expect("a clean end");
}

/// Where there is no shell and no stub: what a helper container's shell learns is the end of its
/// input. No reaper comes, and the helper goes, too.
#[test]
fn a_gateway_killed_with_9_leaves_nothing_where_there_is_no_shell() {
    let Some(world) = World::start("lab exec: a killed gateway and a helper") else {
        return;
    };
    let numbers: BTreeSet<u64> = (0..4)
        .map(|place| survivors::number(world.lab.id(), place))
        .collect();
    let mut dead = Gateway::start(&world, &numbers, Shedding::Something, "helper");
    assert_eq!(survivors::count(&numbers).len(), numbers.len());
    let there = beside::helpers(world.host());
    assert_eq!(there.len(), 1, "{there:?}");
    let killed = Instant::now();
    dead.kill();
    let times = runtime().block_on(survivors::vanish(&numbers, killed, SILENCE));
    survivors::tell("sessions of a gateway killed with -9, by a helper", times);
    assert_eq!(survivors::marked(world.host()), 0);
    // It looks for who comes late before it goes.
    beside::no_helpers(world.host(), LIMIT * 2);
    world.lab.stop().expect("a clean end");
}

/// Killed at any time while it starts sessions beside lifelines, the first of all included. What the
/// engine was asked to start before it learnt of that, it starts all the same.
#[test]
fn a_gateway_killed_while_it_starts_sessions_leaves_nothing() {
    let Some(world) = World::start("lab exec: a gateway killed among starts") else {
        return;
    };
    for round in 0..ROUNDS {
        let numbers = BTreeSet::from([survivors::number(world.lab.id(), 500)]);
        let mut dead = Gateway::start(&world, &numbers, Shedding::Everything, "lifeline");
        std::thread::sleep(Duration::from_millis(u64::from(round) * 120));
        dead.kill();
        let killed = Instant::now();
        let running = || survivors::count(&numbers).into_values().sum::<usize>();
        let most = running();
        // Nobody is there, and nobody comes any more.
        let mut empty_since = None;
        while empty_since.is_none_or(|at: Instant| at.elapsed() < Duration::from_secs(2)) {
            // Lifelines of the rounds before are still looking, so it may take its time.
            assert!(killed.elapsed() < LIMIT * 2, "{} are left", running());
            match running() {
                0 => _ = empty_since.get_or_insert_with(Instant::now),
                _ => empty_since = None,
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let took = killed.elapsed() - Duration::from_secs(2);
        println!("MEASURED killed {round}: {most} processes gone after {took:?}");
    }
    world.lab.stop().expect("a clean end");
}

/// Should even the stubs be killed, the gateway's next life finds what they leave by its mark.
#[test]
fn what_a_dead_gateway_left_is_reaped_by_its_next_life() {
    let Some(world) = World::start("lab exec: the reaper") else {
        return;
    };
    let numbers: BTreeSet<u64> = (0..world.classes.len())
        .map(|place| survivors::number(world.lab.id(), place))
        .collect();
    let mut dead = Gateway::start(&world, &numbers, Shedding::Something, "stub");
    // All at once, and before their trees: a stopped stub does nothing.
    let stubs = stubs(world.host());
    assert_eq!(stubs.len(), numbers.len());
    for signal in [Signal::STOP, Signal::KILL] {
        stubs
            .iter()
            .for_each(|pid| kill_process(*pid, signal).expect("a stub"));
    }
    dead.kill();
    std::thread::sleep(Duration::from_secs(1));
    let left = survivors::count(&numbers);
    assert_eq!(
        left.len(),
        numbers.len(),
        "something is left of each: {left:?}"
    );

    runtime().block_on(async {
        let other = gateway(world.socket())
            .with_gateway(life("other"))
            .with_stub(stub());
        assert_eq!(other.reap().await.expect("it answers").reports, []);
        assert_eq!(survivors::count(&numbers).len(), numbers.len());
        let reborn = gateway(world.socket())
            .with_gateway(life(NAME))
            .with_stub(stub());
        let reports = reborn.reap().await.expect("it answers").reports;
        assert_eq!(reports.len(), numbers.len(), "{reports:?}");
        assert!(
            reports
                .iter()
                .all(|report| report.outcome == CleanupOutcome::Clean)
        );
        assert_eq!(reborn.reap().await.expect("it answers").reports, []);
    });
    // What lost its environment and then its parent can't be told from others; nothing else is left.
    let marked = survivors::marked(world.host());
    assert_eq!(marked, 0);
    let left = survivors::count(&numbers);
    assert!(left.values().all(|count| *count <= 1), "{left:?}");
    world.lab.stop().expect("a clean end");
}

fn life(name: &str) -> GatewayLife {
    GatewayLife::begin(name, &OsRandom)
}

/// The stubs that own sessions in this host's containers.
pub fn stubs(host: &Host) -> Vec<Pid> {
    let owns = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split(|byte| *byte == 0);
        let program = String::from_utf8_lossy(words.next().unwrap_or_default()).into_owned();
        program.contains("longshore-exec-stub") && words.next() == Some(b"session")
    };
    survivors::processes(host)
        .filter(owns)
        .filter_map(|pid| Pid::from_raw(pid as i32))
        .collect()
}

const NAME: &str = "lab-exec";
const LIMIT: Duration = Duration::from_secs(30);
/// Sooner than a shell acts that hears nothing, and does not see the end of its input.
const SILENCE: Duration = Duration::from_secs(7);
const SOCKET: &str = "LONGSHORE_LAB_EXEC_SOCKET";
const CONTAINERS: &str = "LONGSHORE_LAB_EXEC_CONTAINERS";
const NUMBERS: &str = "LONGSHORE_LAB_EXEC_NUMBERS";
const BY: &str = "LONGSHORE_LAB_EXEC_BY";
const WITHOUT_SHELL: usize = 1;
/// bash, read-only, non-root, dash.
const WITH_SHELL: [usize; 4] = [0, 2, 3, 6];
const ROUNDS: u8 = 6;
const SHEDDING: &str = "LONGSHORE_LAB_EXEC_SHEDDING";
