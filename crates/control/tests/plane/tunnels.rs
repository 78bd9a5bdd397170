use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use longshore_control::{HubOptions, TunnelHub};
use longshore_core::{
    BoxByteStream, Carrier, CloseReason, Endpoint, Error, ErrorKind, IncomingStream, NodeHealth,
    NodeId, PeerIdentity, PendingCarrier, Result, StreamTarget, SystemClock, TunnelListener,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::{Mutex as AsyncMutex, mpsc, watch},
};

use crate::{
    cluster::{Cluster, options},
    engine::FakeEngine,
};

/// One end of a carrier in memory.
#[derive(Debug)]
pub(crate) struct MemoryCarrier {
    peer: PeerIdentity,
    outgoing: mpsc::Sender<IncomingStream>,
    incoming: AsyncMutex<mpsc::Receiver<IncomingStream>>,
    closed: watch::Sender<Option<String>>,
}

pub(crate) fn carriers(node: &str) -> (Arc<MemoryCarrier>, Arc<MemoryCarrier>) {
    let (to_far, from_near) = mpsc::channel(16);
    let (to_near, from_far) = mpsc::channel(16);
    let closed = watch::Sender::new(None);
    let end = |peer: &str, outgoing, incoming, closed| {
        Arc::new(MemoryCarrier {
            peer: PeerIdentity::new(NodeId::new(peer).unwrap()),
            outgoing,
            incoming: AsyncMutex::new(incoming),
            closed,
        })
    };
    (
        end(node, to_far, from_far, closed.clone()),
        end("plane", to_near, from_near, closed),
    )
}

impl MemoryCarrier {
    pub(crate) fn reason(&self) -> Option<String> {
        self.closed.borrow().clone()
    }
}

#[async_trait]
impl Carrier for MemoryCarrier {
    fn peer(&self) -> &PeerIdentity {
        &self.peer
    }
    async fn open(&self, target: &StreamTarget) -> Result<BoxByteStream> {
        if self.reason().is_some() {
            return Err(Error::closed("the carrier is closed"));
        }
        let (near, far) = tokio::io::duplex(1 << 16);
        let incoming = IncomingStream {
            target: target.clone(),
            stream: Box::new(far),
        };
        self.outgoing
            .send(incoming)
            .await
            .map_err(|_| Error::closed("the peer is gone"))?;
        Ok(Box::new(near))
    }
    async fn accept(&self) -> Result<IncomingStream> {
        let mut incoming = self.incoming.lock().await;
        tokio::select! {
            _ = self.closed() => Err(Error::closed("the carrier is closed")),
            stream = incoming.recv() => stream.ok_or_else(|| Error::closed("the peer is gone")),
        }
    }
    async fn close(&self, reason: &str) {
        self.closed.send_if_modified(|closed| {
            let first = closed.is_none();
            closed.get_or_insert(reason.to_owned());
            first
        });
    }
    async fn closed(&self) -> CloseReason {
        let mut closed = self.closed.subscribe();
        let reason = closed.wait_for(Option::is_some).await.unwrap().clone();
        CloseReason::Peer(reason.unwrap_or_default())
    }
    fn round_trip(&self) -> Option<Duration> {
        None
    }
}

#[derive(Debug)]
pub(crate) struct Pending(pub(crate) Arc<MemoryCarrier>, pub(crate) Duration);

#[async_trait]
impl PendingCarrier for Pending {
    fn remote(&self) -> Option<Endpoint> {
        None
    }
    async fn handshake(self: Box<Self>) -> Result<Arc<dyn Carrier>> {
        tokio::time::sleep(self.1).await;
        Ok(self.0)
    }
}

#[derive(Debug)]
struct Listener {
    queue: AsyncMutex<mpsc::Receiver<Pending>>,
}

#[async_trait]
impl TunnelListener for Listener {
    fn local(&self) -> Endpoint {
        Endpoint::new("127.0.0.1", 1).unwrap()
    }
    async fn accept(&self) -> Result<Box<dyn PendingCarrier>> {
        match self.queue.lock().await.recv().await {
            Some(pending) => Ok(Box::new(pending)),
            None => Err(Error::closed("no more")),
        }
    }
}

#[derive(Clone)]
pub(crate) struct Dialler(pub(crate) mpsc::Sender<Pending>);

pub(crate) fn listener() -> (Dialler, Arc<dyn TunnelListener>) {
    let (sender, receiver) = mpsc::channel(4096);
    let queue = AsyncMutex::new(receiver);
    (Dialler(sender), Arc::new(Listener { queue }))
}

/// The agent's side of a session.
pub(crate) struct Agent {
    pub(crate) carrier: Arc<MemoryCarrier>,
    pub(crate) control: BoxByteStream,
    pub(crate) answer: serde_json::Value,
}

pub(crate) async fn say(stream: &mut BoxByteStream, frame: &serde_json::Value) {
    let json = frame.to_string();
    stream.write_u32(json.len() as u32).await.unwrap();
    stream.write_all(json.as_bytes()).await.unwrap();
}

async fn hear(stream: &mut BoxByteStream) -> Option<serde_json::Value> {
    let length = stream.read_u32().await.ok()?;
    let mut bytes = vec![0; length as usize];
    stream.read_exact(&mut bytes).await.ok()?;
    Some(serde_json::from_slice(&bytes).unwrap())
}

impl Dialler {
    pub(crate) async fn dial(&self, certificate: &str, hello: serde_json::Value) -> Agent {
        let (near, far) = carriers(certificate);
        self.0
            .send(Pending(near, Duration::from_millis(20)))
            .await
            .unwrap();
        let mut control = far.open(&StreamTarget::Control).await.unwrap();
        say(&mut control, &hello).await;
        let answer = hear(&mut control).await.expect("an answer");
        Agent {
            carrier: far,
            control,
            answer,
        }
    }

    pub(crate) async fn join(&self, node: &str, epoch: u64) -> Agent {
        let hello = serde_json::json!({
            "type": "hello", "version": 1, "node": node, "name": "", "epoch": epoch,
            "agent": "test/1", "labels": {"zone": "eu"},
        });
        self.dial(node, hello).await
    }
}

impl Agent {
    /// Beats and accepts engine streams until the carrier closes.
    fn live(self) -> Arc<MemoryCarrier> {
        let carrier = Arc::clone(&self.carrier);
        let (accepting, mut control) = (self.carrier, self.control);
        tokio::spawn(async move {
            let mut streams = Vec::new();
            let mut beat = tokio::time::interval(Duration::from_secs(5));
            loop {
                tokio::select! {
                    stream = accepting.accept() => match stream {
                        Ok(stream) => streams.push(stream),
                        Err(_) => return,
                    },
                    _ = beat.tick() => {
                        let frame = r#"{"type":"beat"}"#;
                        let _ = control.write_u32(frame.len() as u32).await;
                        let _ = control.write_all(frame.as_bytes()).await;
                    }
                }
            }
        });
        carrier
    }
}

pub(crate) fn tunnel_cluster() -> (Cluster, Dialler) {
    let (dialler, listener) = listener();
    let cluster = Cluster::new(options(), vec![listener]);
    cluster.plane.start();
    (cluster, dialler)
}

pub(crate) fn add(cluster: &Cluster, node: &str) -> FakeEngine {
    let engine = FakeEngine::new(
        Arc::clone(&cluster.clock),
        &format!("engine-{node}"),
        &format!("host-{node}"),
    );
    cluster
        .engines
        .by_tunnel
        .lock()
        .unwrap()
        .insert(format!("tunnel://{node}"), engine.clone());
    engine
}

#[tokio::test(start_paused = true)]
async fn a_node_behind_nat_joins_and_is_reached_through_its_tunnel() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let agent = dialler.join("edge-1", 1).await;
    assert_eq!(
        agent.answer,
        serde_json::json!({"type": "welcome", "version": 1, "epoch": 1, "heartbeat_ms": 5000})
    );
    agent.live();
    cluster.until_health("edge-1", NodeHealth::Healthy).await;
    let node = cluster.plane.node("edge-1").unwrap();
    assert_eq!(node.address, "tunnel://edge-1");
    let session = cluster.plane.hub().sessions().remove(0);
    assert_eq!(session.labels.get("zone"), Some("eu"));
    assert!(session.live);
}

/// The plane sees only that a stream is refused; the agent stands beside the engine.
#[tokio::test(start_paused = true)]
async fn an_agent_s_word_about_its_engine_is_shown() {
    let (cluster, dialler) = tunnel_cluster();
    let mut agent = dialler.join("edge-1", 1).await;
    let status = serde_json::json!({
        "type": "status", "engine": "down", "error": "no such file: /run/docker.sock",
    });
    say(&mut agent.control, &status).await;
    let _carrier = agent.live();
    cluster
        .until("the agent's word", || {
            let node = cluster.plane.nodes().into_iter().next();
            let error = node.and_then(|node| node.error).unwrap_or_default();
            error.ends_with("; its agent says: no such file: /run/docker.sock")
        })
        .await;
}

/// What an operator says of a node at its join counts for whatever engine is there.
#[tokio::test(start_paused = true)]
async fn an_agent_s_labels_win_over_the_engine_s() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let hello = |epoch: u64, zone: &str| {
        serde_json::json!({
            "type": "hello", "version": 1, "name": "", "epoch": epoch, "agent": "test/1",
            "labels": {"zone": zone, "disk": "ssd"},
        })
    };
    let first = dialler.dial("edge-1", hello(1, "eu")).await.live();
    cluster.until_health("edge-1", NodeHealth::Healthy).await;
    let labels = |key: &str| {
        let node = cluster.plane.node("edge-1").unwrap();
        node.info.unwrap().labels.get(key).map(str::to_owned)
    };
    assert_eq!(labels("disk").as_deref(), Some("ssd"));
    // Dialled in again with other labels: they count at once.
    let _second = dialler.dial("edge-1", hello(2, "us")).await.live();
    cluster
        .until("the new label", || labels("zone").as_deref() == Some("us"))
        .await;
    first.closed().await;
}

/// Whoever takes over one node must not be able to draw another one's work, or its place.
#[tokio::test(start_paused = true)]
async fn name_and_place_of_a_node_are_its_own() {
    let (cluster, dialler) = tunnel_cluster();
    // An engine that is announced by address, and calls itself what a certificate says of another.
    cluster.add_engine(1, "E1", "edge-1");
    cluster.discovery.set(&[1]);
    cluster.until_health("edge-1", NodeHealth::Healthy).await;
    add(&cluster, "edge-1");
    dialler.join("edge-1", 1).await.live();
    let own = |name: &str| cluster.plane.node(name).map(|node| node.address);
    cluster
        .until("the name's owner", || {
            own("edge-1").as_deref() == Some("tunnel://edge-1")
        })
        .await;
    assert_eq!(own("10-0-0-1-1").as_deref(), Some("10.0.0.1:1"));
    let squatter = cluster.plane.node("10-0-0-1-1").unwrap();
    assert!(
        squatter.warnings[0].starts_with("Its name edge-1 is another node's"),
        "{:?}",
        squatter.warnings
    );
    // Another certificate with the first one's engine id and host name, also while that one is down.
    let thief = FakeEngine::new(Arc::clone(&cluster.clock), "engine-edge-1", "edge-1");
    let engines = &cluster.engines.by_tunnel;
    let real = engines.lock().unwrap()["tunnel://edge-1"].clone();
    engines
        .lock()
        .unwrap()
        .insert("tunnel://evil".to_owned(), thief);
    real.kill();
    cluster.until_health("edge-1", NodeHealth::Unhealthy).await;
    dialler.join("evil", 1).await.live();
    cluster
        .until("the thief's refusal", || {
            let evil = cluster.plane.node("tunnel://evil");
            let error = evil.and_then(|node| node.error).unwrap_or_default();
            error.starts_with("ID duplicated. engine-edge-1 shared by this node tunnel://evil")
        })
        .await;
    assert_eq!(own("edge-1").as_deref(), Some("tunnel://edge-1"));
}

#[tokio::test(start_paused = true)]
async fn a_newer_session_replaces_the_older_and_the_node_stays() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let old = dialler.join("edge-1", 1).await.live();
    cluster.until_health("edge-1", NodeHealth::Healthy).await;
    let new = dialler.join("edge-1", 2).await;
    assert_eq!(new.answer["type"], "welcome");
    let new = new.live();
    assert_eq!(
        old.reason().unwrap(),
        "replaced by a newer session with epoch 2"
    );
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(new.reason(), None);
    assert_eq!(
        cluster.plane.node("edge-1").unwrap().health,
        NodeHealth::Healthy
    );
    assert_eq!(cluster.plane.nodes().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stale_epoch_is_refused_while_a_newer_session_is_live() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let first = dialler.join("edge-1", 5).await.live();
    for epoch in [5, 4] {
        let stale = dialler.join("edge-1", epoch).await;
        assert_eq!(stale.answer["type"], "refused");
        assert_eq!(
            stale.answer["reason"],
            format!("stale epoch {epoch}: a session of this node with epoch 5 is live")
        );
    }
    assert_eq!(first.reason(), None);
    // Once it is gone, its agent may come back with any epoch.
    first.close("gone").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(dialler.join("edge-1", 1).await.answer["type"], "welcome");
}

#[tokio::test(start_paused = true)]
async fn a_node_is_who_its_certificate_says() {
    let (cluster, dialler) = tunnel_cluster();
    let hello = serde_json::json!({"type": "hello", "version": 1, "node": "edge-1", "epoch": 1});
    let thief = dialler.dial("edge-2", hello).await;
    assert_eq!(
        thief.answer["reason"],
        "the agent claims to be \"edge-1\", its certificate says \"edge-2\""
    );
    let hello = serde_json::json!({"type": "hello", "version": 9, "node": "edge-1", "epoch": 1});
    let newer = dialler.dial("edge-1", hello).await;
    assert_eq!(
        newer.answer["reason"],
        "the agent speaks version 9 of the hello protocol, this control plane 1"
    );
    assert!(cluster.plane.hub().sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_closed_in_time() {
    let (_cluster, dialler) = tunnel_cluster();
    let (near, silent) = carriers("edge-1");
    dialler.0.send(Pending(near, Duration::ZERO)).await.unwrap();
    let start = tokio::time::Instant::now();
    silent.closed().await;
    assert!(start.elapsed() <= Duration::from_secs(11));
    // A handshake that never ends does not hold up others.
    let (near, _far) = carriers("edge-2");
    dialler
        .0
        .send(Pending(near, Duration::from_secs(3600)))
        .await
        .unwrap();
    assert_eq!(dialler.join("edge-3", 1).await.answer["type"], "welcome");
}

#[tokio::test(start_paused = true)]
async fn a_silent_agent_is_cut_off_and_its_node_found_unhealthy() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let agent = dialler.join("edge-1", 1).await;
    // It never beats again. The engine streams go unanswered, too.
    let reason = agent.carrier.closed().await;
    assert!(reason.to_string().contains("its agent was silent for 15s"));
    let session = cluster.plane.hub().sessions().remove(0);
    assert!(!session.live);
    // Back again: tried at once.
    dialler.join("edge-1", 2).await.live();
    let took = cluster.until_health("edge-1", NodeHealth::Healthy).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_tunnel_is_a_lost_node_and_dialling_in_brings_it_back_at_once() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let carrier = dialler.join("edge-1", 1).await.live();
    cluster.until_health("edge-1", NodeHealth::Healthy).await;
    carrier.close("cable cut").await;
    cluster.until_health("edge-1", NodeHealth::Unhealthy).await;
    let error = cluster.plane.node("edge-1").unwrap().error.unwrap();
    assert!(
        error.starts_with("node edge-1 is not connected: closed by the peer: cable cut, at "),
        "{error}"
    );
    tokio::time::sleep(Duration::from_secs(300)).await;
    dialler.join("edge-1", 2).await.live();
    let took = cluster.until_health("edge-1", NodeHealth::Healthy).await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_away_is_forgotten() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let carrier = dialler.join("edge-1", 1).await.live();
    cluster.until_health("edge-1", NodeHealth::Healthy).await;
    carrier.close("gone").await;
    tokio::time::sleep(Duration::from_secs(3500)).await;
    assert_eq!(cluster.plane.nodes().len(), 1);
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert!(cluster.plane.nodes().is_empty());
    assert!(cluster.plane.hub().sessions().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_agents_at_once_all_get_in() {
    let clock = Arc::new(SystemClock::new());
    let hub = TunnelHub::with_options(clock, HubOptions::default().with_max_handshakes(32));
    let (dialler, listener) = listener();
    let shutdown = longshore_core::Shutdown::new();
    let serving = hub.clone();
    let tree = shutdown.clone();
    shutdown.spawn_until(async move { serving.serve(listener, &tree).await });
    let welcomed = Arc::new(Mutex::new(0));
    let agents = (0..1000).map(|number| {
        let (dialler, welcomed) = (dialler.clone(), Arc::clone(&welcomed));
        tokio::spawn(async move {
            let agent = dialler.join(&format!("edge-{number}"), 1).await;
            assert_eq!(agent.answer["type"], "welcome");
            *welcomed.lock().unwrap() += 1;
            agent.live()
        })
    });
    futures::future::join_all(agents).await;
    assert_eq!(*welcomed.lock().unwrap(), 1000);
    assert_eq!(hub.sessions().iter().filter(|s| s.live).count(), 1000);
}

#[tokio::test(start_paused = true)]
async fn a_connector_without_a_session_says_why() {
    let hub = TunnelHub::new(Arc::new(SystemClock::new()));
    let connector = hub.connector(&NodeId::new("edge-1").unwrap());
    assert_eq!(connector.describe(), "tunnel://edge-1");
    let Err(error) = connector.connect().await else {
        panic!("there is nobody")
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(
        error.message(),
        "node edge-1 is not connected: its agent has not dialled in"
    );
}
