//! Two managers and one node over real tunnels: what one of them can do to it once the other leads
//! (rule L2 of the specification).
#![expect(clippy::unwrap_used, reason = "tests may be blunt, their helpers too")]

use std::{sync::Arc, time::Duration};

use http::{Request, StatusCode};
use longshore::{
    Clock, Engine, ErrorKind, TunnelTransport,
    agent::{Agent, AgentConfig, LeaderGate},
    control::{ControlPlane, PlaneOptions, ServiceSpec, StackSpec},
    core::{
        AllowAll, BoxByteStream, Connector, Endpoint, KvStore, Leader, ListFilter, NodeHealth,
        NodeId, NodeName, OsRandom, RestartPolicy, Shutdown, SystemClock, WorkloadSpec,
        http::{HttpClient, empty_body, read_body},
        testkit::ManualElection,
    },
    discovery::MemoryKv,
    engine::{DockerProvider, SimCluster, SimOptions},
    sched::ClusterScheduler,
    tunnel::{
        ExpectedPeer, TlsTransport,
        pki::{Authority, Profile, Role},
    },
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Manager {
    plane: ControlPlane,
    election: ManualElection,
    tunnel: Endpoint,
}

struct World {
    clock: Arc<dyn Clock>,
    authority: Authority,
    store: Arc<dyn KvStore>,
    nodes: SimCluster,
    shutdown: Shutdown,
}

impl World {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        Self {
            authority: Authority::generate("test", clock.now(), &OsRandom).unwrap(),
            store: Arc::new(MemoryKv::new(clock.clone())),
            nodes: SimCluster::new(1, 1, clock.clone(), |_| SimOptions::default()).unwrap(),
            shutdown: Shutdown::new(),
            clock,
        }
    }

    fn transport(&self, name: &str, role: Role) -> TlsTransport {
        let profile = Profile::new(NodeId::new(name).unwrap()).with_role(role);
        let profile = profile.with_host("127.0.0.1").unwrap();
        let now = self.clock.now();
        let identity = self.authority.issue(&profile, now, &OsRandom).unwrap();
        let trust = self.authority.trust().unwrap();
        let transport = TlsTransport::new(&identity, &trust, self.clock.clone()).unwrap();
        transport
            .with_expected_peer(ExpectedPeer::DialledManager)
            .unwrap()
    }

    async fn manager(&self, name: &str, leader: Leader) -> Manager {
        let transport = self.transport(name, Role::Manager);
        let loopback = Endpoint::new("127.0.0.1", 0).unwrap();
        let listener = transport.listen(&loopback).await.unwrap();
        let tunnel = listener.local();
        let election = ManualElection::new(leader);
        let options = PlaneOptions::default()
            .with_probe_interval(Duration::from_millis(200))
            .with_settle(Duration::from_millis(200));
        let plane = ControlPlane::builder()
            .tunnel(listener)
            .scheduler(Box::new(ClusterScheduler::default()))
            .engines(Arc::new(DockerProvider::new(self.clock.clone())))
            .authorizer(Arc::new(AllowAll))
            .election(Arc::new(election.clone()))
            .state(Arc::clone(&self.store), "longshore/test")
            .clock(self.clock.clone())
            .shutdown(self.shutdown.clone())
            .options(options)
            .build()
            .unwrap();
        plane.start();
        Manager {
            plane,
            election,
            tunnel,
        }
    }

    /// The node dials each manager; the gate is the node's.
    fn join(&self, managers: [&Manager; 2], gate: &LeaderGate) {
        for manager in managers {
            let name = NodeName::new("node-1").unwrap();
            let config = AgentConfig::new(name, manager.tunnel.clone())
                .with_gate(gate.clone())
                .with_backoff(Duration::from_millis(50), Duration::from_millis(500));
            let agent = Agent::new(
                config,
                Arc::new(self.transport("node-1", Role::Node)),
                self.nodes.engines()[0].connector(),
                self.clock.clone(),
                Arc::new(OsRandom),
            );
            let running = self.shutdown.clone();
            self.shutdown
                .spawn_until(async move { agent.run(&running).await });
        }
    }

    /// What really is on the node, running or not.
    async fn workloads(&self) -> usize {
        let engine = &self.nodes.engines()[0];
        engine.list(&ListFilter::all()).await.unwrap().len()
    }
}

impl Manager {
    fn engine(&self) -> Arc<dyn Engine> {
        self.plane.node("node-1").unwrap().engine.unwrap()
    }

    fn connector(&self) -> Arc<dyn Connector> {
        self.engine().connector()
    }

    fn sees_the_node(&self) -> bool {
        let node = self.plane.node("node-1");
        node.is_some_and(|node| node.health == NodeHealth::Healthy)
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3_000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {what}");
}

fn stack(replicas: u32) -> StackSpec {
    let template = WorkloadSpec::new("busybox").with_restart(RestartPolicy::Always);
    let web = ServiceSpec::new("web".parse().unwrap(), template).with_replicas(replicas);
    StackSpec::new("shop".parse().unwrap(), vec![web])
}

/// A request past everything that asks the election at the manager's side.
async fn past(clock: &Arc<dyn Clock>, connector: Arc<dyn Connector>) -> (StatusCode, String) {
    let client = HttpClient::new(connector, clock.clone());
    let request = Request::post("/containers/create?name=late")
        .header("content-type", "application/json")
        .body(longshore::core::http::full_body(r#"{"Image":"busybox"}"#));
    let response = client.send(request.unwrap()).await.unwrap();
    let status = response.status();
    let body = read_body(response.into_body(), 1 << 16).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Half a request, so that the engine waits for the rest; behind a whole one, whose answer shows that
/// the node has let the stream in.
async fn half_a_request(connector: &Arc<dyn Connector>) -> BoxByteStream {
    let mut stream = connector.connect().await.unwrap();
    let whole = b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(whole).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\nOK") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let half = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{";
    stream.write_all(half).await.unwrap();
    stream.flush().await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l2_a_replaced_leader_is_refused_by_node_and_store_while_it_believes_to_lead() {
    let world = World::new();
    let directory = tempfile::tempdir().unwrap();
    let gate = LeaderGate::open(directory.path()).unwrap();
    let old = world.manager("old", Leader::Here { token: 1 }).await;
    let elsewhere = Leader::Elsewhere("old:1".to_owned());
    let new = world.manager("new", elsewhere.clone()).await;
    world.join([&old, &new], &gate);
    until("both see the node", async || {
        old.sees_the_node() && new.sees_the_node()
    })
    .await;
    old.plane.deploy(stack(2)).await.unwrap();
    until("two run", async || world.workloads().await == 2).await;
    assert_eq!(gate.highest(), Some(1));

    // The one that follows looks at everything, and can change nothing by either way.
    let spec = WorkloadSpec::new("busybox");
    let listed = new.engine().list(&ListFilter::all()).await.unwrap();
    assert_eq!(listed.len(), 2);
    let error = new.engine().create(&spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    let (status, said) = past(&world.clock, new.connector()).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{said}");
    assert!(said.contains("does not lead"), "{said}");
    assert_eq!(world.workloads().await, 2);

    // The old one has something under way when the other is elected, and hears nothing of it.
    let mut under_way = half_a_request(&old.connector()).await;
    new.election.set(Leader::Here { token: 2 });
    until("the node has heard", async || gate.highest() == Some(2)).await;
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(60), under_way.read_to_end(&mut rest));
    assert!(
        ended.await.unwrap().is_err(),
        "a break, not an end: {rest:?}"
    );
    assert_eq!(rest, b"");

    assert!(old.plane.leads(), "it believes so");
    let error = old.engine().create(&spec).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale, "{error:?}");
    let said = error.chain();
    assert!(said.contains("token 1 is older than 2"), "{said}");
    let (status, said) = past(&world.clock, old.connector()).await;
    assert_eq!(status, StatusCode::PRECONDITION_FAILED, "{said}");
    until("the store has heard", async || {
        let entry = world.store.get("longshore/test/stacks-token").await;
        entry.unwrap().is_some_and(|entry| entry.value == "2")
    })
    .await;
    let error = old.plane.deploy(stack(9)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale, "{error:?}");
    assert!(error.message().contains("no longer leads"), "{error}");
    assert_eq!(world.workloads().await, 2);

    // It still sees everything; the new one acts.
    new.plane.deploy(stack(3)).await.unwrap();
    until("three run", async || world.workloads().await == 3).await;
    let listed = old.engine().list(&ListFilter::all()).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert!(old.sees_the_node());

    // So it is after a restart of the agent.
    assert_eq!(
        LeaderGate::open(directory.path()).unwrap().highest(),
        Some(2)
    );

    // Elected again, under a new token, it acts through the same node.
    new.election.set(elsewhere);
    old.election.set(Leader::Here { token: 3 });
    until("it removes one", async || {
        let _ = old.plane.deploy(stack(1)).await;
        world.workloads().await == 1
    })
    .await;
    let ping = Request::get("/_ping").body(empty_body()).unwrap();
    let client = HttpClient::new(new.connector(), world.clock.clone());
    assert_eq!(client.send(ping).await.unwrap().status(), StatusCode::OK);
    assert!(
        world
            .shutdown
            .finish(&*world.clock, Duration::from_secs(10))
            .await
    );
}
