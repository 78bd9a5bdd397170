//! `platform manage` as an operator starts it, over a real engine: with a stub and without.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use longshore_lab::{LabProcess, Rootfs, example};

use crate::world::World;

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

/// A control plane of its own, ended when it is dropped.
struct Manager {
    _process: LabProcess,
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Manager {
    /// Returns when it knows the world's containers.
    fn start(world: &World, stub: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let log = fs::File::create(folder.path().join("log")).expect("a log");
        let program = example("platform");
        let nodes = format!("nodes://{}", world.host().tcp_endpoint());
        let mut command = Command::new(&program);
        command
            .args(["manage", &nodes, "-H", &socket(folder.path())])
            .args(["--exec-stub", stub])
            .stdin(Stdio::null())
            .stderr(log);
        let manager = Self {
            _process: LabProcess::spawn(&mut command).expect("it starts"),
            program,
            folder,
        };
        let with_shell = world.classes[0].container.as_str();
        let until = Instant::now() + Duration::from_secs(60);
        while !manager.enter(with_shell, "exit 0\n").status.success() {
            assert!(Instant::now() < until, "{}", manager.log());
            std::thread::sleep(Duration::from_millis(100));
        }
        manager
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

fn socket(folder: &Path) -> String {
    format!("unix://{}", folder.join("socket").display())
}
