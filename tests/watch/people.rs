//! A gateway with a socket for each person: who asks is who calls there.

use std::{path::PathBuf, process::Command, sync::Arc};

use async_trait::async_trait;
use axum::{Router, body::Body, extract::Request};
use longshore::{
    Error, ErrorKind, Result,
    core::{Action, Identity, OsRandom, Shutdown, SystemClock, WorkloadId},
    exec::{
        ScriptedExec, ScriptedProcess,
        access::{AccessControl, AccessRequest, Admission, NameProven, Place, StaticDirectory},
        gateway::{Gateway, GatewayOptions},
        record::{MemoryRecords, RecordLimits},
        session::{SessionHub, SessionOptions},
    },
};
use tokio::{net::UnixListener, runtime::Runtime};

use crate::server::program;

/// Into a container `web`. `ann` and `bob` may do everything; `eve` looks at sessions, and no more.
pub struct People {
    folder: tempfile::TempDir,
    pub hub: SessionHub,
    runtime: Option<Runtime>,
}

impl People {
    pub fn start(options: SessionOptions) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder");
        let runtime = Runtime::new().expect("it starts");
        let clock = Arc::new(SystemClock::new());
        let shutdown = Shutdown::new();
        let records = Arc::new(MemoryRecords::new(RecordLimits::default()));
        let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone())
            .with_recorder(records.clone());
        let web = WorkloadId::new("web").expect("a sound name");
        let engine = ScriptedExec::new()
            .with_workload(web)
            .with_program("keys", keys)
            .with_program("film", film);
        let directory = StaticDirectory::new().with_engine(Arc::new(engine));
        let gateway = Gateway::new(hub.clone(), Arc::new(directory), clock, shutdown)
            .with_access(Arc::new(ByCaller))
            .with_records(records)
            .with_options(GatewayOptions::default().with_session(options));
        for name in ["ann", "bob", "eve"] {
            let gateway = gateway.clone();
            let app = Router::new().fallback(async move |mut request: Request| {
                let extensions = request.extensions_mut();
                extensions.insert(Identity::new(name, "socket"));
                extensions.insert(NameProven);
                gateway.handle(request).await.map(Body::new)
            });
            let path = folder.path().join(name);
            let listener = runtime.block_on(async { UnixListener::bind(path) });
            let listener = listener.expect("it listens");
            runtime.spawn(async move { axum::serve(listener, app).await });
        }
        Self {
            folder,
            hub,
            runtime: Some(runtime),
        }
    }

    pub fn socket(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The program, called by somebody.
    pub fn platform(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = program();
        let socket = self.socket(name);
        command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
        command.args(arguments);
        command
    }

    /// The only session's id.
    pub fn session(&self) -> String {
        let sessions = self.hub.sessions();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        sessions[0].session.to_string()
    }
}

impl Drop for People {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug)]
struct ByCaller;

#[async_trait]
impl AccessControl for ByCaller {
    async fn admit(&self, request: &AccessRequest) -> Result<Admission> {
        let who = request
            .credentials
            .identity
            .clone()
            .expect("each socket has a name");
        let looks = matches!(request.place, Place::Session(_)) && request.action == Action::Read;
        match who.subject == "eve" && !looks {
            true => Err(Error::new(ErrorKind::PermissionDenied, "no")),
            false => Ok(Admission::new(who)),
        }
    }
}

/// Says each key in brackets; `s` the terminal's size, `q` ends it.
async fn keys(mut process: ScriptedProcess) -> u8 {
    process.print("ready\r\n").await;
    while let Some(key) = process.read(1).await {
        let text = match &key[..] {
            b"s" => format!("[{} {}]", process.size().rows, process.size().columns),
            b"q" => return 7,
            key => format!("[{}]", String::from_utf8_lossy(key).escape_debug()),
        };
        process.print(text).await;
    }
    0
}

/// Leaves the terminal in disorder, with a long pause.
async fn film(mut process: ScriptedProcess) -> u8 {
    process.print("\x1b[?1049h\x1b[?25l\x1b[31mfirst\r\n").await;
    process.read(1).await;
    process.print("second \u{65e5}\r\n").await;
    0
}
