//! `exec-echo`

use longshore::core::BoxByteStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

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
        let (mut near, mut far) = (open(&through, &id).await, open(&direct, &id).await);
        report.progress("exec-echo: warming up");
        echo(&mut near, 100).await;
        echo(&mut far, 100).await;
        let (mut ours, mut peer) = (Vec::new(), Vec::new());
        for round in 0..arguments.rounds(15) {
            report.progress(&format!("exec-echo: round {}", round + 1));
            ours.push(echo(&mut near, 500).await);
            peer.push(echo(&mut far, 500).await);
        }
        report.add(&Measurement {
            case: "exec-echo",
            ours: median(&mut ours),
            peer: median(&mut peer),
            peer_name: "the engine directly, p50",
            unit: "us",
            bar: "ratio at most 1.5",
        });
    });
}

async fn open(client: &Client, container: &str) -> BoxByteStream {
    let body = serde_json::json!({
        "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": false,
        "Cmd": ["cat"],
    });
    let created = client
        .post(&format!("/containers/{container}/exec"), &body)
        .await;
    client
        .start_exec(created["Id"].as_str().expect("an id"))
        .await
}

/// One byte there and back, framed on the way back; p50 in microseconds.
async fn echo(stream: &mut BoxByteStream, count: usize) -> f64 {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let start = std::time::Instant::now();
        stream.write_all(b"x").await.expect("it is written");
        stream.flush().await.expect("it is sent");
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.expect("it comes back");
        times.push(start.elapsed().as_secs_f64() * 1e6);
        assert_eq!(frame, [1, 0, 0, 0, 0, 0, 0, 1, b'x']);
    }
    median(&mut times)
}
