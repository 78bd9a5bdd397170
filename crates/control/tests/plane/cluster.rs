//! A cluster of fake engines behind a discovery that the test speaks for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_control::{ClusterEvent, ControlPlane, PlaneOptions, RegistrySource};
use longshore_core::{
    Announcement, BoxStream, Clock, Connector, Discovery, DiscoveryCapabilities, Endpoint, Engine,
    EngineProvider, Error, Membership, MembershipEvent, MembershipStream, NodeHealth, Registration,
    RegistryCredentials, Result, SeededRandom, SystemClock, TunnelListener, WatchMode,
    testkit::ManualElection,
};
use tokio::sync::broadcast;

use crate::{engine::FakeEngine, scheduler::FewestFirst};

#[derive(Debug)]
pub(crate) struct FakeDiscovery {
    nodes: Mutex<Vec<Announcement>>,
    told: broadcast::Sender<Told>,
}

#[derive(Clone, Debug)]
enum Told {
    Reset(Vec<Announcement>),
    Down,
}

impl FakeDiscovery {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            nodes: Mutex::default(),
            told: broadcast::Sender::new(64),
        })
    }

    pub(crate) fn set(&self, ports: &[u16]) {
        let nodes: Vec<_> = ports.iter().map(|port| announcement(*port)).collect();
        self.nodes.lock().unwrap().clone_from(&nodes);
        let _ = self.told.send(Told::Reset(nodes));
    }

    pub(crate) fn fail(&self) {
        let _ = self.told.send(Told::Down);
    }
}

pub(crate) fn announcement(port: u16) -> Announcement {
    Announcement::new(Endpoint::new("10.0.0.1", port).unwrap())
}

#[async_trait]
impl Discovery for FakeDiscovery {
    fn capabilities(&self) -> DiscoveryCapabilities {
        DiscoveryCapabilities::read_only(WatchMode::Push)
    }
    fn describe(&self) -> String {
        "fake://".to_owned()
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
        Ok(Membership::new(
            self.nodes.lock().unwrap().clone(),
            Vec::new(),
        ))
    }
    fn watch(&self) -> MembershipStream {
        let told = self.told.subscribe();
        let first = MembershipEvent::Reset(self.nodes.lock().unwrap().clone());
        let rest = futures::stream::unfold(told, |mut told| async move {
            let event = match told.recv().await.ok()? {
                Told::Reset(nodes) => MembershipEvent::Reset(nodes),
                Told::Down => MembershipEvent::Problem(Error::unavailable("the store is down")),
            };
            Some((event, told))
        });
        futures::stream::once(async { first }).chain(rest).boxed()
    }
}

#[derive(Debug, Default)]
pub(crate) struct FakeEngines {
    pub(crate) by_port: Mutex<HashMap<u16, FakeEngine>>,
    pub(crate) by_tunnel: Mutex<HashMap<String, FakeEngine>>,
}

#[async_trait]
impl EngineProvider for FakeEngines {
    async fn engine_at(&self, node: &Announcement) -> Result<Arc<dyn Engine>> {
        let engines = self.by_port.lock().unwrap();
        match engines.get(&node.endpoint.port()) {
            Some(engine) => Ok(Arc::new(engine.clone())),
            None => Err(Error::unavailable("nobody listens there")),
        }
    }

    async fn engine_over(&self, connector: Arc<dyn Connector>) -> Result<Arc<dyn Engine>> {
        let engines = self.by_tunnel.lock().unwrap();
        match engines.get(&connector.describe()) {
            Some(engine) => Ok(Arc::new(engine.clone().through(connector))),
            None => Err(Error::not_found("no such engine")),
        }
    }
}

/// Knows credentials named `ours` for `registry.example`, and gives others each time.
#[derive(Debug, Default)]
struct Registries(std::sync::atomic::AtomicUsize);

#[async_trait]
impl RegistrySource for Registries {
    async fn credentials(&self, name: &str, registry: &str) -> Result<RegistryCredentials> {
        if (name, registry) != ("ours", "registry.example") {
            return Err(Error::not_found(format!("no {name} for {registry}")));
        }
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        Ok(RegistryCredentials::from_header(format!("secret-{number}")))
    }
}

pub(crate) struct Cluster {
    pub(crate) plane: ControlPlane,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) discovery: Arc<FakeDiscovery>,
    pub(crate) engines: Arc<FakeEngines>,
    pub(crate) events: BoxStream<ClusterEvent>,
}

pub(crate) fn options() -> PlaneOptions {
    PlaneOptions::default().with_heartbeat(Duration::from_secs(10))
}

impl Cluster {
    /// Engines at ports 1 to `nodes`, named `node-<port>`, announced and started.
    pub(crate) async fn started(nodes: u16) -> Self {
        Self::new(options(), Vec::new()).with_nodes(nodes).await
    }

    /// One of several managers.
    pub(crate) async fn electing(nodes: u16, election: &ManualElection) -> Self {
        let election = Some(election.clone());
        let cluster = Self::of(options(), Vec::new(), election);
        cluster.with_nodes(nodes).await
    }

    /// One of several managers, into which nodes dial.
    pub(crate) fn electing_with(
        election: &ManualElection,
        tunnels: Vec<Arc<dyn TunnelListener>>,
    ) -> Self {
        Self::of(options(), tunnels, Some(election.clone()))
    }

    async fn with_nodes(self, nodes: u16) -> Self {
        let cluster = self;
        for port in 1..=nodes {
            cluster.add_engine(port, &format!("E{port}"), &format!("node-{port}"));
        }
        cluster.discovery.set(&(1..=nodes).collect::<Vec<_>>());
        cluster.plane.start();
        for port in 1..=nodes {
            cluster
                .until_health(&format!("node-{port}"), NodeHealth::Healthy)
                .await;
        }
        cluster
    }

    pub(crate) fn new(options: PlaneOptions, tunnels: Vec<Arc<dyn TunnelListener>>) -> Self {
        Self::of(options, tunnels, None)
    }

    fn of(
        options: PlaneOptions,
        tunnels: Vec<Arc<dyn TunnelListener>>,
        election: Option<ManualElection>,
    ) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let discovery = FakeDiscovery::new();
        let engines = Arc::new(FakeEngines::default());
        let mut builder = ControlPlane::builder()
            .discovery(discovery.clone())
            .engines(engines.clone())
            .scheduler(Box::new(FewestFirst::default()))
            .clock(Arc::clone(&clock))
            .random(Arc::new(SeededRandom::new(1)))
            .registries(Arc::new(Registries::default()))
            .options(options);
        for tunnel in tunnels {
            builder = builder.tunnel(tunnel);
        }
        if let Some(election) = election {
            builder = builder.election(Arc::new(election));
        }
        let plane = builder.build().unwrap();
        Self {
            events: plane.events(None),
            plane,
            clock,
            discovery,
            engines,
        }
    }

    pub(crate) fn add_engine(&self, port: u16, id: &str, name: &str) -> FakeEngine {
        let engine = FakeEngine::new(Arc::clone(&self.clock), id, name);
        self.engines
            .by_port
            .lock()
            .unwrap()
            .insert(port, engine.clone());
        engine
    }

    pub(crate) fn engine(&self, port: u16) -> FakeEngine {
        self.engines.by_port.lock().unwrap()[&port].clone()
    }

    /// Waits in virtual time until the condition holds; fails after ten minutes of it. Says how
    /// long it took.
    #[track_caller]
    pub(crate) fn until<'a>(
        &'a self,
        what: &'a str,
        condition: impl Fn() -> bool + 'a,
    ) -> impl Future<Output = Duration> + 'a {
        let start = self.clock.now();
        async move {
            while !condition() {
                let waited = self.clock.now().since(start);
                assert!(
                    waited < Duration::from_secs(600),
                    "waited for {what}: {:#?}",
                    self.plane
                        .nodes()
                        .iter()
                        .map(|node| (&node.name, node.health, &node.error).clone_debug())
                        .collect::<Vec<_>>()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            self.clock.now().since(start)
        }
    }

    pub(crate) async fn until_health(&self, node: &str, health: NodeHealth) -> Duration {
        self.until(&format!("{node} {health}"), || {
            self.plane
                .node(node)
                .is_some_and(|node| node.health == health)
        })
        .await
    }

    /// The names of all containers in the view.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self
            .plane
            .containers()
            .iter()
            .map(|view| view.display_name())
            .collect();
        names.sort();
        names
    }
}

trait CloneDebug {
    fn clone_debug(&self) -> String;
}

impl<T: std::fmt::Debug> CloneDebug for T {
    fn clone_debug(&self) -> String {
        format!("{self:?}")
    }
}
