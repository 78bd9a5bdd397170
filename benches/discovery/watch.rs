//! `etcd-watch-latency`

use std::time::Instant;

use futures::StreamExt;
use longshore::core::MembershipEvent;
use longshore_lab::Store;

use crate::{
    bare::{self, Bare, base64},
    nodes::{discovery, node},
    report::{Arguments, Measurement, Report, median},
};

pub async fn run(store: &Store, arguments: &Arguments, report: &Report) {
    let address = store.addresses()[0];
    let client = discovery(address, "watch-ours");
    let mut stream = client.watch();
    assert!(matches!(
        stream.next().await,
        Some(MembershipEvent::Reset(_))
    ));
    let mut watcher = Bare::connect(address).await;
    watcher.watch("watch-peer/").await;
    let mut writer = Bare::connect(address).await;
    let mut number = 0;
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    for round in 0..=arguments.rounds(10) {
        report.progress(&match round {
            0 => "etcd-watch-latency: warming up".to_owned(),
            _ => format!("etcd-watch-latency: round {round}"),
        });
        let (mut near, mut far) = (Vec::new(), Vec::new());
        for _ in 0..200 {
            number += 1;
            let value = node(number).endpoint.to_string();
            // In turns: each put is awaited by one watcher, while its answer is on its way too.
            let key = format!("watch-ours/docker/swarm/nodes/{value}");
            let start = Instant::now();
            let (event, ()) = futures::join!(
                async {
                    let event = stream.next().await;
                    (event, start.elapsed())
                },
                bare::put(&mut writer, &key, &value)
            );
            let (event, took) = event;
            assert!(
                matches!(event, Some(MembershipEvent::Added(_))),
                "{event:?}"
            );
            near.push(took.as_secs_f64() * 1e6);

            let key = format!("watch-peer/{value}");
            let text = base64(key.as_bytes());
            let start = Instant::now();
            let (took, ()) = futures::join!(
                async {
                    watcher.line_with(&text).await;
                    start.elapsed()
                },
                bare::put(&mut writer, &key, &value)
            );
            far.push(took.as_secs_f64() * 1e6);
        }
        if round > 0 {
            ours.push(median(&mut near));
            peer.push(median(&mut far));
        }
    }
    report.add(&Measurement {
        case: "etcd-watch-latency",
        ours: median(&mut ours),
        peer: median(&mut peer),
        peer_name: "a bare watch, p50",
        unit: "us",
        bar: "ratio at most 1.2",
    });
}
