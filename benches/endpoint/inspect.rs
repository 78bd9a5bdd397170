//! `inspect`

use crate::{
    client::{Client, p50},
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
        let (through, direct, path) = (&through, &direct, &path);
        let measure = async |client: &Client, count| {
            p50(count, || async { drop(client.get(path).await) }).await
        };
        report.progress("inspect: warming up");
        measure(through, 50).await;
        measure(direct, 50).await;
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for round in 0..arguments.rounds(15) {
            report.progress(&format!("inspect: round {}", round + 1));
            ours.push(measure(through, 200).await);
            peer.push(measure(direct, 200).await);
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
