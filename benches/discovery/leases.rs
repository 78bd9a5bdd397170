//! `lease-requests`

use std::{net::SocketAddr, time::Duration};

use futures::{StreamExt, stream};
use longshore_lab::Store;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    nodes::{NODES, discovery, node},
    report::{Measurement, Report},
};

/// One period of a third of the TTL: every node renews once.
pub async fn run(store: &Store, report: &Report) {
    let address = store.addresses()[0];
    let client = discovery(address, "leases");
    report.progress("lease-requests: registering 10,000 nodes");
    let ttl = Duration::from_secs(3600);
    let registrations: Vec<_> = stream::iter(0..NODES)
        .map(|number| {
            let client = client.clone();
            async move {
                client
                    .register(&node(number), ttl)
                    .await
                    .expect("registered")
            }
        })
        .buffer_unordered(64)
        .collect()
        .await;
    report.progress("lease-requests: renewing each once");
    let before = requests(address).await;
    stream::iter(&registrations)
        .for_each_concurrent(64, |registration| {
            let client = client.clone();
            async move { drop(client.renew(registration).await.expect("renewed")) }
        })
        .await;
    let counted = requests(address).await - before;
    report.add(&Measurement {
        case: "lease-requests",
        ours: counted,
        peer: NODES as f64,
        peer_name: "one per node and TTL/3",
        unit: "x",
        bar: "ratio at most 1",
    });
}

/// How many calls etcd has begun to answer, by its own count.
async fn requests(address: SocketAddr) -> f64 {
    let mut stream = TcpStream::connect(address).await.expect("etcd accepts");
    let request = "GET /metrics HTTP/1.0\r\nHost: etcd\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    let counts: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with("grpc_server_started_total"))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse().ok())
        .collect();
    assert!(!counts.is_empty(), "etcd counts its calls");
    counts.iter().sum()
}
