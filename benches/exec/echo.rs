//! `echo-ws`, `echo-tunnel`, `echo-stub`

use std::time::Instant;

use crate::{
    line::{Line, Program, Scene, ready},
    report::{Arguments, Measurement, Report, median},
};

const CAT: Program = Program {
    argv: &["sh", "-c", "stty raw -echo; printf READY; exec cat"],
    tty: true,
};

pub async fn run(case: &'static str, scene: &Scene, arguments: &Arguments, report: &Report) {
    let mut near = scene.through(CAT).await;
    let mut far = scene.direct.open(&scene.container, CAT).await;
    ready(&mut near).await;
    ready(&mut far).await;
    report.progress(&format!("{case}: warming up"));
    pairs(&mut near, &mut far, 100).await;
    let (mut ours, mut peer, mut ours_99, mut peer_99) = (vec![], vec![], vec![], vec![]);
    for round in 0..arguments.rounds(15) {
        report.progress(&format!("{case}: round {}", round + 1));
        let (mut a, mut b) = pairs(&mut near, &mut far, 400).await;
        ours.push(median(&mut a));
        peer.push(median(&mut b));
        // Sorted by the median.
        ours_99.push(a[a.len() * 99 / 100]);
        peer_99.push(b[b.len() * 99 / 100]);
    }
    let (p99, of) = (median(&mut ours_99), median(&mut peer_99));
    report.progress(&format!(
        "{case}: p99 {p99:.0} us beside {of:.0} us, ratio {:.2}",
        p99 / of
    ));
    report.add(&Measurement {
        case,
        ours: median(&mut ours),
        peer: median(&mut peer),
        peer_name: "the engine directly, p50",
        unit: "us",
        bar: match case {
            "echo-ws" => "ratio at most 1.4, p99 at most 2",
            _ => "ratio at most 2, p99 at most 2",
        },
    });
}

/// In turns, so that both find the machine in the same state.
async fn pairs(near: &mut impl Line, far: &mut impl Line, count: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut ours, mut peer) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for _ in 0..count {
        ours.push(echo(near).await);
        peer.push(echo(far).await);
    }
    (ours, peer)
}

async fn echo(line: &mut impl Line) -> f64 {
    let start = Instant::now();
    line.put(b"x").await;
    line.expect(1).await;
    let took = start.elapsed().as_secs_f64() * 1e6;
    line.settle().await;
    took
}
