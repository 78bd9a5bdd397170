//! `platform manage` as an operator starts it, over a real engine: with a stub and without.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use longshore_lab::{LabProcess, Rootfs, example};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    gateway::stubs,
    survivors,
    tree::{self, Shedding},
    world::World,
};

/// Into a container that has no shell at all; and the log says what sessions are, and why.
#[test]
fn a_person_enters_where_there_is_no_shell() {
    let Some(world) = World::start("lab exec: platform manage with a stub") else {
        return;
    };
    let program = longshore_lab::stub();
    let scratch = Rootfs::empty().with_program(&program, "/app");
    let scratch = scratch.expect("a static program");
    world
        .host()
        .import("scratch:lab", &scratch, "/app")
        .expect("the scratch image");
    let run = [
        "run",
        "--detach",
        "--network",
        "none",
        "--read-only",
        "--user",
        "1234",
        "--name",
        "scratch",
        "scratch:lab",
        "/app",
        "hold",
    ];
    world.host().docker_ok(run).expect("a container");

    let manager = Manager::start(&world, &program.display().to_string());
    let typed = "ls /\n/app hello\nexit 7\n";
    let output = manager.enter("scratch", typed);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(
        text(&output.stdout).lines().any(|line| line == "app"),
        "{output:?}"
    );
    assert!(
        text(&output.stderr).contains("run by longshore"),
        "{output:?}"
    );
    let log = manager.log();
    assert!(
        log.contains("owned by the stub") && log.contains(&program.display().to_string()),
        "{log}"
    );
    drop(manager);

    let manager = Manager::start(&world, "none");
    let output = manager.enter("scratch", typed);
    // As the engine puts it.
    assert!(
        matches!(output.status.code(), Some(126 | 127)),
        "{output:?}"
    );
    assert!(text(&output.stderr).contains("no shell"), "{output:?}");
    assert!(
        manager
            .log()
            .contains("without a stub, as --exec-stub none says")
    );
    drop(manager);
    world.lab.stop().expect("a clean end");
}

/// A manager is killed with -9 and, so that anything is left at all, those who watch over its sessions
/// in the container with it. Started again it ends what they leave, and touches neither the sessions of
/// another manager in the same container, nor its own new ones.
#[test]
fn a_manager_that_is_started_again_ends_what_it_left_and_nothing_else() {
    let Some(world) = World::start("lab exec: platform manage is started again") else {
        return;
    };
    let stub = longshore_lab::stub().display().to_string();
    let [old, new, others] = [0, 1, 2].map(|place| survivors::number(world.lab.id(), place));
    let size = |number: u64| survivors::count(&BTreeSet::from([number])).remove(&number);
    let stands = |number: u64| size(number).is_some_and(|size| size >= tree::SIZE);
    let mut manager = Manager::start(&world, &stub);
    let other = Manager::start(&world, &stub);
    let container = world.classes[0].container.as_str();
    let _old = manager.hold(container, old);
    let _others = other.hold(container, others);
    wait_for("both trees", || stands(old) && stands(others));

    let watching: Vec<Pid> = stubs(world.host())
        .into_iter()
        .filter(|pid| has_word(*pid, old))
        .collect();
    assert_eq!(watching.len(), 1);
    // A stopped stub does nothing.
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in &watching {
            kill_process(*pid, signal).expect("a stub");
        }
        manager.kill();
    }
    std::thread::sleep(Duration::from_secs(1));
    assert!(size(old).is_some(), "something is left");
    let killed = Instant::now();
    manager.launch(&world, &stub);
    let _new = manager.hold(container, new);
    wait_for("the old tree is gone", || size(old).is_none());
    println!(
        "MEASURED what a killed manager left is gone {:?} after its next start",
        killed.elapsed()
    );
    wait_for("it is told", || {
        let log = manager.log();
        log.contains("lost exec sessions were ended")
    });
    wait_for("the new tree", || stands(new));
    // Nor does a manager that comes now, of another folder.
    let third = Manager::start(&world, &stub);
    std::thread::sleep(Duration::from_secs(5));
    assert!(stands(new) && stands(others), "those who live");
    assert!(
        !other.log().contains("lost exec sessions"),
        "{}",
        other.log()
    );
    assert!(
        !third.log().contains("lost exec sessions"),
        "{}",
        third.log()
    );
    // A folder is one manager's.
    let output = command(&manager.program, manager.folder.path(), &world, &stub)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let output = output.expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && text.contains("--state"),
        "{text}"
    );
    drop((third, other, manager));
    world.lab.stop().expect("a clean end");
}

/// Whether the number is in a process's command line.
fn has_word(pid: Pid, number: u64) -> bool {
    let line = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
    String::from_utf8_lossy(&line).contains(&number.to_string())
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(90);
    while !holds() {
        assert!(Instant::now() < until, "not within 90 s: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A session that goes on until this is dropped.
struct Held(Child);

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A control plane of its own, ended when it is dropped.
struct Manager {
    process: LabProcess,
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Manager {
    /// Returns when it knows the world's containers.
    fn start(world: &World, stub: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let program = example("platform");
        let manager = Self {
            process: launch(&program, folder.path(), world, stub),
            program,
            folder,
        };
        manager.wait_until_it_knows(world);
        manager
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.process.kill();
    }

    /// Again, as it was started before.
    fn launch(&mut self, world: &World, stub: &str) {
        self.process = launch(&self.program, self.folder.path(), world, stub);
        self.wait_until_it_knows(world);
    }

    fn wait_until_it_knows(&self, world: &World) {
        let with_shell = world.classes[0].container.as_str();
        let until = Instant::now() + Duration::from_secs(60);
        while !self.enter(with_shell, "exit 0\n").status.success() {
            assert!(Instant::now() < until, "{}", self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// A session with a tree of this number.
    fn hold(&self, container: &str, number: u64) -> Held {
        let script = tree::script("", number, None, Shedding::Something);
        let child = Command::new(&self.program)
            .args(["enter", "-H", &socket(self.folder.path()), container])
            .args(["--", "sh", "-c", &script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Held(child.expect("it starts"))
    }

    fn enter(&self, container: &str, typed: &str) -> Output {
        let mut child = Command::new(&self.program)
            .args(["enter", "-H", &socket(self.folder.path()), container])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut input = child.stdin.take().expect("it is piped");
        // Where there is no shell nobody reads it.
        let _ = input.write_all(typed.as_bytes());
        drop(input);
        child.wait_with_output().expect("it ends")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

/// With a state folder of its own.
fn command(program: &Path, folder: &Path, world: &World, stub: &str) -> Command {
    let nodes = format!("nodes://{}", world.host().tcp_endpoint());
    let mut command = Command::new(program);
    command
        .args(["manage", &nodes, "-H", &socket(folder)])
        .args(["--exec-stub", stub, "--state"])
        .arg(folder.join("state"))
        .stdin(Stdio::null());
    command
}

fn launch(program: &Path, folder: &Path, world: &World, stub: &str) -> LabProcess {
    let mut log = fs::File::options();
    let log = log.create(true).append(true).open(folder.join("log"));
    let mut command = command(program, folder, world, stub);
    command.stderr(log.expect("a log"));
    LabProcess::spawn(&mut command).expect("it starts")
}

fn socket(folder: &Path) -> String {
    format!("unix://{}", folder.join("socket").display())
}
