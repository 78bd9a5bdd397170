//! `platform manage` with its flags for exec sessions, and `platform join` with plain processes: what
//! is recorded and replayed, and what sessions may take. No Docker, no root.
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]
#![expect(unreachable_pub, reason = "a test has no outside")]

#[path = "enter/replay.rs"]
mod replay;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use longshore_lab::example;
use replay::replay;
use serde_json::{Value, json};

/// A manager, a node and a container `web` on it.
struct Cluster {
    program: PathBuf,
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Cluster {
    fn start(flags: &[&str]) -> Self {
        let mut cluster = Self {
            program: example("platform"),
            folder: tempfile::tempdir().unwrap(),
            children: Vec::new(),
        };
        let at = |name: &str| cluster.folder.path().join(name).display().to_string();
        let (authority, plane, node) = (at("ca"), at("plane"), at("node"));
        let run = |arguments: &[&str]| {
            let output = cluster.platform(arguments).output().unwrap();
            assert!(output.status.success(), "{arguments:?}: {output:?}");
        };
        run(&["cert", "init", &authority]);
        let issue = ["cert", "issue", "--ca", &authority];
        let manager = ["--role", "manager", "--name", "plane", "--san", "127.0.0.1"];
        run(&[&issue[..], &manager, &["--out", &plane]].concat());
        run(&[&issue[..], &["--name", "node-1", "--out", &node]].concat());
        let host = format!("unix://{}", cluster.socket().display());
        let manage = ["manage", "--tunnel", "127.0.0.1:0", "-H", &host];
        let mut command = cluster.platform(&manage);
        command.args(files(&plane)).args(flags);
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        cluster.children.push(child);
        let address = address(&mut log);
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        let mut command = cluster.platform(&["join", "--tunnel", &address, "--engine", "process"]);
        command.args(files(&node));
        cluster
            .children
            .push(command.stderr(Stdio::null()).spawn().unwrap());
        cluster.run_container();
        cluster
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("plane.sock")
    }

    fn platform(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for name in ["DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
            command.env_remove(name);
        }
        command
            .env("DOCKER_HOST", format!("unix://{}", self.socket().display()))
            .env("TMPDIR", self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .args(arguments);
        command
    }

    /// Once there is a node for it.
    fn run_container(&self) {
        let body = json!({ "Image": "host", "Cmd": ["sleep", "1000"] });
        let end = Instant::now() + LIMIT;
        loop {
            match self.call("POST", "/containers/create?name=web", &body) {
                (201, _) => break,
                (status, told) => assert!(Instant::now() < end, "{status} {told}"),
            }
            thread::sleep(Duration::from_millis(50));
        }
        let (status, told) = self.call("POST", "/containers/web/start", &json!({}));
        assert_eq!(status, 204, "{told}");
    }

    /// A request, and the status and JSON of its answer.
    fn call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = body.to_string();
        let length = body.len();
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).unwrap_or_default())
    }

    fn enter(&self, script: &str) -> Output {
        let line = ["enter", "web", "--", "sh", "-c", script];
        self.platform(&line).output().unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // In order, so that the node takes its processes along.
        for child in &mut self.children {
            let id = child.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &id]).status();
            let end = Instant::now() + LIMIT;
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < end {
                thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn files(folder: &str) -> [String; 6] {
    let at = |name: &str| Path::new(folder).join(name).display().to_string();
    [
        "--tlscacert".to_owned(),
        at("ca.pem"),
        "--tlscert".to_owned(),
        at("cert.pem"),
        "--tlskey".to_owned(),
        at("key.pem"),
    ]
}

/// Where the manager takes tunnels, once it listens to clients, too.
fn address(log: &mut impl BufRead) -> String {
    let (mut address, mut seen) = (None, String::new());
    for line in log.lines().map_while(Result::ok) {
        let plain: String = line.split('\u{1b}').collect();
        if let Some(at) = plain.find("127.0.0.1:") {
            let rest = &plain[at..];
            let known = |c: char| c.is_ascii_alphanumeric() || ".:".contains(c);
            let end = rest.find(|c| !known(c)).unwrap_or(rest.len());
            address = Some(rest[..end].to_owned());
        }
        if plain.contains("Listening for HTTP") {
            return address.unwrap_or_else(|| panic!("no address in {seen}"));
        }
        seen.push_str(&line);
        seen.push('\n');
    }
    panic!("the manager does not come up: {seen}");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn sessions_are_recorded_and_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let records = folder.path().join("records");
    let cluster = Cluster::start(&["--exec-records", records.to_str().unwrap()]);
    let output = cluster.enter("echo to-be-kept; exit 3");
    assert_eq!(text(&output.stdout), "to-be-kept\n", "{output:?}");
    assert_eq!(output.status.code(), Some(3));
    // The end is recorded a moment after it was told.
    let end = Instant::now() + LIMIT;
    let sessions = loop {
        let (status, sessions) = cluster.call("GET", "/api/sessions", &json!({}));
        assert!(status == 200 && Instant::now() < end, "{sessions}");
        if sessions[0]["status"] != "active" {
            break sessions;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let session = &sessions[0];
    assert_eq!(session["exit_code"], 3, "{sessions}");
    assert_eq!(session["commands"][0], "sh -c echo to-be-kept; exit 3");
    let id = session["session_id"].as_str().unwrap();
    let listed = cluster.platform(&["sessions"]).output().unwrap();
    let listed = text(&listed.stdout);
    assert!(
        listed.contains(id) && listed.contains("exited 3"),
        "{listed}"
    );
    let shown = replay(&cluster.socket(), id);
    assert!(shown.starts_with("to-be-kept\n|"), "{shown:?}");
    assert!(shown.contains("Session replay done"), "{shown:?}");
    let mode = fs::metadata(&records).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    // A second manager is told whose folder it is.
    let host = format!("unix://{}", folder.path().join("other.sock").display());
    let other = [
        "manage",
        "nodes://127.0.0.1:1",
        "-H",
        &host,
        "--exec-records",
    ];
    let mut other = cluster.platform(&other);
    let output = other.arg(&records).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        text(&output.stderr).contains(records.to_str().unwrap()),
        "{output:?}"
    );
}

#[test]
fn sessions_have_bounds_and_without_records_that_is_said() {
    let cluster = Cluster::start(&["--exec-sessions", "1", "--exec-idle", "2s"]);
    let shown = replay(&cluster.socket(), "0123456789abcdef");
    assert!(shown.contains("Nothing is recorded here"), "{shown:?}");
    assert!(shown.contains("--exec-records"), "{shown:?}");
    // `output` takes the error output, too.
    let listed = cluster.platform(&["sessions"]).output().unwrap();
    assert_eq!(listed.status.code(), Some(0), "{listed:?}");
    assert!(
        text(&listed.stderr).contains("--exec-records"),
        "{listed:?}"
    );
    assert!(
        text(&listed.stdout).trim_start().starts_with("SESSION"),
        "{listed:?}"
    );
    let mut first = cluster.platform(&["enter", "web", "--", "sh", "-c", "echo in; sleep 1000"]);
    let mut first = first.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = [0; 3];
    first
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    let second = cluster.enter("true");
    assert_eq!(second.status.code(), Some(255), "{second:?}");
    assert!(
        text(&second.stderr).contains("end another session"),
        "{second:?}"
    );
    let first = first.wait_with_output().unwrap();
    assert!(
        text(&first.stderr).contains("nothing happened in it for too long"),
        "{first:?}"
    );
}

/// On a busy machine nothing takes longer.
const LIMIT: Duration = Duration::from_secs(60);
