//! `memory-per-node`

use std::time::Duration;

use futures::{StreamExt, stream};
use longshore::{
    Discovery,
    core::{MembershipEvent, MembershipStream},
};
use longshore_lab::Store;

use crate::{
    nodes::{NODES, discovery, node},
    report::{Arguments, Measurement, Report, median},
};

/// How many watches share a measurement, so that what the allocator keeps counts little.
const WATCHES: usize = 8;

pub async fn run(store: &Store, arguments: &Arguments, report: &Report) {
    let client = discovery(store.addresses()[0], "memory");
    report.progress("memory-per-node: registering 10,000 nodes");
    stream::iter(0..NODES)
        .for_each_concurrent(64, |number| {
            let client = client.clone();
            async move {
                let ttl = Duration::from_secs(3600);
                client
                    .register(&node(number), ttl)
                    .await
                    .expect("registered");
            }
        })
        .await;
    // What reading takes for a moment is not what knowing takes.
    let mut kept = vec![watching(&*client).await];
    let mut found = Vec::new();
    for round in 0..arguments.rounds(5) {
        report.progress(&format!("memory-per-node: round {}", round + 1));
        let before = resident();
        for _ in 0..WATCHES {
            kept.push(watching(&*client).await);
        }
        let grown = resident().saturating_sub(before);
        found.push(grown as f64 / (WATCHES * NODES) as f64);
    }
    report.add(&Measurement {
        case: "memory-per-node",
        ours: median(&mut found),
        peer: 2048.0,
        peer_name: "the bar",
        unit: "bytes",
        bar: "ratio at most 1",
    });
}

/// A watch that has told its set and follows.
async fn watching(client: &dyn Discovery) -> MembershipStream {
    let mut watch = client.watch();
    match watch.next().await {
        Some(MembershipEvent::Reset(nodes)) => assert_eq!(nodes.len(), NODES),
        other => panic!("a watch began with {other:?}"),
    }
    watch
}

/// Resident memory of this process, in bytes: the second number of statm counts pages of 4 KiB.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<usize>().ok());
    pages.expect("a number of pages") * 4096
}
