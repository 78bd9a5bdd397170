use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use longshore_control::{HubOptions, TunnelHub};
use longshore_core::{
    BoxByteStream, Carrier, Clock, CloseReason, Endpoint, Error, ErrorKind, IncomingStream,
    NodeHealth, NodeId, PeerIdentity, PendingCarrier, PlacementRequest, Result, StreamTarget,
    SystemClock, TunnelListener,
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
struct MemoryCarrier {
    peer: PeerIdentity,
    outgoing: mpsc::Sender<IncomingStream>,
    incoming: AsyncMutex<mpsc::Receiver<IncomingStream>>,
    closed: watch::Sender<Option<String>>,
}

fn carriers(node: &str) -> (Arc<MemoryCarrier>, Arc<MemoryCarrier>) {
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
    fn reason(&self) -> Option<String> {
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
struct Pending(Arc<MemoryCarrier>, Duration);

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
struct Dialler(mpsc::Sender<Pending>);

fn listener() -> (Dialler, Arc<dyn TunnelListener>) {
    let (sender, receiver) = mpsc::channel(4096);
    let queue = AsyncMutex::new(receiver);
    (Dialler(sender), Arc::new(Listener { queue }))
}

/// The agent's side of a session.
struct Agent {
    carrier: Arc<MemoryCarrier>,
    control: BoxByteStream,
    answer: serde_json::Value,
}

async fn say(stream: &mut BoxByteStream, frame: &serde_json::Value) {
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
    async fn dial(&self, certificate: &str, hello: serde_json::Value) -> Agent {
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

    async fn join(&self, node: &str, epoch: u64) -> Agent {
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

fn tunnel_cluster() -> (Cluster, Dialler) {
    let (dialler, listener) = listener();
    let cluster = Cluster::new(options(), vec![listener]);
    cluster.plane.start();
    (cluster, dialler)
}

fn add(cluster: &Cluster, node: &str) -> FakeEngine {
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
    cluster
        .until_health("host-edge-1", NodeHealth::Healthy)
        .await;
    let node = cluster.plane.node("host-edge-1").unwrap();
    assert_eq!(node.address, "tunnel://edge-1");
    let session = cluster.plane.hub().sessions().remove(0);
    assert_eq!(session.labels.get("zone"), Some("eu"));
    assert!(session.live);
}

/// What an operator says of a node at its join counts for whatever engine is there.
#[tokio::test(start_paused = true)]
async fn an_agent_s_name_and_labels_win_over_the_engine_s() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let hello = |epoch: u64, zone: &str| {
        serde_json::json!({
            "type": "hello", "version": 1, "name": "kiosk", "epoch": epoch, "agent": "test/1",
            "labels": {"zone": zone, "disk": "ssd"},
        })
    };
    let first = dialler.dial("edge-1", hello(1, "eu")).await.live();
    cluster.until_health("kiosk", NodeHealth::Healthy).await;
    let labels = |key: &str| {
        let node = cluster.plane.node("kiosk").unwrap();
        node.info.unwrap().labels.get(key).map(str::to_owned)
    };
    assert_eq!(labels("disk").as_deref(), Some("ssd"));
    let verdict = cluster
        .plane
        .explain(&PlacementRequest::new("x").with_constraint("node==kiosk".parse().unwrap()))
        .unwrap();
    assert!(verdict.placement.is_some(), "{verdict:?}");
    // Dialled in again with other labels: they count at once.
    let _second = dialler.dial("edge-1", hello(2, "us")).await.live();
    cluster
        .until("the new label", || labels("zone").as_deref() == Some("us"))
        .await;
    first.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_session_replaces_the_older_and_the_node_stays() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let old = dialler.join("edge-1", 1).await.live();
    cluster
        .until_health("host-edge-1", NodeHealth::Healthy)
        .await;
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
        cluster.plane.node("host-edge-1").unwrap().health,
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
    let took = cluster
        .until_health("host-edge-1", NodeHealth::Healthy)
        .await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_tunnel_is_a_lost_node_and_dialling_in_brings_it_back_at_once() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let carrier = dialler.join("edge-1", 1).await.live();
    cluster
        .until_health("host-edge-1", NodeHealth::Healthy)
        .await;
    carrier.close("cable cut").await;
    cluster
        .until_health("host-edge-1", NodeHealth::Unhealthy)
        .await;
    let error = cluster.plane.node("host-edge-1").unwrap().error.unwrap();
    assert!(
        error.starts_with("node edge-1 is not connected: closed by the peer: cable cut, at "),
        "{error}"
    );
    tokio::time::sleep(Duration::from_secs(300)).await;
    dialler.join("edge-1", 2).await.live();
    let took = cluster
        .until_health("host-edge-1", NodeHealth::Healthy)
        .await;
    assert!(took <= Duration::from_secs(1), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stays_away_is_forgotten() {
    let (cluster, dialler) = tunnel_cluster();
    add(&cluster, "edge-1");
    let carrier = dialler.join("edge-1", 1).await.live();
    cluster
        .until_health("host-edge-1", NodeHealth::Healthy)
        .await;
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

fn serving(options: HubOptions) -> (TunnelHub, Dialler, longshore_core::Shutdown) {
    let hub = TunnelHub::with_options(Arc::new(SystemClock::new()), options);
    let (dialler, listener) = listener();
    let shutdown = longshore_core::Shutdown::new();
    let (serving, tree) = (hub.clone(), shutdown.clone());
    shutdown.spawn_until(async move { serving.serve(listener, &tree).await });
    (hub, dialler, shutdown)
}

#[tokio::test(start_paused = true)]
async fn who_has_proved_nothing_holds_no_place_of_those_who_did() {
    let options = HubOptions::default()
        .with_max_handshakes(1)
        .with_max_unproven(10)
        .with_handshake_timeout(Duration::from_secs(3600));
    let (_hub, dialler, _shutdown) = serving(options);
    let mut silent = Vec::new();
    let mut knock = async |count: usize| {
        for number in 0..count {
            let (near, far) = carriers(&format!("unproven-{number}"));
            let pending = Pending(near, Duration::from_secs(3000));
            dialler.0.send(pending).await.unwrap();
            silent.push(far);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        silent.last().unwrap().open(&StreamTarget::Control).await
    };
    assert!(knock(9).await.is_ok());
    assert_eq!(dialler.join("edge-1", 1).await.answer["type"], "welcome");
    // The excess is closed at once and waits for nothing.
    assert!(knock(2).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn one_node_does_not_take_all_the_places_before_the_welcome() {
    let (_hub, dialler, _shutdown) = serving(HubOptions::default().with_max_handshakes(8));
    let mut silent = Vec::new();
    for _ in 0..20 {
        let (near, far) = carriers("greedy");
        dialler.0.send(Pending(near, Duration::ZERO)).await.unwrap();
        silent.push(far);
    }
    assert_eq!(dialler.join("edge-1", 1).await.answer["type"], "welcome");
    let refused = silent.iter().filter_map(|carrier| carrier.reason());
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused.len(), 16);
    assert_eq!(
        refused[0],
        "4 connections of this node wait for their welcome already"
    );
}

#[tokio::test(start_paused = true)]
async fn an_epoch_far_ahead_is_refused() {
    let (hub, dialler, _shutdown) = serving(HubOptions::default());
    let now = SystemClock::new().now();
    let day = Duration::from_secs(24 * 60 * 60);
    let limit = now.after(day + Duration::from_secs(600)).as_micros();
    for epoch in [u64::MAX, limit] {
        let agent = dialler.join("edge-1", epoch).await;
        assert_eq!(agent.answer["type"], "refused");
        let reason = agent.answer["reason"].as_str().unwrap();
        assert!(reason.contains("is more than a day ahead"), "{reason}");
    }
    assert!(hub.sessions().is_empty());
    let agent = dialler.join("edge-1", now.as_micros()).await;
    assert_eq!(agent.answer["type"], "welcome");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_talks_without_end_is_cut_off() {
    for frame in [
        serde_json::json!({"type": "beat"}),
        serde_json::json!({"type": "status", "engine": "down", "error": "x"}),
    ] {
        let (hub, dialler, _shutdown) = serving(HubOptions::default());
        let mut agent = dialler.join("edge-1", 1).await;
        let mut bytes = Vec::new();
        for _ in 0..200 {
            let json = frame.to_string();
            bytes.extend_from_slice(&(json.len() as u32).to_be_bytes());
            bytes.extend_from_slice(json.as_bytes());
        }
        let _ = agent.control.write_all(&bytes).await;
        let reason = agent.carrier.closed().await.to_string();
        assert!(
            reason.contains("its agent said more than 20 things a second"),
            "{reason}"
        );
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(!hub.sessions()[0].live);
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_agent_says_forges_no_log_line() {
    let forged = "bye\n2026-01-01T00:00:00Z  INFO Registered Engine FAKE\u{1b}[2J\u{202e}\u{9b}31m";
    let (hub, dialler, _shutdown) = serving(HubOptions::default());
    let hello = serde_json::json!({
        "type": "hello", "version": 1, "name": forged, "epoch": 1, "agent": forged,
        "labels": {"zone": "eu", "a": forged, forged: "b"},
    });
    let mut agent = dialler.dial("edge-1", hello).await;
    let status = serde_json::json!({"type": "status", "engine": "down", "error": forged});
    say(&mut agent.control, &status).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let live = hub.sessions().remove(0);
    assert_eq!(live.labels.iter().collect::<Vec<_>>(), [("zone", "eu")]);
    say(
        &mut agent.control,
        &serde_json::json!({"type": "bye", "reason": forged}),
    )
    .await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    let ended = hub.sessions().remove(0).ended.unwrap();
    assert!(
        ended.starts_with("its agent said bye: bye\\u{a}2026"),
        "{ended}"
    );
    for text in [live.name, live.agent, live.engine_error.unwrap(), ended] {
        assert!(longshore_core::is_printable(&text), "{text:?}");
    }

    let (near, far) = carriers("edge-2");
    dialler.0.send(Pending(near, Duration::ZERO)).await.unwrap();
    let mut control = far.open(&StreamTarget::Control).await.unwrap();
    say(&mut control, &serde_json::json!({"type": forged})).await;
    let reason = far.closed().await.to_string();
    assert!(reason.contains("is not understood") && longshore_core::is_printable(&reason));
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
