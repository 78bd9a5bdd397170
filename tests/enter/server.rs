//! The embedded platform, and what it leaves behind when it is killed.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::Duration,
};

use longshore_lab::example;
use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid,
};

use crate::terminal::until;

pub struct Server {
    child: Child,
    folder: tempfile::TempDir,
    socket: PathBuf,
    container: String,
}

impl Server {
    /// Returns when it has shown itself: before, it loses nodes on purpose.
    pub fn start() -> Self {
        // What a killed platform leaves comes to us.
        set_child_subreaper(Some(getpid())).expect("Linux has it");
        let folder = tempfile::tempdir().expect("there is a folder");
        let child = program()
            .env("XDG_RUNTIME_DIR", folder.path())
            // It is killed, and leaves there what it would have removed.
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let mut server = Self {
            child,
            socket: folder.path().join("longshore/platform.sock"),
            folder,
            container: String::new(),
        };
        let output = server.child.stdout.take().expect("it is piped");
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // The last page in the table that the platform prints at the end.
            if let Some(name) = line
                .split_whitespace()
                .next()
                .filter(|name| name.starts_with("shop-web-"))
            {
                name.clone_into(&mut server.container);
            }
            if line.starts_with("Ctrl-C stops everything") {
                return server;
            }
        }
        panic!("the embedded platform did not come up");
    }

    /// The program as a client of this platform.
    pub fn platform(&self, arguments: &[&str]) -> Command {
        let mut command = program();
        command
            .env("XDG_RUNTIME_DIR", self.folder.path())
            .args(arguments);
        command
    }

    /// A replica of the stack.
    pub fn container(&self) -> &str {
        &self.container
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// The status that a request gets.
    pub fn status(&self, head: &str) -> String {
        let mut stream = UnixStream::connect(&self.socket).expect("it listens");
        let limit = Some(Duration::from_secs(30));
        stream.set_read_timeout(limit).expect("a limit is set");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut start = [0; 12];
        stream.read_exact(&mut start).expect("it answers");
        String::from_utf8_lossy(&start[9..]).into_owned()
    }

    /// Starts a container beside the stack, of this script.
    pub fn run(&self, name: &str, has_terminal: bool, script: &str) {
        let body = serde_json::json!({
            "Image": "host",
            "Cmd": ["sh", "-c", script],
            "Tty": has_terminal,
            "OpenStdin": true,
        });
        let body = body.to_string();
        for (path, body) in [
            (format!("create?name={name}"), body.as_str()),
            (format!("{name}/start"), ""),
        ] {
            let length = body.len();
            let status = self.status(&format!(
                "POST /containers/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: \
                 application/json\r\nContent-Length: {length}\r\n\r\n{body}"
            ));
            assert!(status.starts_with("20"), "{path}: {status}");
        }
    }

    /// Stops the server without its notice, until told otherwise.
    pub fn freeze(&self, is_frozen: bool) {
        let pid = i32::try_from(self.child.id()).expect("a sound id");
        let pid = Pid::from_raw(pid).expect("it is there");
        let signal = if is_frozen {
            Signal::STOP
        } else {
            Signal::CONT
        };
        kill_process(pid, signal).expect("it is ours");
    }

    /// Waits until a process with these arguments runs, or none does.
    #[track_caller]
    pub fn wait_for_process(&self, arguments: &str, there: bool) {
        until(
            || runs(arguments) == there,
            || format!("{arguments:?} runs: {}", !there),
        );
    }

    /// With no time for a goodbye.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        // Whose parents are gone are our children; each may have some of its own.
        loop {
            for process in children() {
                let _ = kill_process(process, Signal::KILL);
            }
            match waitpid(None, WaitOptions::empty()) {
                Ok(Some(_)) => {}
                _ => break,
            }
        }
    }
}

pub fn program() -> Command {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| example("platform"));
    let mut command = Command::new(program);
    for name in ["DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        command.env_remove(name);
    }
    command
}

fn processes() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("Linux has it").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn children() -> Vec<Pid> {
    let own = getpid().as_raw_nonzero().to_string();
    let is_child = |id: &i32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // Behind the name, which may hold anything: state, parent.
        let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        rest.split_whitespace().nth(1) == Some(own.as_str())
    };
    processes()
        .filter(is_child)
        .filter_map(Pid::from_raw)
        .collect()
}

fn runs(arguments: &str) -> bool {
    let wanted = arguments.replace(' ', "\0");
    processes().any(|id| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).trim_end_matches('\0') == wanted
    })
}
