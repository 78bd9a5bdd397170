//! Two managers, as an operator would start them.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use longshore_lab::{
    Lab, LabHostSpec, LabProcess, Store, StoreKind, StoreSpec, example, free_ports,
};

pub const IMAGE: &str = "busybox:lab";

/// Dropped from top to bottom: the managers end before what they stand on.
pub struct Managers {
    processes: [Option<LabProcess>; 2],
    node: Option<LabProcess>,
    ports: Vec<u16>,
    pub store: Store,
    _lab: Lab,
    directory: tempfile::TempDir,
}

impl Managers {
    /// The first leads. `None` if the machine can't run this; that is said and counted as skipped.
    pub fn start(suite: &str) -> Option<Self> {
        let store = Store::start_or_skip(StoreKind::Etcd, 1, &StoreSpec::default(), suite)?;
        let host = LabHostSpec::default().with_label("zone", "a");
        let lab = Lab::builder().host(host).start_or_skip(suite)?;
        lab.import_busybox(IMAGE).expect("busybox is imported");
        let mut managers = Self {
            processes: [None, None],
            node: None,
            ports: free_ports(2).expect("two free ports"),
            store,
            directory: tempfile::tempdir().expect("a temporary folder"),
            _lab: lab,
        };
        let mut join = platform();
        let engine = managers._lab.host(0).tcp_endpoint().to_string();
        join.args([
            "join",
            "--advertise",
            &engine,
            "--heartbeat",
            "1s",
            "--ttl",
            "10s",
        ]);
        join.arg(managers.url());
        join.stdin(Stdio::null()).stderr(managers.log("join"));
        managers.node = Some(LabProcess::spawn(&mut join).expect("the node registers"));
        managers.launch(0);
        managers.wait_for("the first leader", |m| m.role(0) == "primary");
        managers.launch(1);
        managers.wait_for("a healthy node in both views", |m| {
            (0..2).all(|index| m.text(index, ["info"]).contains("Status: Healthy"))
        });
        Some(managers)
    }

    fn url(&self) -> String {
        format!("etcd://{}/lab", self.store.authority())
    }

    fn log(&self, name: &str) -> fs::File {
        let path = self.directory.path().join(format!("{name}.log"));
        let file = fs::File::options().create(true).append(true).open(path);
        file.expect("a log")
    }

    pub fn address(&self, index: usize) -> String {
        format!("127.0.0.1:{}", self.ports[index])
    }

    pub fn launch(&mut self, index: usize) {
        let mut command = platform();
        command
            .args(["manage", "--replication", "--replication-ttl", "3s"])
            .args(["--engine-refresh-min-interval", "1s"])
            .args(["--engine-refresh-max-interval", "2s", "--heartbeat", "1s"])
            .args(["--advertise", &self.address(index)])
            .arg("-H")
            .arg(format!("tcp://{}", self.address(index)))
            .arg(self.url())
            .stdin(Stdio::null())
            .stderr(self.log(&format!("manager-{index}")));
        self.processes[index] = Some(LabProcess::spawn(&mut command).expect("it starts"));
    }

    fn process(&mut self, index: usize) -> &mut LabProcess {
        self.processes[index].as_mut().expect("it was launched")
    }

    pub fn stop(&mut self, index: usize) {
        let ended = self.process(index).terminate(Duration::from_secs(20));
        assert!(ended.expect("it ends").success());
    }

    pub fn kill(&mut self, index: usize) {
        self.process(index).kill();
    }

    pub fn freeze(&mut self, index: usize) {
        self.process(index).freeze();
    }

    pub fn thaw(&mut self, index: usize) {
        self.process(index).thaw();
    }

    pub fn docker(&self, index: usize) -> Command {
        let mut command = Command::new("docker");
        command.env("DOCKER_HOST", format!("tcp://{}", self.address(index)));
        command.stdin(Stdio::null());
        command
    }

    fn text<S: AsRef<OsStr>>(
        &self,
        index: usize,
        arguments: impl IntoIterator<Item = S>,
    ) -> String {
        let output = self.docker(index).args(arguments).output();
        String::from_utf8_lossy(&output.expect("docker runs").stdout)
            .trim()
            .to_owned()
    }

    /// Runs the stock client, which must succeed.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(
        &self,
        index: usize,
        arguments: impl IntoIterator<Item = S>,
    ) -> String {
        let output = self
            .docker(index)
            .args(arguments)
            .output()
            .expect("docker runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}\n{}", self.logs());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// A line of `docker info`.
    pub fn info(&self, index: usize, key: &str) -> Option<String> {
        let info = self.text(index, ["info"]);
        let mut lines = info.lines().filter_map(|line| line.trim().split_once(": "));
        lines
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.to_owned())
    }

    pub fn role(&self, index: usize) -> String {
        self.info(index, "Role").unwrap_or_default()
    }

    /// Which one leads, if one says so of itself and no other contradicts it.
    pub fn leader(&self) -> Option<usize> {
        let roles = [self.role(0), self.role(1)];
        let leading: Vec<usize> = (0..2).filter(|index| roles[*index] == "primary").collect();
        match leading.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// The tokens of all leaderships, by when they were acquired.
    pub fn tokens(&self) -> Vec<u64> {
        let mut found: Vec<(String, u64)> = Vec::new();
        for index in 0..2 {
            let path = self.directory.path().join(format!("manager-{index}.log"));
            let log = fs::read_to_string(path).unwrap_or_default();
            for line in log
                .lines()
                .filter(|line| line.contains("leadership acquired"))
            {
                let time = line.split(' ').next().unwrap_or_default().to_owned();
                let token = line.split("token=").nth(1).expect("the token is logged");
                found.push((time, token.trim().parse().expect("a number")));
            }
        }
        found.sort();
        found.into_iter().map(|(_, token)| token).collect()
    }

    #[track_caller]
    pub fn wait_for(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        longshore_lab::wait_for(
            what,
            Duration::from_secs(60),
            || holds(self),
            || self.logs(),
        );
    }

    fn logs(&self) -> String {
        let read = |name: &str| {
            let path = self.directory.path().join(format!("{name}.log"));
            fs::read_to_string(path).unwrap_or_default()
        };
        format!(
            "{}\n--\n{}\n--\n{}",
            read("manager-0"),
            read("manager-1"),
            read("join")
        )
    }
}

pub fn platform() -> Command {
    Command::new(platform_binary())
}

/// The reference program, built once from the sources under test.
pub fn platform_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| example("platform"))
}
