//! A lab with a control plane over it, as an operator would start it.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use longshore_lab::{Lab, LabHostSpec, LabProcess, example};

pub const IMAGE: &str = "busybox:lab";

/// Two hosts that are dialled, one behind NAT that dials in, and a control plane.
pub struct Cluster {
    // Dropped first: the plane and the agent end before their hosts.
    plane: Option<LabProcess>,
    agent: Option<LabProcess>,
    pub lab: Lab,
    pub socket: PathBuf,
    directory: tempfile::TempDir,
}

/// Index of the host behind NAT.
pub const NAT: usize = 2;

impl Cluster {
    /// `None` if the machine can't run a lab; that is said and counted as skipped.
    pub fn start(suite: &str) -> Option<Self> {
        let lab = Lab::builder()
            .host(
                LabHostSpec::default()
                    .with_label("zone", "a")
                    .with_live_restore(),
            )
            .host(LabHostSpec::default().with_label("zone", "b"))
            .host(LabHostSpec::default().with_label("zone", "nat").with_nat())
            .start_or_skip(suite)?;
        lab.import_busybox(IMAGE)
            .expect("busybox is imported on every host");
        let directory = tempfile::tempdir().expect("a temporary folder");
        let socket = directory.path().join("longshore.sock");
        let mut cluster = Self {
            plane: None,
            agent: None,
            lab,
            socket,
            directory,
        };
        cluster.make_certificates();
        let nodes: String = (0..NAT)
            .map(|i| format!("{}\n", cluster.lab.host(i).tcp_endpoint()))
            .collect();
        fs::write(cluster.path("nodes"), nodes).expect("the nodes file is written");
        cluster.start_plane();
        cluster.start_agent();
        cluster.wait_for("three healthy nodes", |c| c.healthy_nodes() == 3);
        Some(cluster)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn make_certificates(&self) {
        let ca = self.path("ca");
        run(platform().args(["cert", "init"]).arg(&ca));
        let gateway = self.lab.gateway().to_string();
        let node = self.lab.host(NAT).name();
        for (folder, role, name, san) in [
            ("plane", "manager", "plane", gateway.as_str()),
            ("nat-node", "node", node, "nat"),
        ] {
            run(platform()
                .args(["cert", "issue", "--role", role, "--name", name])
                .args(["--san", san, "--ca"])
                .arg(&ca)
                .arg("--out")
                .arg(self.path(folder)));
        }
    }

    fn tls(&self, name: &str) -> Vec<String> {
        let file = |file: &str| self.path(name).join(file).display().to_string();
        vec![
            "--tlscacert".into(),
            file("ca.pem"),
            "--tlscert".into(),
            file("cert.pem"),
            "--tlskey".into(),
            file("key.pem"),
        ]
    }

    pub fn start_plane(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("plane.log"));
        let mut command = platform();
        command
            .args(["manage", "--engine-refresh-min-interval", "1s"])
            .args(["--engine-refresh-max-interval", "2s", "--heartbeat", "1s"])
            .arg("--discovery")
            .arg(format!("file://{}", self.path("nodes").display()))
            .arg("-H")
            .arg(format!("unix://{}", self.socket.display()))
            .arg("--tunnel")
            .arg(format!("{}:7443", self.lab.gateway()))
            .arg("--audit-log")
            .arg(self.path("audit.log"))
            .args(self.tls("plane"))
            .stdin(Stdio::null())
            .stderr(log.expect("the plane's log"));
        self.plane = Some(LabProcess::spawn(&mut command).expect("the plane starts"));
    }

    pub fn plane(&mut self) -> &mut LabProcess {
        self.plane.as_mut().expect("the plane was started")
    }

    pub fn agent(&mut self) -> &mut LabProcess {
        self.agent.as_mut().expect("the agent was started")
    }

    pub fn start_agent(&mut self) {
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.path("agent.log"));
        let host = self.lab.host(NAT);
        let mut command = host.command(platform_binary());
        command
            .args(["join", "--label", "disk=ssd"])
            .arg("--tunnel")
            .arg(format!("{}:7443", self.lab.gateway()))
            .arg("--engine")
            .arg(host.docker_host())
            .args(self.tls("nat-node"))
            .stdin(Stdio::null())
            .stderr(log.expect("the agent's log"));
        self.agent = Some(host.spawn(&mut command).expect("the agent starts"));
    }

    /// The stock client at the cluster's endpoint.
    pub fn docker<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        self.client("docker")
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .expect("the docker client runs")
    }

    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DOCKER_HOST", format!("unix://{}", self.socket.display()));
        command
    }

    /// Runs the stock client, which must succeed, and gives its output without the last newline.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let arguments: Vec<_> = arguments
            .into_iter()
            .map(|argument| argument.as_ref().to_owned())
            .collect();
        let output = self.docker(&arguments);
        assert!(
            output.status.success(),
            "docker {arguments:?}: {}\n{}\nplane: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.log_tail()
        );
        text(&output.stdout)
    }

    /// Runs the stock client, which must fail, and gives its message.
    #[track_caller]
    pub fn refused<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> String {
        let output = self.docker(arguments);
        assert!(
            !output.status.success(),
            "it succeeded: {}",
            text(&output.stdout)
        );
        text(&output.stderr)
    }

    /// The node that a container is on.
    #[track_caller]
    pub fn node_of(&self, container: &str) -> String {
        self.ok(["inspect", "--format", "{{.Node.Name}}", container])
    }

    fn healthy_nodes(&self) -> usize {
        text(&self.docker(["info"]).stdout)
            .matches("Status: Healthy")
            .count()
    }

    /// A container of this name that does nothing, on a node that meets the demand.
    #[track_caller]
    pub fn idle(&self, name: &str, demand: &str) {
        let run = ["run", "-d", "--name", name, "-e", demand];
        self.ok(run.iter().chain(&[IMAGE, "sleep", "600"]));
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let found = || {
            format!(
                "info: {}\nplane: {}\nagent: {}",
                text(&self.docker(["info"]).stdout),
                self.log_tail(),
                tail(&self.path("agent.log"))
            )
        };
        longshore_lab::wait_for(what, Duration::from_secs(60), || holds(self), found);
    }

    pub fn log_tail(&self) -> String {
        tail(&self.path("plane.log"))
    }
}

fn tail(path: &Path) -> String {
    let log = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("the program runs");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        text(&output.stderr)
    );
}

pub fn platform() -> Command {
    Command::new(platform_binary())
}

/// The reference program, built once from the sources under test.
fn platform_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| example("platform"))
}
