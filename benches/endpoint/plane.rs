//! A plane with its endpoint on a unix socket, in a thread of its own.

use std::{path::PathBuf, sync::Arc, thread::JoinHandle, time::Duration};

use longshore::{
    Connector, Discovery, Engine, EngineProvider, Result,
    control::{
        ControlPlane,
        endpoint::{
            EndpointOptions, EndpointService, ListenAddress, ListenOptions, Listener, serve,
        },
    },
    core::{AllowAll, Announcement, ClockExt, NodeHealth, Shutdown, SystemClock},
    discovery::{DiscoveryOptions, open},
    engine::DockerProvider,
    sched::ClusterScheduler,
};
use longshore_lab::Lab;
use tokio::sync::oneshot;

pub struct Served {
    /// Where the endpoint listens.
    pub socket: PathBuf,
    /// Where the engine itself listens, if there is one alone.
    pub engine: PathBuf,
    shutdown: Shutdown,
    thread: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Served {
    /// Serves `nodes` nodes of a discovery backend, with the plane and its endpoint on one thread.
    pub fn start(
        discovery: Arc<dyn Discovery>,
        engines: Arc<dyn EngineProvider>,
        nodes: usize,
        engine: PathBuf,
    ) -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder");
        let socket = directory.path().join("endpoint.sock");
        let shutdown = Shutdown::new();
        let (ready, is_ready) = oneshot::channel();
        let (address, ended) = (ListenAddress::Unix(socket.clone()), shutdown.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async move {
                let plane = ControlPlane::builder()
                    .discovery(discovery)
                    .engines(engines)
                    .scheduler(Box::new(ClusterScheduler::default()))
                    .authorizer(Arc::new(AllowAll))
                    .build()
                    .expect("a plane");
                plane.start();
                let healthy = || {
                    let nodes = plane.nodes();
                    nodes
                        .iter()
                        .filter(|node| node.health == NodeHealth::Healthy)
                        .count()
                };
                while healthy() < nodes {
                    plane.clock().sleep(Duration::from_millis(20)).await;
                }
                let listener = Listener::bind(&address, ListenOptions::default())
                    .await
                    .expect("a socket");
                let app = EndpointService::new(plane.clone(), EndpointOptions::default());
                let _ = ready.send(());
                let served = serve(listener, app, plane.clock().clone(), ended.child());
                served.await.expect("the endpoint serves");
                plane.stop().await;
            });
        });
        is_ready.blocking_recv().expect("the plane starts");
        Self {
            socket,
            engine,
            shutdown,
            thread,
            _directory: directory,
        }
    }

    pub fn stop(self) {
        self.shutdown.trigger();
        self.thread.join().expect("the plane ends cleanly");
    }
}

/// The lab's one engine, reached over the same unix socket as the peer reaches it.
#[derive(Debug)]
struct Local {
    provider: DockerProvider,
    url: String,
}

#[async_trait::async_trait]
impl EngineProvider for Local {
    async fn engine_at(&self, _: &Announcement) -> Result<Arc<dyn Engine>> {
        self.provider.engine_at_url(&self.url)
    }

    async fn engine_over(&self, connector: Arc<dyn Connector>) -> Result<Arc<dyn Engine>> {
        self.provider.engine_over(connector).await
    }
}

/// A plane over the lab's one Docker engine.
pub fn over_docker(lab: &Lab) -> Served {
    let clock = Arc::new(SystemClock::new());
    let discovery = open("nodes://local:1", &DiscoveryOptions::new(clock.clone()));
    let provider = DockerProvider::new(clock);
    let engines = Local {
        provider,
        url: lab.host(0).docker_host(),
    };
    let socket = lab.host(0).socket().to_owned();
    Served::start(
        discovery.expect("a fixed list"),
        Arc::new(engines),
        1,
        socket,
    )
}
