//! `list-1000`

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use longshore::{
    Engine,
    core::{SystemClock, WorkloadName, WorkloadSpec},
    discovery::{DiscoveryOptions, open},
    engine::{SimCluster, SimOptions},
};

use crate::{
    client::Client,
    plane::Served,
    report::{Arguments, Measurement, Report, median},
};

const NODES: usize = 100;
const CONTAINERS_PER_NODE: usize = 10;

pub fn run(arguments: &Arguments, report: &Report) {
    report.progress("list-1000: filling 100 simulated engines");
    let clock = Arc::new(SystemClock::new());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let cluster = runtime.block_on(async {
        let options = |_| SimOptions::default();
        let cluster = SimCluster::new(NODES, 1, clock.clone(), options).expect("simulated engines");
        for (node, engine) in cluster.engines().iter().enumerate() {
            for index in 0..CONTAINERS_PER_NODE {
                fill(&**engine, node, index).await;
            }
        }
        cluster
    });
    let names: Vec<String> = cluster
        .engines()
        .iter()
        .map(|engine| format!("{}:1", engine.name()))
        .collect();
    let url = format!("nodes://{}", names.join(","));
    let discovery = open(&url, &DiscoveryOptions::new(clock)).expect("a fixed list");
    report.progress("list-1000: starting the plane");
    let served = {
        let _entered = runtime.enter();
        Served::start(discovery, Arc::new(cluster), NODES, PathBuf::new())
    };

    let client = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    client.expect("a runtime").block_on(async {
        let ours_client = Client::new(&served.socket);
        let answer = ours_client.get("/containers/json").await;
        let listed: Vec<serde_json::Value> = serde_json::from_slice(&answer).expect("a list");
        assert_eq!(
            listed.len(),
            NODES * CONTAINERS_PER_NODE,
            "all containers are listed"
        );
        let directory = tempfile::tempdir().expect("a temporary folder");
        let socket = directory.path().join("bare.sock");
        bare_server(&socket, answer);
        let peer_client = Client::new(&socket);
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for round in 0..arguments.rounds(10) {
            report.progress(&format!("list-1000: round {}", round + 1));
            ours.push(rate(&ours_client).await);
            peer.push(rate(&peer_client).await);
        }
        report.add(&Measurement {
            case: "list-1000",
            ours: median(&mut ours),
            peer: median(&mut peer),
            peer_name: "a bare server, same bytes",
            unit: "1/s",
            bar: "at least 500/s",
        });
    });
    served.stop();
}

async fn fill(engine: &dyn Engine, node: usize, index: usize) {
    let name = WorkloadName::new(format!("w-{node}-{index}")).expect("a valid name");
    let spec = WorkloadSpec::new("nginx:1.27")
        .with_name(name)
        .with_label("com.example.service", format!("s{index}"))
        .with_label("com.example.team", "web")
        .with_command(["sleep", "100000"]);
    let id = engine.create(&spec).await.expect("it is made");
    engine.start(&id).await.expect("it starts");
}

/// Sends the same bytes without looking at anything, on one thread: what HTTP alone costs.
fn bare_server(socket: &Path, answer: Bytes) {
    let socket = socket.to_owned();
    let (ready, is_ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::UnixListener::bind(socket).expect("a socket");
            ready.send(()).expect("somebody waits");
            let app = Router::new().route("/containers/json", get(async move || answer.clone()));
            axum::serve(listener, app).await.expect("it serves");
        });
    });
    is_ready.recv().expect("the server starts");
}

/// Requests per second, one after the other on one connection.
async fn rate(client: &Client) -> f64 {
    const REQUESTS: u32 = 300;
    let start = Instant::now();
    for _ in 0..REQUESTS {
        client.get("/containers/json").await;
    }
    f64::from(REQUESTS) / start.elapsed().as_secs_f64()
}
