//! A manager in a host of its own: a candidate that acts while it leads, registered as a node, and
//! watching the nodes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc::channel},
    thread::{self, JoinHandle},
    time::Duration,
};

use futures::StreamExt;
use longshore_core::{
    ClockExt, Discovery, KvStore, MembershipEvent, OsRandom, Shutdown, SystemClock,
};
use longshore_discovery::{
    Election, ElectionOptions, KvDiscovery, KvDiscoveryOptions, Registrar, RegistrarOptions,
};
use longshore_lab::Host;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::{
    nodes::{GRACE, node},
    servers::clock,
};

/// What a manager's thread shares.
struct Running {
    election: Election,
    stop: Shutdown,
    ttl: Duration,
}

pub struct Manager {
    name: &'static str,
    running: Running,
    nodes: Arc<Mutex<BTreeSet<u16>>>,
    thread: Option<JoinHandle<()>>,
}

impl Manager {
    /// Starts in this host's network, where it connects to its store, or becomes a member of it;
    /// `number` is its node.
    pub fn start(
        host: &Host,
        (name, number): (&'static str, u16),
        lease: Duration,
        connect: impl FnOnce() -> Arc<dyn KvStore> + Send + 'static,
        recorder: SocketAddr,
    ) -> Self {
        let nodes = Arc::new(Mutex::new(BTreeSet::new()));
        let (sender, started) = channel();
        let seen = nodes.clone();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let kv = connect();
                let ttl = lease.max(kv.capabilities().shortest_lease);
                let options = ElectionOptions::candidate("", name).with_ttl(ttl);
                let election =
                    Election::new(kv.clone(), options, clock(), Arc::new(OsRandom)).unwrap();
                let stop = Shutdown::new();
                let options = KvDiscoveryOptions::default().with_grace(GRACE);
                let discovery = Arc::new(KvDiscovery::new(kv, clock(), options).unwrap());
                let lasts = RegistrarOptions::default().with_heartbeat(ttl / 3, ttl);
                let registrar =
                    Registrar::new(discovery.clone(), lasts, clock(), Arc::new(OsRandom)).unwrap();
                registrar.add(node(number)).unwrap();
                let (candidate, until) = (election.clone(), stop.clone());
                tokio::spawn(async move { candidate.run(&until).await });
                let until = stop.clone();
                tokio::spawn(async move { registrar.run(&until).await });
                tokio::spawn(follow(discovery, seen));
                let stopped = stop.requested();
                let acting = act(election.clone(), name, recorder);
                sender
                    .send(Running {
                        election,
                        stop,
                        ttl,
                    })
                    .unwrap();
                tokio::select! {
                    () = stopped => {}
                    () = acting => {}
                }
            });
        };
        // A thread is in the network of the one that starts it.
        let thread = host.enter(|| thread::spawn(run)).unwrap();
        Self {
            name,
            running: started.recv().unwrap(),
            nodes,
            thread: Some(thread),
        }
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    /// How long a leadership, and its node's registration, last without renewal.
    pub fn ttl(&self) -> Duration {
        self.running.ttl
    }

    pub fn leads(&self) -> bool {
        self.running.election.leadership().is_some()
    }

    /// Whom it takes for the leader.
    pub fn follows(&self) -> Option<String> {
        self.running.election.state().leader
    }

    /// The nodes of the cluster, as it sees them.
    pub fn nodes(&self) -> Vec<u16> {
        self.nodes.lock().unwrap().iter().copied().collect()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.running.stop.trigger();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// As often as it may, and each time only if it still may.
async fn act(election: Election, name: &str, recorder: SocketAddr) {
    let mut stream = TcpStream::connect(recorder).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let clock = SystemClock::new();
    loop {
        if let Some(Ok(token)) = election.leadership().map(|it| it.check()) {
            let act = format!("{name} {token}\n");
            stream.write_all(act.as_bytes()).await.unwrap();
        }
        clock.sleep(Duration::from_millis(10)).await;
    }
}

async fn follow(discovery: Arc<dyn Discovery>, seen: Arc<Mutex<BTreeSet<u16>>>) {
    let mut events = discovery.watch();
    while let Some(event) = events.next().await {
        let mut seen = seen.lock().unwrap();
        match event {
            MembershipEvent::Reset(nodes) => {
                *seen = nodes.iter().map(|node| node.endpoint.port()).collect();
            }
            MembershipEvent::Added(node) => drop(seen.insert(node.endpoint.port())),
            MembershipEvent::Removed(endpoint) => drop(seen.remove(&endpoint.port())),
            _ => {}
        }
    }
}
