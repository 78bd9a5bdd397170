//! An engine with a container of each class, and gateways to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use futures::StreamExt;
use longshore::{
    ExecBackend, ExecSession,
    core::{Connector, ExecRequest, OsRandom, SystemClock, TerminalSize, WorkloadId},
    engine::{TcpConnector, UnixConnector},
    exec::{CleanupReport, DockerExec, Stub},
};
use longshore_lab::{Host, Lab, Rootfs};

use crate::tree::{self, Shedding};

/// A kind of container.
#[derive(Clone, Debug)]
pub struct Class {
    pub name: &'static str,
    pub container: WorkloadId,
    shell: &'static str,
    tool: &'static str,
    other: Option<&'static str>,
}

/// Everything a test needs.
pub struct World {
    pub lab: Lab,
    pub classes: Vec<Class>,
}

impl World {
    /// One host, and its containers; `None` where no lab can be.
    pub fn start(suite: &str) -> Option<Self> {
        let lab = Lab::builder().hosts(1).start_or_skip(suite)?;
        let classes = classes(lab.host(0));
        Some(Self { lab, classes })
    }

    pub fn host(&self) -> &Host {
        self.lab.host(0)
    }

    pub fn socket(&self) -> Arc<dyn Connector> {
        Arc::new(UnixConnector::new(self.host().socket()))
    }

    pub fn tcp(&self) -> Arc<dyn Connector> {
        Arc::new(TcpConnector::new(self.host().tcp_endpoint().into()))
    }
}

/// The stub of the sources under test, built once.
pub fn stub() -> Stub {
    static STUB: OnceLock<Stub> = OnceLock::new();
    let build = || Stub::new(std::fs::read(longshore_lab::stub()).expect("it is there"));
    STUB.get_or_init(|| build().expect("a static program"))
        .clone()
}

/// A gateway that reaches the engine in this way.
pub fn gateway(connector: Arc<dyn Connector>) -> DockerExec {
    DockerExec::new(connector, Arc::new(SystemClock::new()), Arc::new(OsRandom))
}

/// What became of sessions, by container.
#[derive(Clone, Debug, Default)]
pub struct Reports(Arc<Mutex<Vec<CleanupReport>>>);

impl Reports {
    pub fn hear(&self, gateway: DockerExec) -> DockerExec {
        let reports = Arc::clone(&self.0);
        gateway.with_cleanup_listener(move |report| {
            reports.lock().expect("no panic").push(report.clone());
        })
    }

    pub fn len(&self) -> usize {
        self.0.lock().expect("no panic").len()
    }

    /// Waits until so many are there.
    pub async fn wait_for(&self, count: usize) {
        let until = Instant::now() + Duration::from_secs(60);
        while self.len() < count {
            assert!(Instant::now() < until, "{} of {count} reports", self.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub fn take(&self) -> Vec<CleanupReport> {
        std::mem::take(&mut *self.0.lock().expect("no panic"))
    }
}

/// Starts the tree in a session of this class and waits until it stands.
pub async fn plant(
    gateway: &DockerExec,
    class: &Class,
    number: u64,
    tty: bool,
    shedding: Shedding,
) -> Arc<dyn ExecSession> {
    let script = tree::script(class.tool, number, class.other, shedding);
    let words = class.shell.split(' ').chain(["-c", script.as_str()]);
    let mut request = ExecRequest::new(class.container.clone(), words);
    if tty {
        request = request.with_tty(TerminalSize::default());
    }
    let session = gateway.exec(&request).await.expect("a session");
    let mut output = session.take_output().expect("it is taken once");
    let mut seen = Vec::new();
    while !String::from_utf8_lossy(&seen).contains("ready") {
        let piece = output.next().await;
        let piece = piece.unwrap_or_else(|| {
            panic!(
                "{}: it ended with {}",
                class.name,
                String::from_utf8_lossy(&seen)
            )
        });
        seen.extend_from_slice(&piece.expect("output").bytes);
    }
    // It goes on being read, as by a client.
    tokio::spawn(output.for_each(|_| async {}));
    session
}

impl Class {
    /// The classes of these containers, in the order in which [`World::start`] makes them.
    pub fn of(containers: &[WorkloadId]) -> Vec<Self> {
        let su = Some("su user -s /bin/sh -c");
        let kinds = [
            ("bash", "bash", "", su),
            ("no shell", "/busybox sh", "/busybox ", None),
            ("read-only", "sh", "", su),
            ("non-root", "sh", "", None),
            ("non-root, read-only", "sh", "", None),
            ("no capabilities", "sh", "", None),
            // Its `read` knows no limit in time.
            ("dash", "sh", "", None),
        ];
        assert_eq!(containers.len(), kinds.len());
        containers
            .iter()
            .zip(kinds)
            .map(|(container, (name, shell, tool, other))| Self {
                name,
                container: container.clone(),
                shell,
                tool,
                other,
            })
            .collect()
    }
}

fn classes(host: &Host) -> Vec<Class> {
    host.import_bash("bash:lab").expect("the bash image");
    let busybox = longshore_lab::find_program("busybox").expect("busybox");
    let bare = Rootfs::empty()
        .with_program(&busybox, "/busybox")
        .expect("a static program");
    host.import("bare:lab", &bare, "/busybox")
        .expect("the bare image");
    let dash = longshore_lab::find_program("dash").expect("dash");
    let dash = Rootfs::busybox().and_then(|rootfs| rootfs.with_program(&dash, "/usr/local/bin/sh"));
    host.import("dash:lab", &dash.expect("dash's libraries"), "sh")
        .expect("the dash image");
    let run = |options: &[&str], command: &[&str]| {
        let fixed = ["run", "--detach", "--network", "none"];
        let words = fixed.iter().chain(options).chain(command);
        let id = host.docker_ok(words).expect("a container");
        WorkloadId::new(id).expect("an id")
    };
    let idle = ["bash:lab", "sleep", "100000"];
    Class::of(&[
        run(&[], &idle),
        run(&[], &["bare:lab", "/busybox", "sleep", "100000"]),
        run(&["--read-only"], &idle),
        run(&["--user", "user"], &idle),
        run(&["--read-only", "--user", "1000:1000"], &idle),
        run(&["--cap-drop", "ALL", "--user", "user"], &idle),
        run(&[], &["dash:lab", "sleep", "100000"]),
    ])
}

/// How many reports there are of each kind.
pub fn kinds(reports: &[CleanupReport]) -> BTreeMap<String, usize> {
    let mut kinds = BTreeMap::new();
    for report in reports {
        let kind = format!("{:?} by {:?}", report.outcome, report.rungs);
        *kinds.entry(kind).or_default() += 1;
    }
    kinds
}
