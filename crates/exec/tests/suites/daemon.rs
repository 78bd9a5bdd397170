//! A Docker daemon in memory: its exec and attach protocol in front of scripted programs.

mod helper;
mod stub;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use longshore_core::{
    AttachRequest, BoxByteStream, Connector, ErrorKind, ExecBackend, ExecRequest, ExecSession,
    OutputKind, Result, Signal, TerminalSize, WorkloadId,
};
use longshore_exec::ScriptedExec;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, DuplexStream};

pub(crate) use self::{
    helper::{Fault, Helpers, NOW},
    stub::{Mood, Stubs},
};

/// A clock for whoever needs one.
pub(crate) fn clock() -> Arc<dyn longshore_core::Clock> {
    Arc::new(longshore_core::SystemClock::new())
}

/// The daemon. Connecting to it gives one end of a pipe of `buffer` bytes, so that frames are cut
/// wherever the buffer ends.
pub(crate) struct Daemon {
    exec: ScriptedExec,
    buffer: usize,
    state: Mutex<State>,
    /// How many lifelines watch.
    pub(crate) lifelines: AtomicUsize,
    /// Kills lifelines, without their acting.
    pub(crate) killed: tokio::sync::Notify,
    /// Whether no cleanup does anything.
    pub(crate) helpless: AtomicBool,
    /// How many milliseconds a command takes to begin, once its start was answered.
    pub(crate) delay: AtomicU64,
    starting: AtomicUsize,
    /// How many commands were about to begin at the same time, at most.
    pub(crate) most_starting: AtomicUsize,
    /// Whether it takes files, and starts stubs that say nothing.
    pub(crate) silent_stubs: AtomicBool,
    /// Whether it runs sidecars. Each ends what it was told to when it starts.
    pub(crate) sidecars: AtomicBool,
    /// Whether it never says how a command is doing.
    pub(crate) mute: AtomicBool,
    /// Containers, besides the one that there is, with so many bytes of labels each.
    pub(crate) crowd: Mutex<(usize, usize)>,
    /// Containers whose processes it never tells.
    pub(crate) hanging: Mutex<Vec<String>>,
    /// Whether no container has a shell.
    pub(crate) shellless: AtomicBool,
    /// What a lifeline's shell says on its second stream, and then it ends.
    pub(crate) trouble: Mutex<Option<String>>,
    /// Whether containers are in the host's process namespace.
    pub(crate) among_hosts: AtomicBool,
    pub(crate) helpers: Helpers,
    pub(crate) stubs: Stubs,
}

#[derive(Default)]
struct State {
    execs: HashMap<String, Exec>,
    made: u32,
    /// Containers with a terminal.
    terminals: Vec<WorkloadId>,
    /// Containers whose input ends with their first attachment.
    once: Vec<WorkloadId>,
    /// The marks that a sidecar ends.
    sidecar: Vec<String>,
    /// Each request's line and body.
    requests: Vec<(String, Value)>,
}

struct Exec {
    request: ExecRequest,
    session: Option<Arc<dyn ExecSession>>,
    failed: bool,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Daemon")
    }
}

/// The connector to a daemon.
#[derive(Clone, Debug)]
pub(crate) struct ToDaemon(pub(crate) Arc<Daemon>);

#[async_trait]
impl Connector for ToDaemon {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, far) = tokio::io::duplex(self.0.buffer);
        tokio::spawn(Arc::clone(&self.0).serve(far));
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        "memory://daemon".to_owned()
    }
}

struct Request {
    method: String,
    path: String,
    query: HashMap<String, String>,
    body: Value,
}

impl Daemon {
    pub(crate) fn new(exec: ScriptedExec, buffer: usize) -> Arc<Self> {
        Arc::new(Self {
            exec,
            buffer,
            state: Mutex::default(),
            lifelines: AtomicUsize::new(0),
            killed: tokio::sync::Notify::new(),
            helpless: AtomicBool::new(false),
            delay: AtomicU64::new(0),
            starting: AtomicUsize::new(0),
            most_starting: AtomicUsize::new(0),
            silent_stubs: AtomicBool::new(false),
            sidecars: AtomicBool::new(false),
            mute: AtomicBool::new(false),
            crowd: Mutex::default(),
            hanging: Mutex::default(),
            shellless: AtomicBool::new(false),
            trouble: Mutex::default(),
            among_hosts: AtomicBool::new(false),
            helpers: Helpers::default(),
            stubs: Stubs::default(),
        })
    }

    pub(crate) fn add_terminal(&self, id: WorkloadId) {
        self.state.lock().unwrap().terminals.push(id);
    }

    pub(crate) fn add_once(&self, id: WorkloadId) {
        self.state.lock().unwrap().once.push(id);
    }

    /// Each request's line and body so far.
    pub(crate) fn requests(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().requests.clone()
    }

    /// How many commands run.
    pub(crate) async fn running(&self) -> usize {
        let mut running = 0;
        for session in self.sessions() {
            running += usize::from(!has_ended(&*session).await);
        }
        running
    }

    fn sessions(&self) -> Vec<Arc<dyn ExecSession>> {
        let state = self.state.lock().unwrap();
        state
            .execs
            .values()
            .filter_map(|exec| exec.session.clone())
            .collect()
    }

    async fn serve(self: Arc<Self>, mut stream: DuplexStream) {
        while let Some(request) = read_request(&mut stream).await {
            let line = format!("{} {}", request.method, request.path);
            let noted = (line, request.body.clone());
            self.state.lock().unwrap().requests.push(noted);
            let parts: Vec<String> = request.path.split('/').map(str::to_owned).collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let method = request.method.as_str();
            if let Some((status, body)) = self.about_helpers(&request, &parts[1..]).await {
                answer(&mut stream, status, &body).await;
                continue;
            }
            if self.sidecars.load(Ordering::SeqCst)
                && self.sidecar(method, &parts[1..], &request.body).await
            {
                let body = json!({ "Id": "sidecar", "StatusCode": 0 });
                answer(&mut stream, "200 OK", &body).await;
                continue;
            }
            match (method, &parts[1..]) {
                ("POST", ["containers", id, "exec"]) => {
                    let (status, body) = self.create(id, &request.body).await;
                    answer(&mut stream, status, &body).await;
                }
                ("POST", ["exec", id, "start"]) => {
                    let tty = request.body["Tty"] == true;
                    return self.start(stream, id, tty).await;
                }
                ("GET", ["exec", _, "json"]) if self.mute.load(Ordering::SeqCst) => {
                    return std::future::pending().await;
                }
                ("GET", ["exec", id, "json"]) => {
                    let (status, body) = self.inspect(id).await;
                    answer(&mut stream, status, &body).await;
                }
                ("POST", ["exec", id, "resize"]) => {
                    let session = self.session(id);
                    match session {
                        Some(session) => {
                            session.resize(size(&request.query)).await.unwrap();
                            answer(&mut stream, "200 OK", &json!({})).await;
                        }
                        None => {
                            answer(&mut stream, "404 Not Found", &refusal("no such exec")).await;
                        }
                    }
                }
                ("GET", ["containers", id, "top"]) => {
                    if self.hanging.lock().unwrap().iter().any(|one| one == id) {
                        return std::future::pending().await;
                    }
                    answer(&mut stream, "200 OK", &self.top(id).await).await;
                }
                ("GET", ["containers", "json"]) => {
                    let (count, bytes) = *self.crowd.lock().unwrap();
                    let label = "x".repeat(bytes);
                    let one = |name: String| json!({ "Id": name, "Labels": { "a": label } });
                    let crowd = (0..count).map(|number| one(format!("crowd-{number}")));
                    let all: Vec<_> = crowd.chain([one("web".to_owned())]).collect();
                    answer(&mut stream, "200 OK", &json!(all)).await;
                }
                ("GET", ["containers", id, "json"]) => {
                    let id = WorkloadId::new(*id).unwrap();
                    let tty = self.state.lock().unwrap().terminals.contains(&id);
                    let attached = self.exec.attach(&AttachRequest::new(id.clone())).await;
                    // What runs without a process of its own can't be attached to either.
                    let stopped = attached
                        .as_ref()
                        .is_err_and(|error| error.message().ends_with("is not running"));
                    let runs = !stopped && !self.helpers.is_stopped(id.as_str());
                    let mode = match self.among_hosts.load(Ordering::SeqCst) {
                        true => "host",
                        false => "",
                    };
                    let body = json!({
                        "Id": id.as_str(),
                        "Config": { "Tty": tty, "OpenStdin": true },
                        "State": { "Running": runs, "Paused": self.stubs.is_paused() },
                        "HostConfig": { "PidMode": mode },
                    });
                    match attached {
                        Err(error) if error.kind() == ErrorKind::NotFound => {
                            answer(&mut stream, "404 Not Found", &refusal(error.message())).await;
                        }
                        _ => answer(&mut stream, "200 OK", &body).await,
                    }
                }
                ("PUT", ["containers", _, "archive"])
                    if self.silent_stubs.load(Ordering::SeqCst) || self.stubs.are_there() =>
                {
                    answer(&mut stream, "200 OK", &json!({})).await;
                }
                // An engine of processes has no files.
                ("PUT", ["containers", _, "archive"]) => {
                    answer(
                        &mut stream,
                        "501 Not Implemented",
                        &refusal("no files here"),
                    )
                    .await;
                }
                ("POST", ["containers", name, "attach"]) if self.helpers.has(name) => {
                    return self.attach_helper(stream, name).await;
                }
                ("POST", ["containers", id, "attach"]) => {
                    let id = WorkloadId::new(*id).unwrap();
                    let tty = self.state.lock().unwrap().terminals.contains(&id);
                    let once = self.state.lock().unwrap().once.contains(&id);
                    switch(&mut stream).await;
                    if request.query.get("logs").is_some_and(|logs| logs == "1") {
                        self.say_before(&mut stream, &id, tty).await;
                    }
                    let request = AttachRequest::new(id).with_stdin();
                    let session = self.exec.attach(&request).await.unwrap();
                    return pump(stream, session, tty, once).await;
                }
                ("GET", ["containers", id, "logs"]) => {
                    let request = AttachRequest::new(WorkloadId::new(*id).unwrap()).with_backlog();
                    let session = self.exec.attach(&request).await.unwrap();
                    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
                    let _ = stream.write_all(head.as_bytes()).await;
                    return pump(stream, session, false, false).await;
                }
                ("POST", ["containers", id, "wait"]) => {
                    let request = AttachRequest::new(WorkloadId::new(*id).unwrap()).with_backlog();
                    let session = self.exec.attach(&request).await.unwrap();
                    let code = session.wait().await.unwrap().code;
                    answer(&mut stream, "200 OK", &json!({ "StatusCode": code })).await;
                }
                _ => answer(&mut stream, "404 Not Found", &refusal("page not found")).await,
            }
        }
    }

    /// What was said before, as the engine has it in its log. It attaches behind that only, so what is
    /// said meanwhile is lost.
    async fn say_before(&self, stream: &mut DuplexStream, id: &WorkloadId, tty: bool) {
        let request = AttachRequest::new(id.clone()).with_backlog();
        let before = self.exec.attach(&request).await.unwrap();
        let mut output = before.take_output().unwrap();
        let mut said = Vec::new();
        while let Some(Some(Ok(piece))) = output.next().now_or_never() {
            said.extend(framed(piece.kind, &piece.bytes, tty));
        }
        let _ = stream.write_all(&said).await;
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
    }

    fn session(&self, id: &str) -> Option<Arc<dyn ExecSession>> {
        let state = self.state.lock().unwrap();
        state.execs.get(id)?.session.clone()
    }

    async fn create(&self, id: &str, body: &Value) -> (&'static str, Value) {
        let strings = |value: &Value| -> Vec<String> {
            let list = value.as_array().cloned().unwrap_or_default();
            list.iter()
                .map(|text| text.as_str().unwrap().to_owned())
                .collect()
        };
        let workload = WorkloadId::new(id).unwrap();
        let mut request = ExecRequest::new(workload.clone(), strings(&body["Cmd"]));
        request.env = strings(&body["Env"]);
        request.tty = body["Tty"] == true;
        request.stdin = body["AttachStdin"] == true;
        // Whether the container runs is seen by trying a program that does not exist.
        let probe = ExecRequest::new(workload, ["missing"]);
        match self.exec.exec(&probe).await.unwrap_err() {
            error if error.kind() == ErrorKind::NotFound => {
                return ("404 Not Found", refusal(error.message()));
            }
            error if error.kind() == ErrorKind::Conflict => {
                return ("409 Conflict", refusal(error.message()));
            }
            _ => {}
        }
        let mut state = self.state.lock().unwrap();
        state.made += 1;
        let id = format!("{:064x}", state.made);
        let exec = Exec {
            request,
            session: None,
            failed: false,
        };
        state.execs.insert(id.clone(), exec);
        ("201 Created", json!({ "Id": id }))
    }

    fn begun(&self, id: &str, request: ExecRequest, session: &Arc<dyn ExecSession>) {
        let mut state = self.state.lock().unwrap();
        let exec = state.execs.get_mut(id).unwrap();
        (exec.request, exec.session) = (request, Some(Arc::clone(session)));
    }

    async fn start(&self, mut stream: DuplexStream, id: &str, tty: bool) {
        let request = self.state.lock().unwrap().execs[id].request.clone();
        assert_eq!(request.tty, tty, "the same in both calls");
        switch(&mut stream).await;
        if request.command.get(1).is_some_and(|word| word == "session")
            && self.silent_stubs.load(Ordering::SeqCst)
        {
            return std::future::pending().await;
        }
        if self.stubs.are_there() && request.command[0].contains("exec-stub") {
            return self.run_stub(stream, id, request).await;
        }
        let role = request.command.get(3).map(String::as_str);
        if self.shellless.load(Ordering::SeqCst) && request.command[0] == "sh" {
            let text = "OCI runtime exec failed: exec failed: exec: \"sh\": executable file not \
                        found in $PATH: unknown\r\n";
            let said = framed(OutputKind::Stdout, text.as_bytes(), tty);
            let _ = stream.write_all(&said).await;
            self.state.lock().unwrap().execs.remove(id);
            return;
        }
        let trouble = self.trouble.lock().unwrap().clone();
        if let Some(text) = trouble.filter(|_| role == Some("longshore-lifeline")) {
            let said = framed(OutputKind::Stderr, text.as_bytes(), tty);
            let _ = stream.write_all(&said).await;
            self.state.lock().unwrap().execs.remove(id);
            return;
        }
        if matches!(role, Some("longshore-cleanup" | "longshore-lifeline")) {
            let mut let_go = false;
            if role == Some("longshore-lifeline") {
                self.lifelines.fetch_add(1, Ordering::SeqCst);
                let_go = self.watch_over(&mut stream).await;
                self.lifelines.fetch_sub(1, Ordering::SeqCst);
            }
            if !let_go {
                self.clean_up(&request.command[4]).await;
            }
            self.state.lock().unwrap().execs.remove(id);
            return;
        }
        let delay = self.delay.load(Ordering::SeqCst);
        let starting = self.starting.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_starting.fetch_max(starting, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        self.starting.fetch_sub(1, Ordering::SeqCst);
        match self.exec.exec(&request).await {
            Ok(session) => {
                let exec = Arc::clone(&session);
                self.state
                    .lock()
                    .unwrap()
                    .execs
                    .get_mut(id)
                    .unwrap()
                    .session = Some(exec);
                pump(stream, session, tty, true).await;
            }
            // As measured: 101 all the same, and the complaint where output is expected.
            Err(error) => {
                self.state.lock().unwrap().execs.get_mut(id).unwrap().failed = true;
                let text = format!("OCI runtime exec failed: {error}: unknown\r\n");
                let _ = stream
                    .write_all(&framed(OutputKind::Stdout, text.as_bytes(), tty))
                    .await;
            }
        }
    }

    /// What the lifeline's script does: beats, signals and ends by request, and at the end of its
    /// input, or after silence, it acts for the whole group. Gives whether it was let go instead.
    async fn watch_over(&self, stream: &mut DuplexStream) -> bool {
        let (read, mut write) = tokio::io::split(stream);
        let mut said = async |line: String| {
            let bytes = framed(OutputKind::Stdout, line.as_bytes(), false);
            let _ = write.write_all(&bytes).await;
        };
        said("ready\n".to_owned()).await;
        let mut lines = tokio::io::BufReader::new(read).lines();
        loop {
            let line = tokio::select! {
                () = self.killed.notified() => return true,
                line = tokio::time::timeout(Duration::from_secs(10), lines.next_line()) => line,
            };
            let Ok(Ok(Some(line))) = line else {
                return false;
            };
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                [""] => said("b\n".to_owned()).await,
                ["q"] => return true,
                ["s", mark, number] => {
                    let signal = Signal::new(number.parse().unwrap()).unwrap();
                    for session in self.marked(mark) {
                        session.signal(signal).await.unwrap();
                    }
                }
                ["e", batch, ref marks @ ..] => {
                    for mark in marks {
                        self.clean_up(mark).await;
                    }
                    said(format!("d {batch}\n")).await;
                }
                _ => panic!("{line}"),
            }
        }
    }

    /// The sessions whose marks begin with this.
    fn marked(&self, mark: &str) -> Vec<Arc<dyn ExecSession>> {
        let pair = format!("LONGSHORE_EXEC_ID={mark}");
        let state = self.state.lock().unwrap();
        let marked = state
            .execs
            .values()
            .filter(|exec| exec.request.env.iter().any(|word| word.starts_with(&pair)));
        marked.filter_map(|exec| exec.session.clone()).collect()
    }

    /// Whether this is about a sidecar or its image. There is one at a time.
    async fn sidecar(&self, method: &str, path: &[&str], body: &Value) -> bool {
        match (method, path) {
            ("GET", ["images", ..]) | ("POST", ["containers", "sidecar", "wait"]) => true,
            ("DELETE", ["containers", "sidecar"]) => true,
            ("POST", ["containers", "create"]) => {
                let words = body["Entrypoint"].as_array().unwrap();
                let marks = match words[0] == "sh" {
                    true => vec![words[4].as_str().unwrap().to_owned()],
                    false => {
                        let words = words.iter();
                        let pairs = words.filter_map(|word| word.as_str()?.split_once('='));
                        pairs.map(|(_, mark)| mark.to_owned()).collect()
                    }
                };
                self.state.lock().unwrap().sidecar = marks;
                true
            }
            ("POST", ["containers", "sidecar", "start"]) => {
                let marks = std::mem::take(&mut self.state.lock().unwrap().sidecar);
                for mark in &marks {
                    self.clean_up(mark).await;
                }
                true
            }
            _ => false,
        }
    }

    /// As with the script, its end says that they have ended.
    async fn clean_up(&self, mark: &str) {
        if self.helpless.load(Ordering::SeqCst) {
            return;
        }
        for session in self.marked(mark) {
            let _ = session.signal(Signal::KILL).await;
            let _ = session.wait().await;
        }
    }

    /// `ps` on the engine's host: the container's first process, and each command that runs there.
    async fn top(&self, container: &str) -> Value {
        let mut rows = vec![json!(["100", "9", "100", "99", "Ss", "init", "init"])];
        let execs: Vec<(String, ExecRequest, Arc<dyn ExecSession>)> = {
            let state = self.state.lock().unwrap();
            let here = |(_, exec): &(&String, &Exec)| exec.request.workload.as_str() == container;
            let running = state.execs.iter().filter(here).filter_map(|(id, exec)| {
                Some((id.clone(), exec.request.clone(), exec.session.clone()?))
            });
            running.collect()
        };
        for (id, request, session) in execs {
            if !has_ended(&*session).await {
                let pid = pid_of(&id).to_string();
                let line = format!("program {}", request.env.join(" "));
                rows.push(json!([pid, "9", pid, "1", "Ss", "program", line]));
            }
        }
        json!({
            "Titles": ["PID", "PPID", "SID", "ELAPSED", "STAT", "COMMAND", "COMMAND"],
            "Processes": rows,
        })
    }

    async fn inspect(&self, id: &str) -> (&'static str, Value) {
        let (session, failed) = match self.state.lock().unwrap().execs.get(id) {
            Some(exec) => (exec.session.clone(), exec.failed),
            None => return ("404 Not Found", refusal("No such exec instance")),
        };
        let state = |running: bool, code: Option<i64>, pid: u32| json!({ "ID": id, "Running": running, "ExitCode": code, "Pid": pid });
        let body = match session {
            None if failed => state(false, Some(126), 0),
            None => state(false, None, 0),
            Some(session) if has_ended(&*session).await => {
                state(false, session.wait().await.unwrap().code, pid_of(id))
            }
            Some(_) => state(true, None, pid_of(id)),
        };
        ("200 OK", body)
    }
}

/// The ids of commands are numbers.
fn pid_of(id: &str) -> u32 {
    1000 + u32::from_str_radix(&id[56..], 16).unwrap()
}

async fn has_ended(session: &dyn ExecSession) -> bool {
    use futures::FutureExt;
    // However much of its turn the daemon's task has used up.
    let waiting = tokio::task::unconstrained(session.wait());
    waiting.now_or_never().is_some()
}

fn size(query: &HashMap<String, String>) -> TerminalSize {
    let number = |key: &str| query[key].parse().unwrap();
    TerminalSize::new(number("w"), number("h"))
}

fn refusal(message: &str) -> Value {
    json!({ "message": message })
}

/// Moves bytes both ways. As with Docker, a client that leaves ends the input, not the command;
/// and the input only if it is this client's alone.
async fn pump(stream: DuplexStream, session: Arc<dyn ExecSession>, tty: bool, once: bool) {
    let (mut read, mut write) = tokio::io::split(stream);
    let mut output = session.take_output().unwrap();
    if let Some(mut input) = session.take_input() {
        tokio::spawn(async move {
            let _ = tokio::io::copy(&mut read, &mut input).await;
            if once {
                let _ = input.shutdown().await;
            }
        });
    }
    let mut gone = false;
    while let Some(Ok(piece)) = output.next().await {
        if !gone {
            let bytes = framed(piece.kind, &piece.bytes, tty);
            gone = write.write_all(&bytes).await.is_err();
        }
    }
    // The engine closes the stream only once the command has ended.
    let _ = session.wait().await;
    let _ = write.shutdown().await;
}

pub(crate) fn framed(kind: OutputKind, payload: &[u8], tty: bool) -> Vec<u8> {
    if tty {
        return payload.to_vec();
    }
    let kind = if kind == OutputKind::Stderr { 2 } else { 1 };
    let mut bytes = vec![kind, 0, 0, 0];
    bytes.extend((payload.len() as u32).to_be_bytes());
    bytes.extend(payload);
    bytes
}

async fn switch(stream: &mut DuplexStream) {
    let head = "HTTP/1.1 101 UPGRADED\r\nContent-Type: application/vnd.docker.raw-stream\r\n\
                Connection: Upgrade\r\nUpgrade: tcp\r\n\r\n";
    let _ = stream.write_all(head.as_bytes()).await;
}

async fn answer(stream: &mut DuplexStream, status: &str, body: &Value) {
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let _ = stream.write_all((head + &body).as_bytes()).await;
}

async fn read_request(stream: &mut DuplexStream) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let length = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let query = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    Some(Request {
        method,
        path: path.to_owned(),
        query,
        body: serde_json::from_slice(&body).unwrap_or(Value::Null),
    })
}
