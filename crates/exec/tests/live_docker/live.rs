//! A real engine, as the exec suite needs it.

use std::{
    env,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use http::{Method, Request};
use longshore_core::{
    BoxByteStream, Clock, ClockExt, Connector, Error, ExecBackend, ExecRequest, OsRandom, Random,
    Result, SystemClock, WorkloadId,
    http::{HttpClient, empty_body, full_body, read_body},
    testkit::{
        exec::{Attachable, Harness, Place},
        programs::{Programs, Shell},
    },
};
use longshore_exec::{DockerExec, Stub, WaitingStubs};
use serde_json::{Value, json};
use tokio::net::UnixStream;

#[derive(Clone, Debug)]
pub struct Socket(pub String);

#[async_trait]
impl Connector for Socket {
    async fn connect(&self) -> Result<BoxByteStream> {
        let stream = UnixStream::connect(&self.0).await;
        let stream = stream.map_err(|error| Error::io("cannot connect", error))?;
        Ok(Box::new(stream))
    }

    fn describe(&self) -> String {
        format!("unix://{}", self.0)
    }
}

#[derive(Clone, Debug)]
pub struct Live {
    client: HttpClient,
    pub exec: DockerExec,
}

/// The socket of the engine under test; without one the test says that it was skipped.
pub fn socket(suite: &str) -> Option<String> {
    let Ok(socket) = env::var("LONGSHORE_TEST_DOCKER") else {
        println!("SKIPPED {suite}: LONGSHORE_TEST_DOCKER is not set");
        return None;
    };
    Some(socket.strip_prefix("unix://").unwrap_or(&socket).to_owned())
}

/// The stub, built once.
fn stub() -> Stub {
    static STUB: OnceLock<Stub> = OnceLock::new();
    let build = || Stub::new(std::fs::read(longshore_lab::stub()).unwrap()).unwrap();
    STUB.get_or_init(build).clone()
}

impl Live {
    pub fn over(engine: Arc<dyn Connector>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let client = HttpClient::new(engine, Arc::clone(&clock));
        let exec = DockerExec::over(client.clone(), clock, Arc::new(OsRandom));
        Self { client, exec }
    }

    pub fn with_stub(mut self) -> Self {
        self.exec = self.exec.with_stub(stub());
        self
    }

    pub fn with_waiting_stubs(self) -> Self {
        let mut live = self.with_stub();
        live.exec = live.exec.with_waiting_stubs(WaitingStubs::default());
        live
    }

    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = Request::builder().method(method).uri(path);
        let request = match body {
            Some(body) => request
                .header("Content-Type", "application/json")
                .body(full_body(body.to_string())),
            None => request.body(empty_body()),
        };
        let response = self.client.send(request.unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = read_body(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn container(&self, mut config: Value, start: bool) -> Place {
        let image = env::var("LONGSHORE_TEST_IMAGE").unwrap_or_else(|_| "busybox:lab".to_owned());
        if config["Image"].is_null() {
            config["Image"] = json!(image);
        }
        config["Labels"] = json!({ "longshore.testkit": "exec" });
        config["HostConfig"]["NetworkMode"] = json!("none");
        let name = format!("/containers/create?name=suite-{}", OsRandom.hex(8));
        let (status, made) = self.call(Method::POST, &name, Some(config)).await;
        assert_eq!(status, 201, "{made}");
        let id = made["Id"].as_str().unwrap().to_owned();
        if start {
            let path = format!("/containers/{id}/start");
            let (status, answer) = self.call(Method::POST, &path, None).await;
            assert_eq!(status, 204, "{answer}");
        }
        Place {
            backend: Arc::new(self.exec.clone()),
            workload: WorkloadId::new(id).unwrap(),
            keep: Box::new(()),
        }
    }

    /// The ids of the commands that a container has.
    pub async fn commands(&self, workload: &WorkloadId) -> Vec<String> {
        let path = format!("/containers/{workload}/json");
        let (_, told) = self.call(Method::GET, &path, None).await;
        let ids = told["ExecIDs"].as_array().cloned().unwrap_or_default();
        let ids = ids.iter().filter_map(|id| id.as_str());
        ids.map(str::to_owned).collect()
    }

    /// A container of an image with nothing in it but one static program, which is `/app`.
    pub async fn bare(&self, host: Value, user: &str) -> Place {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        let program = std::fs::read(longshore_lab::stub()).unwrap();
        header.set_size(program.len() as u64);
        header.set_mode(0o755);
        archive
            .append_data(&mut header, "app", &program[..])
            .unwrap();
        let path = "/images/create?fromSrc=-&repo=longshore-test-bare&tag=lab";
        let request = Request::post(path)
            .header("Content-Type", "application/x-tar")
            .body(full_body(archive.into_inner().unwrap()));
        let response = self.client.send(request.unwrap()).await.unwrap();
        let said = read_body(response.into_body(), 1 << 20).await.unwrap();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("sha256:"), "{said}");
        let config = json!({
            "Image": "longshore-test-bare:lab",
            "Cmd": ["/app", "hold"],
            "User": user,
            "HostConfig": host,
        });
        self.container(config, true).await
    }

    /// An idle container with limits.
    pub async fn limited(&self, limits: Value) -> Place {
        let command = [
            "sh",
            "-c",
            "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done",
        ];
        let mut config = json!({ "Cmd": command });
        config["HostConfig"] = limits;
        self.container(config, true).await
    }

    /// An idle container of an image with bash.
    pub async fn with_bash(&self) -> Place {
        let image = env::var("LONGSHORE_TEST_BASH_IMAGE").unwrap_or_else(|_| "bash:lab".to_owned());
        let command = [
            "bash",
            "-c",
            "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done",
        ];
        self.container(json!({ "Image": image, "Cmd": command }), true)
            .await
    }

    /// An idle container with an environment, a folder and users of its own.
    pub async fn furnished(&self) -> Place {
        let users = "echo 'ann:x:1234:1235::/srv/ann:/bin/sh' >> /etc/passwd; \
                     printf 'audio:x:29:bob,ann\\nwheel:x:10:root\\n' >> /etc/group; \
                     trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done";
        let config = json!({
            "Cmd": ["sh", "-c", users],
            "WorkingDir": "/usr/share/furnished",
            "Env": ["FROM_IMAGE=1", "TOLD_ANEW=before"],
            "HostConfig": { "Ulimits": [{ "Name": "memlock", "Soft": 1 << 20, "Hard": 2 << 20 }] },
        });
        let place = self.container(config, true).await;
        until(|| async {
            // And so long ago that no stub takes them for just changed.
            let look = "grep -q ^wheel /etc/group && \
                        test $(($(date +%s) - $(stat -c %Y /etc/group))) -gt 5";
            let request = ExecRequest::new(place.workload.clone(), ["sh", "-c", look]);
            let session = self.exec.exec(&request).await.unwrap();
            session.wait().await.unwrap().is_success()
        })
        .await;
        place
    }

    /// A container that reads a line first, and then becomes this.
    pub async fn waiting(&self, command: &str, limits: Value) -> Place {
        let config = json!({
            "Cmd": ["sh", "-c", format!("read line; exec {command}")],
            "OpenStdin": true,
            "HostConfig": limits,
        });
        self.container(config, true).await
    }

    async fn idle(&self, start: bool) -> Place {
        let command = [
            "sh",
            "-c",
            "trap 'exit 0' TERM; while :; do sleep 1 & wait $!; done",
        ];
        self.container(json!({ "Cmd": command }), start).await
    }
}

#[async_trait]
impl Harness for Live {
    async fn place(&self) -> Place {
        self.idle(true).await
    }

    async fn stopped(&self) -> Option<Place> {
        Some(self.idle(false).await)
    }

    async fn attachable(&self, kind: Attachable) -> Option<Place> {
        let tty = kind == Attachable::Terminal;
        let command = if tty {
            Shell.copy_raw(260)
        } else {
            Shell.copy()
        };
        let config = json!({
            "Cmd": command,
            "Tty": tty,
            "OpenStdin": true,
            "StdinOnce": kind == Attachable::PipesOnce,
        });
        let place = self.container(config, true).await;
        if tty {
            // The program starts once the terminal is in raw mode. The log can't tell: the engine
            // keeps an unfinished line back.
            until(|| async { processes(self, &place, "dd bs=1").await > 0 }).await;
        }
        Some(place)
    }

    async fn finish(&self, place: Place) {
        let path = format!("/containers/{}?force=1&v=1", place.workload);
        let (status, answer) = self.call(Method::DELETE, &path, None).await;
        assert!(matches!(status, 204 | 404), "{answer}");
    }
}

/// Waits until a condition holds, for a minute at most.
pub async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    let clock = SystemClock::new();
    let deadline = clock.now().after(Duration::from_secs(60));
    while !condition().await {
        assert!(clock.now() < deadline, "it never happened");
        clock.sleep(Duration::from_millis(20)).await;
    }
}

/// How many processes of a container have this word in their command line.
pub async fn processes(live: &Live, place: &Place, word: &str) -> usize {
    let path = format!("/containers/{}/top?ps_args=-eo%20pid,args", place.workload);
    let (_, top) = live.call(Method::GET, &path, None).await;
    let lines = top["Processes"].as_array().cloned().unwrap_or_default();
    lines
        .iter()
        .filter(|line| line.to_string().contains(word))
        .count()
}
