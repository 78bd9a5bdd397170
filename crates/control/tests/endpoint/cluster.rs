//! A control plane over daemons in memory, and its endpoint on a unix socket.

use std::{collections::HashMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_control::{
    ControlPlane, MemoryAudit, PlaneOptions,
    endpoint::{EndpointOptions, ListenOptions, Listener, router, serve},
};
use longshore_core::{
    AllowAll, Announcement, AuditSink, Authorizer, BoxByteStream, Clock, Connector, Discovery,
    DiscoveryCapabilities, Endpoint, Engine, EngineProvider, Error, LeaderElection, Membership,
    MembershipEvent, MembershipStream, NodeHealth, Registration, Result, SeededRandom, Shutdown,
    SystemClock, WatchMode,
    testkit::{ManualElection, mocks::MockEngine},
};
use tempfile::TempDir;
use tokio::net::UnixStream;

use crate::{client::Client, daemon::Daemon, scheduler::Fewest};

pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    pub(crate) daemons: Vec<Daemon>,
    pub(crate) audit: Arc<MemoryAudit>,
    pub(crate) shutdown: Shutdown,
    pub(crate) folder: TempDir,
}

pub(crate) struct Setup {
    pub(crate) nodes: u16,
    pub(crate) plane: PlaneOptions,
    pub(crate) endpoint: EndpointOptions,
    pub(crate) listen: ListenOptions,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) audit: Option<Arc<dyn AuditSink>>,
    pub(crate) election: Option<Arc<dyn LeaderElection>>,
    /// Other managers by address, and where their endpoints are.
    pub(crate) managers: HashMap<String, PathBuf>,
    /// What is done to the daemons, by their number from 0, before they are met.
    pub(crate) prepare: fn(usize, &Daemon),
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 2,
            plane: PlaneOptions::default(),
            endpoint: EndpointOptions::default().with_linger(Duration::from_millis(300)),
            listen: ListenOptions::default().with_drain_limit(Duration::from_millis(300)),
            authorizer: Arc::new(AllowAll),
            audit: None,
            election: None,
            managers: HashMap::new(),
            prepare: |_, _| {},
        }
    }
}

#[derive(Debug)]
struct Fixed(u16);

#[async_trait]
impl Discovery for Fixed {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::read_only(WatchMode::Push)
    }
    fn describe(&self) -> String {
        "fixed://".to_owned()
    }
    async fn register(&self, _: &Announcement, _: Duration) -> Result<Registration> {
        Err(Error::unsupported("read only"))
    }
    async fn renew(&self, _: &Registration) -> Result<Registration> {
        Err(Error::unsupported("read only"))
    }
    async fn deregister(&self, _: &Registration) -> Result<()> {
        Err(Error::unsupported("read only"))
    }
    async fn list(&self) -> Result<Membership> {
        Ok(Membership::new(nodes(self.0), Vec::new()))
    }
    fn watch(&self) -> MembershipStream {
        let first = MembershipEvent::Reset(nodes(self.0));
        futures::stream::once(async { first })
            .chain(futures::stream::pending())
            .boxed()
    }
}

fn nodes(count: u16) -> Vec<Announcement> {
    (1..=count)
        .map(|number| Announcement::new(Endpoint::new(format!("10.0.0.{number}"), 2375).unwrap()))
        .collect()
}

#[derive(Debug)]
struct Daemons {
    by_host: HashMap<String, Daemon>,
    managers: HashMap<String, PathBuf>,
}

#[async_trait]
impl EngineProvider for Daemons {
    async fn engine_at(&self, node: &Announcement) -> Result<Arc<dyn Engine>> {
        if let Some(daemon) = self.by_host.get(node.endpoint.host()) {
            return Ok(Arc::new(daemon.clone()));
        }
        // Where nobody listens, it turns out at the first call.
        let path = self.managers.get(&node.endpoint.to_string()).cloned();
        let connector = AtPath(path.unwrap_or_else(|| PathBuf::from("/nonexistent")));
        let connector: Arc<dyn Connector> = Arc::new(connector);
        let mut manager = MockEngine::new();
        let here = move || Arc::clone(&connector);
        manager.expect_connector().returning(here);
        Ok(Arc::new(manager))
    }
    async fn engine_over(&self, _: Arc<dyn Connector>) -> Result<Arc<dyn Engine>> {
        Err(Error::unsupported("no tunnels here"))
    }
}

#[derive(Debug)]
struct AtPath(PathBuf);

#[async_trait]
impl Connector for AtPath {
    async fn connect(&self) -> Result<BoxByteStream> {
        let stream = UnixStream::connect(&self.0)
            .await
            .map_err(|error| Error::io("cannot connect", error))?;
        Ok(Box::new(stream))
    }
    fn describe(&self) -> String {
        format!("unix://{}", self.0.display())
    }
}

impl Cluster {
    pub(crate) async fn new() -> Self {
        Self::with(Setup::default()).await
    }

    /// Where this election says who leads.
    pub(crate) async fn led_by(election: &ManualElection) -> Self {
        let election = Some(Arc::new(election.clone()) as Arc<dyn LeaderElection>);
        Self::with(Setup {
            election,
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn with(setup: Setup) -> Self {
        let daemons: Vec<Daemon> = (1..=setup.nodes)
            .map(|number| Daemon::new(&format!("node-{number}")))
            .collect();
        for (number, daemon) in daemons.iter().enumerate() {
            daemon.give_image("busybox:latest");
            (setup.prepare)(number, daemon);
        }
        let by_host = daemons
            .iter()
            .enumerate()
            .map(|(index, daemon)| (format!("10.0.0.{}", index + 1), daemon.clone()))
            .collect();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let audit = Arc::new(MemoryAudit::default());
        let sink: Arc<dyn AuditSink> = match setup.audit {
            Some(sink) => sink,
            None => audit.clone(),
        };
        let plane = ControlPlane::builder()
            .discovery(Arc::new(Fixed(setup.nodes)))
            .engines(Arc::new(Daemons {
                by_host,
                managers: setup.managers,
            }))
            .scheduler(Box::new(Fewest::default()))
            .authorizer(setup.authorizer)
            .options(setup.plane)
            .audit(sink)
            .clock(Arc::clone(&clock))
            .random(Arc::new(SeededRandom::new(1)));
        let plane = match setup.election {
            Some(election) => plane.election(election),
            None => plane,
        };
        let plane = plane.build().unwrap();
        plane.start();
        let folder = tempfile::tempdir().unwrap();
        let address = format!("unix://{}", folder.path().join("s.sock").display());
        let listener = Listener::bind(&address.parse().unwrap(), setup.listen)
            .await
            .unwrap();
        let shutdown = plane.shutdown().child();
        let app = router(plane.clone(), setup.endpoint);
        tokio::spawn(serve(listener, app, clock, shutdown.clone()));
        let cluster = Self {
            plane,
            daemons,
            audit,
            shutdown,
            folder,
        };
        let all = usize::from(setup.nodes);
        cluster
            .until("all nodes are healthy", || {
                let nodes = cluster.plane.nodes();
                nodes.len() == all && nodes.iter().all(|n| n.health == NodeHealth::Healthy)
            })
            .await;
        cluster
    }

    pub(crate) fn client(&self) -> Client {
        Client::at(self.socket())
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("s.sock")
    }

    pub(crate) async fn raw(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    pub(crate) async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        for _ in 0..2000 {
            if condition() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("waited in vain: {what}");
    }
}

impl Client {
    /// Of the endpoint that listens there.
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self::new(Arc::new(AtPath(socket)))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.plane.shutdown().trigger();
    }
}
