//! `inspect`

use std::time::Instant;

use crate::{
    client::Client,
    plane::Served,
    report::{Arguments, Measurement, Report, median},
};

pub fn run(served: &Served, arguments: &Arguments, report: &Report) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let (through, direct) = (Client::new(&served.socket), Client::new(&served.engine));
        let id = through.container().await;
        let path = format!("/containers/{id}/json");
        report.progress("inspect: warming up");
        pairs(&through, &direct, &path, 100).await;
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for round in 0..arguments.rounds(15) {
            report.progress(&format!("inspect: round {}", round + 1));
            let (near, far) = pairs(&through, &direct, &path, 200).await;
            ours.push(near);
            peer.push(far);
        }
        report.add(&Measurement {
            case: "inspect",
            ours: median(&mut ours),
            peer: median(&mut peer),
            peer_name: "the engine directly, p50",
            unit: "us",
            bar: "ratio at most 1.5",
        });
    });
}

/// Asks one after the other, in turns: so both find the engine in the same state, which answers
/// faster the shorter its last rest was. The p50 of each, in microseconds.
async fn pairs(through: &Client, direct: &Client, path: &str, count: usize) -> (f64, f64) {
    let (mut near, mut far) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        near.push(timed(through, path).await);
        far.push(timed(direct, path).await);
    }
    (median(&mut near), median(&mut far))
}

async fn timed(client: &Client, path: &str) -> f64 {
    let start = Instant::now();
    client.get(path).await;
    start.elapsed().as_secs_f64() * 1e6
}
