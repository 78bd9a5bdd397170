//! A gateway on a unix socket, in a thread of its own.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
};

use axum::Router;
use longshore::{
    Connector, ExecBackend,
    control::endpoint::{ListenAddress, ListenOptions, Listener, serve},
    core::{OsRandom, Shutdown, SystemClock},
    engine::UnixConnector,
    exec::{
        DockerExec, Stub, WaitingStubs,
        access::{AnybodyMay, StaticDirectory},
        gateway::{Gateway, GatewayOptions},
        record::{DirectoryRecords, RecordLimits},
        session::{HubLimits, SessionHub},
    },
};
use tokio::sync::oneshot;

pub struct Served {
    pub socket: PathBuf,
    shutdown: Shutdown,
    thread: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Served {
    /// Serves what `engine` makes, which is called on the gateway's own runtime.
    pub fn start<F>(
        options: GatewayOptions,
        engine: impl FnOnce(Shutdown) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Arc<dyn ExecBackend>>,
    {
        Self::start_with(options, |hub| hub, engine)
    }

    /// As [`start`](Self::start), with something more for the hub.
    fn start_with<F>(
        options: GatewayOptions,
        with: impl FnOnce(SessionHub) -> SessionHub + Send + 'static,
        engine: impl FnOnce(Shutdown) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = Arc<dyn ExecBackend>>,
    {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let socket = directory.path().join("gateway.sock");
        let shutdown = Shutdown::new();
        let (ready, is_ready) = oneshot::channel();
        let (address, ended) = (ListenAddress::Unix(socket.clone()), shutdown.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let clock = Arc::new(SystemClock::new());
                let engine = engine(ended.clone()).await;
                let gateway = over(engine, &ended, with).with_options(options);
                let listener = Listener::bind(&address, ListenOptions::default())
                    .await
                    .expect("a socket");
                let app = Router::new().fallback(move |request: axum::extract::Request| {
                    let gateway = gateway.clone();
                    async move { gateway.handle(request).await }
                });
                let _ = ready.send(());
                let served = serve(listener, app, clock, ended.child());
                served.await.expect("the gateway serves");
            });
        });
        is_ready.blocking_recv().expect("the gateway starts");
        Self {
            socket,
            shutdown,
            thread,
            _directory: directory,
        }
    }

    pub fn stop(self) {
        self.shutdown.trigger();
        self.thread.join().expect("the gateway ends cleanly");
    }
}

/// For more or fewer sessions.
pub fn limited(engine: Arc<dyn ExecBackend>, shutdown: &Shutdown, limits: HubLimits) -> Gateway {
    over(engine, shutdown, |hub| hub.with_limits(limits))
}

/// Anybody may enter any container of this engine.
fn over(
    engine: Arc<dyn ExecBackend>,
    shutdown: &Shutdown,
    with: impl FnOnce(SessionHub) -> SessionHub,
) -> Gateway {
    let clock = Arc::new(SystemClock::new());
    let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone());
    let hub = with(hub);
    let directory = StaticDirectory::new().with_engine(engine);
    Gateway::new(hub, Arc::new(directory), clock, shutdown.clone())
        .with_access(Arc::new(AnybodyMay))
}

/// The engine as the gateway reaches it.
pub fn docker(connector: Arc<dyn Connector>) -> Arc<dyn ExecBackend> {
    let clock = Arc::new(SystemClock::new());
    Arc::new(DockerExec::new(connector, clock, Arc::new(OsRandom)))
}

/// As [`over_unix`], where the stub owns the sessions.
pub fn with_stub(engine: &Path) -> Served {
    let stub = std::fs::read(longshore_lab::stub()).expect("the stub is built");
    let stub = Stub::new(stub).expect("a static program");
    let connector = Arc::new(UnixConnector::new(engine));
    Served::start(GatewayOptions::default(), async move |_| {
        let clock = Arc::new(SystemClock::new());
        let exec = DockerExec::new(connector, clock, Arc::new(OsRandom));
        Arc::new(exec.with_stub(stub)) as Arc<dyn ExecBackend>
    })
}

/// As [`with_stub`], where stubs wait for sessions to come. What is given with it tells how many do.
pub fn with_waiting_stubs(engine: &Path) -> (Served, DockerExec) {
    let stub = std::fs::read(longshore_lab::stub()).expect("the stub is built");
    let stub = Stub::new(stub).expect("a static program");
    let clock = Arc::new(SystemClock::new());
    let connector = Arc::new(UnixConnector::new(engine));
    let exec = DockerExec::new(connector, clock, Arc::new(OsRandom));
    let exec = exec
        .with_stub(stub)
        .with_waiting_stubs(WaitingStubs::default());
    let backend = Arc::new(exec.clone());
    let served = Served::start(GatewayOptions::default(), async move |_| {
        backend as Arc<dyn ExecBackend>
    });
    (served, exec)
}

pub fn over_unix(engine: &Path, options: GatewayOptions) -> Served {
    let connector = Arc::new(UnixConnector::new(engine));
    Served::start(options, async move |_| docker(connector))
}

/// As [`over_unix`], with a record of each session in a directory.
pub fn recording(engine: &Path, records: &Path, limits: RecordLimits) -> Served {
    let connector = Arc::new(UnixConnector::new(engine));
    let records = DirectoryRecords::open(records, limits).expect("a directory of records");
    Served::start_with(
        GatewayOptions::default(),
        move |hub| hub.with_recorder(Arc::new(records)),
        async move |_| docker(connector),
    )
}
