//! Three managers that replicate their store among themselves, each in a host of its own, and a host
//! with a real Docker engine.

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::Ipv4Addr,
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Command, Output, Stdio},
    time::Duration,
};

use longshore_lab::{Lab, LabProcess};

use crate::managers::{IMAGE, platform, platform_binary};

/// The host with the engine; the managers are in those before it.
const ENGINE: usize = 3;

/// Dropped from top to bottom: the managers end before what they stand on.
pub struct Members {
    processes: [Option<LabProcess>; 3],
    node: Option<LabProcess>,
    pub lab: Lab,
    directory: tempfile::TempDir,
}

impl Members {
    /// One of them leads, and all see a healthy node. `None` if the machine can't run this; that is
    /// said and counted as skipped.
    pub fn start(suite: &str) -> Option<Self> {
        let lab = Lab::builder().hosts(4).start_or_skip(suite)?;
        lab.host(ENGINE)
            .import_busybox(IMAGE)
            .expect("busybox is imported");
        let mut members = Self {
            processes: [None, None, None],
            node: None,
            lab,
            directory: tempfile::tempdir().expect("a temporary folder"),
        };
        for number in 0..3 {
            members.launch(number);
        }
        members.register();
        members.wait_for("a leader with a healthy node", |m| {
            m.leader().is_some() && (0..3).all(|number| m.info(number).contains("Status: Healthy"))
        });
        Some(members)
    }

    /// Registers the engine, through any of the managers.
    fn register(&mut self) {
        let host = self.lab.host(ENGINE);
        let mut join = host.command(platform_binary());
        join.args(["join", "--heartbeat", "1s", "--ttl", "10s"])
            .args(["--discovery-opt", PLAINTEXT, "--advertise"])
            .arg(host.tcp_endpoint().to_string())
            .arg(self.url(""))
            .stdin(Stdio::null())
            .stderr(self.log("join"));
        self.node = Some(LabProcess::spawn(&mut join).expect("the node registers"));
    }

    pub fn launch(&mut self, number: usize) {
        let directory = self.path(&format!("raft-{number}"));
        let own = format!("?self=m{number}&dir={}", directory.display());
        let mut command = self.lab.host(number).command(platform_binary());
        command
            .args(["manage", "--replication", "--replication-ttl", "3s"])
            .args(["--replication-timeout", "1s", "--heartbeat", "1s"])
            .args(["--engine-refresh-min-interval", "1s"])
            .args(["--engine-refresh-max-interval", "2s"])
            .args(["--discovery-opt", PLAINTEXT, "--insecure-plaintext"])
            .args(["--advertise", &self.address(number), "-H"])
            .arg(format!("tcp://{}", self.address(number)))
            .arg("-H")
            .arg(format!("unix://{}", self.socket(number).display()))
            .arg(self.url(&own))
            .stdin(Stdio::null())
            .stderr(self.log(&format!("manager-{number}")));
        self.processes[number] = Some(LabProcess::spawn(&mut command).expect("it starts"));
    }

    pub fn kill(&mut self, number: usize) {
        let process = self.processes[number].as_mut();
        process.expect("it was launched").kill();
    }

    fn url(&self, own: &str) -> String {
        let member = |number| format!("m{number}={}:7300", self.host(number));
        let list = [0, 1, 2].map(member).join(",");
        format!("raft://{list}/lab{own}")
    }

    fn host(&self, number: usize) -> Ipv4Addr {
        self.lab.host(number).address()
    }

    /// Where other managers reach this one.
    pub fn address(&self, number: usize) -> String {
        format!("{}:3375", self.host(number))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Where it is asked also when its network is gone.
    fn socket(&self, number: usize) -> PathBuf {
        self.path(&format!("manager-{number}.sock"))
    }

    fn log(&self, name: &str) -> fs::File {
        let path = self.path(&format!("{name}.log"));
        let file = fs::File::options().create(true).append(true).open(path);
        file.expect("a log")
    }

    fn docker<S: AsRef<OsStr>>(
        &self,
        number: usize,
        arguments: impl IntoIterator<Item = S>,
    ) -> Output {
        let mut command = Command::new("docker");
        command.arg("-H");
        command.arg(format!("unix://{}", self.socket(number).display()));
        command.args(arguments).stdin(Stdio::null());
        command.output().expect("docker runs")
    }

    /// Runs the stock client at a manager; it must succeed.
    #[track_caller]
    pub fn ok<S: AsRef<OsStr>>(
        &self,
        number: usize,
        arguments: impl IntoIterator<Item = S>,
    ) -> String {
        self.succeed(self.docker(number, arguments))
    }

    /// Runs it, and gives the error that it must end with.
    #[track_caller]
    pub fn refused<S: AsRef<OsStr>>(
        &self,
        number: usize,
        arguments: impl IntoIterator<Item = S>,
    ) -> String {
        let output = self.docker(number, arguments);
        assert!(!output.status.success(), "{output:?}\n{}", self.logs());
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// `platform stack …` at a manager.
    #[track_caller]
    pub fn stack(&self, number: usize, verb: &str, rest: &[&str]) -> String {
        let mut command = platform();
        command.args(["stack", verb, "-H"]);
        command.arg(format!("unix://{}", self.socket(number).display()));
        let output = command.args(rest).stdin(Stdio::null()).output();
        self.succeed(output.expect("platform runs"))
    }

    /// `platform kv …` from the engine's host, over whatever managers there are.
    pub fn kv(&self, verb: &str, rest: &[&str]) -> Output {
        let mut command = self.lab.host(ENGINE).command(platform_binary());
        command.args(["kv", verb, &self.url(""), "--store-opt", PLAINTEXT]);
        let output = command.args(rest).stdin(Stdio::null()).output();
        output.expect("platform runs")
    }

    #[track_caller]
    pub fn succeed(&self, output: Output) -> String {
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}\n{}", self.logs());
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Writes the file of a stack, and says where it is.
    pub fn stack_file(&self, replicas: usize) -> String {
        let path = self.path("shop.json");
        let stack = format!(
            r#"{{"name":"shop","services":[{{"name":"web","replicas":{replicas},"template":
            {{"image":"{IMAGE}","command":["sleep","600"],"restart":"always"}}}}]}}"#
        );
        fs::write(&path, stack).expect("it is written");
        path.display().to_string()
    }

    /// The status line of an answer.
    pub fn status(&self, number: usize, path: &str) -> String {
        let mut stream = UnixStream::connect(self.socket(number)).expect("it listens");
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer.lines().next().unwrap_or_default().to_owned()
    }

    fn info(&self, number: usize) -> String {
        String::from_utf8_lossy(&self.docker(number, ["info"]).stdout).into_owned()
    }

    fn line(&self, number: usize, key: &str) -> String {
        let info = self.info(number);
        let mut lines = info.lines().filter_map(|line| line.trim().split_once(": "));
        let line = lines.find(|(name, _)| *name == key);
        line.map(|(_, value)| value.to_owned()).unwrap_or_default()
    }

    pub fn leads(&self, number: usize) -> bool {
        self.line(number, "Role") == "primary"
    }

    /// Whom a manager takes for the leader.
    pub fn primary(&self, number: usize) -> String {
        self.line(number, "Primary")
    }

    /// Which one leads, if all agree.
    pub fn leader(&self) -> Option<usize> {
        let leader = (0..3).find(|number| self.leads(*number))?;
        let others = (0..3).filter(|number| *number != leader);
        let agree = others
            .into_iter()
            .all(|other| !self.leads(other) && self.primary(other) == self.address(leader));
        agree.then_some(leader)
    }

    /// All leaderships by their logs: when they began, when that manager said that it was over (or
    /// was killed: nothing), the token, and whose it was. In the order in which they began.
    pub fn leaderships(&self) -> Vec<Leadership> {
        let mut all = Vec::new();
        for number in 0..3 {
            let path = self.path(&format!("manager-{number}.log"));
            let log = fs::read_to_string(path).unwrap_or_default();
            for line in log.lines() {
                let time = line.split(' ').next().unwrap_or_default().to_owned();
                if line.contains("leadership acquired") {
                    let token = line.split("token=").nth(1).expect("the token is logged");
                    let token = token.trim().parse().expect("a number");
                    all.push(Leadership {
                        began: time,
                        ended: None,
                        token,
                        manager: number,
                    });
                } else if line.contains("leadership lost") {
                    let last = all
                        .iter_mut()
                        .rfind(|it: &&mut Leadership| it.manager == number);
                    last.expect("it had begun").ended = Some(time);
                }
            }
        }
        all.sort_by(|a, b| a.began.cmp(&b.began));
        all
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

    pub fn logs(&self) -> String {
        let read = |name: &str| {
            let log = fs::read_to_string(self.path(&format!("{name}.log")));
            format!("-- {name}\n{}", log.unwrap_or_default())
        };
        ["manager-0", "manager-1", "manager-2", "join"]
            .map(read)
            .join("\n")
    }
}

/// One time of leading.
#[derive(Debug)]
pub struct Leadership {
    pub began: String,
    pub ended: Option<String>,
    pub token: u64,
    pub manager: usize,
}

/// The lab's network is its own.
const PLAINTEXT: &str = "raft.plaintext=anywhere";
