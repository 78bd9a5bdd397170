//! `open`, `open-stub`

use std::time::Instant;

use crate::{
    line::{Line, Program, Scene},
    report::{Arguments, Measurement, Report, median},
};

const HELLO: Program = Program {
    argv: &["sh", "-c", "echo hello; read line"],
    tty: true,
};

pub async fn run(case: &'static str, scene: &Scene, arguments: &Arguments, report: &Report) {
    let (mut ours, mut peer) = (Vec::new(), Vec::new());
    let rounds = arguments.rounds(60);
    for round in 0..rounds {
        if round % 10 == 0 {
            report.progress(&format!("{case}: {round} of {rounds}"));
        }
        let start = Instant::now();
        let mut near = scene.through(HELLO).await;
        near.expect(1).await;
        ours.push(start.elapsed().as_secs_f64() * 1e3);
        end(near).await;
        let start = Instant::now();
        let mut far = scene.direct.open(&scene.container, HELLO).await;
        far.expect(1).await;
        peer.push(start.elapsed().as_secs_f64() * 1e3);
        end(far).await;
    }
    report.add(&Measurement {
        case,
        ours: median(&mut ours),
        peer: median(&mut peer),
        peer_name: "create, start, first byte",
        unit: "ms",
        bar: "ratio at most 1.15",
    });
}

/// Nothing of the session is left when the next one begins.
async fn end(mut line: impl Line) {
    line.put(b"\n").await;
    while !line.get().await.is_empty() {
        line.settle().await;
    }
}
