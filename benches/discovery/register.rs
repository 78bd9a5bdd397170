//! `etcd-register-10k`

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use longshore::Discovery;
use longshore_lab::Store;
use tokio::{runtime::Runtime, task::JoinSet};

use crate::{
    bare::{self, Bare},
    nodes::{NODES, discovery, node},
    report::{Arguments, Measurement, Report, median},
};

const AT_ONCE: usize = 64;
/// Ours and the peer's go in turns of so many nodes, so that both meet the same store.
const TURN: usize = 1000;

pub fn run(runtime: &Runtime, store: &mut Store, arguments: &Arguments, report: &Report) {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..arguments.rounds(5) {
        report.progress(&format!("etcd-register-10k: round {}", round + 1));
        // An empty store for each round.
        store.member(0).kill();
        store.member(0).wipe().expect("wiped");
        store.member(0).restart().expect("restarted");
        let address = store.addresses()[0];
        let (mut near, mut far) = (0.0, 0.0);
        runtime.block_on(async {
            let client = discovery(address, "ours");
            // Connections are opened before the clock runs, on both sides.
            ours_turn(&client, NODES + 1..NODES + 1 + AT_ONCE).await;
            let mut bares = Vec::new();
            for _ in 0..AT_ONCE {
                bares.push(connected(address).await);
            }
            for turn in 0..NODES / TURN {
                let numbers = turn * TURN..(turn + 1) * TURN;
                if (turn + round) % 2 == 0 {
                    near += ours_turn(&client, numbers.clone()).await;
                    far += peer_turn(&mut bares, numbers).await;
                } else {
                    far += peer_turn(&mut bares, numbers.clone()).await;
                    near += ours_turn(&client, numbers).await;
                }
            }
        });
        ours.push(near);
        peer.push(far);
    }
    report.add(&Measurement {
        case: "etcd-register-10k",
        ours: median(&mut ours),
        peer: median(&mut peer),
        peer_name: "the same requests by hand",
        unit: "s",
        bar: "ratio at most 1.3",
    });
}

async fn connected(address: SocketAddr) -> Bare {
    let mut client = Bare::connect(address).await;
    bare::put(&mut client, "warm", "up").await;
    client
}

/// Takes numbers one by one until there are no more.
struct Numbers {
    next: AtomicUsize,
    end: usize,
}

impl Numbers {
    fn new(numbers: std::ops::Range<usize>) -> Arc<Self> {
        Arc::new(Self {
            next: AtomicUsize::new(numbers.start),
            end: numbers.end,
        })
    }

    fn take(&self) -> Option<usize> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.end).then_some(number)
    }
}

async fn ours_turn(client: &Arc<dyn Discovery>, numbers: std::ops::Range<usize>) -> f64 {
    let numbers = Numbers::new(numbers);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (client, numbers) = (client.clone(), numbers.clone());
        tasks.spawn(async move {
            while let Some(number) = numbers.take() {
                let ttl = Duration::from_secs(3600);
                client
                    .register(&node(number), ttl)
                    .await
                    .expect("registered");
            }
        });
    }
    tasks.join_all().await;
    start.elapsed().as_secs_f64()
}

async fn peer_turn(bares: &mut Vec<Bare>, numbers: std::ops::Range<usize>) -> f64 {
    let numbers = Numbers::new(numbers);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for mut client in bares.drain(..) {
        let numbers = numbers.clone();
        tasks.spawn(async move {
            while let Some(number) = numbers.take() {
                let address = node(number).endpoint.to_string();
                let key = format!("peer/docker/swarm/nodes/{address}");
                bare::register(&mut client, &key, &address).await;
            }
            client
        });
    }
    *bares = tasks.join_all().await;
    start.elapsed().as_secs_f64()
}
