//! A gateway in this process, for what the embedded platform never says.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use longshore::{
    core::{ClockExt, OsRandom, Shutdown, SystemClock, WorkloadId},
    exec::{
        ScriptedExec,
        access::{AnybodyMay, StaticDirectory},
        gateway::{Gateway, GatewayOptions},
        session::{SessionHub, SessionOptions},
    },
};
use tokio::{net::UnixListener, runtime::Runtime};

use crate::{server::program, terminal::until};

/// Into a container `web`, whose program `flood` prints much when it is told to.
pub struct Scripted {
    folder: tempfile::TempDir,
    flood: Arc<AtomicU8>,
    runtime: Option<Runtime>,
}

/// How far the flood is.
pub const READ: u8 = 1;
pub const MAY_FLOW: u8 = 2;
pub const FLOWN: u8 = 3;

impl Scripted {
    pub fn start(options: SessionOptions) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder");
        let runtime = Runtime::new().expect("it starts");
        let flood = Arc::new(AtomicU8::new(0));
        let clock = Arc::new(SystemClock::new());
        let shutdown = Shutdown::new();
        let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone());
        let directory = StaticDirectory::new().with_engine(Arc::new(engine(&flood)));
        let gateway = Gateway::new(hub, Arc::new(directory), clock, shutdown)
            .with_access(Arc::new(AnybodyMay))
            .with_options(GatewayOptions::default().with_session(options));
        let app = Router::new()
            .fallback(async move |request: Request| gateway.handle(request).await.map(Body::new));
        let path = folder.path().join("gateway.sock");
        let listener = runtime.block_on(async { UnixListener::bind(path) });
        let listener = listener.expect("it listens");
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            folder,
            flood,
            runtime: Some(runtime),
        }
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("gateway.sock")
    }

    /// The program, calling here.
    pub fn platform(&self, arguments: &[&str]) -> Command {
        calling(&self.socket(), arguments)
    }

    pub fn set(&self, state: u8) {
        self.flood.store(state, Ordering::SeqCst);
    }

    #[track_caller]
    pub fn wait_for(&self, state: u8) {
        until(
            || self.flood.load(Ordering::SeqCst) == state,
            || format!("the flood is never at {state}"),
        );
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The program as a client of a socket.
pub fn calling(socket: &Path, arguments: &[&str]) -> Command {
    let mut command = program();
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    command.args(arguments);
    command
}

fn engine(flood: &Arc<AtomicU8>) -> ScriptedExec {
    let flood = Arc::clone(flood);
    let web = WorkloadId::new("web").expect("a sound name");
    ScriptedExec::new()
        .with_workload(web)
        .with_program("flood", move |mut process| {
            let flood = Arc::clone(&flood);
            async move {
                process.print("ready\r\n").await;
                process.read(usize::MAX).await;
                flood.store(READ, Ordering::SeqCst);
                while flood.load(Ordering::SeqCst) != MAY_FLOW {
                    SystemClock::new().sleep(Duration::from_millis(10)).await;
                }
                for _ in 0..256 {
                    process.print(vec![b'.'; 16 << 10]).await;
                }
                process.print("\r\nover\r\n").await;
                flood.store(FLOWN, Ordering::SeqCst);
                while process.read(usize::MAX).await.is_some() {}
                0
            }
        })
}
