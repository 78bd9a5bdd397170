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
    let mut typed = scene.client.open(&scene.container, CAT);
    ready(&mut near).await;
    ready(&mut far).await;
    ready(&mut typed).await;
    report.progress(&format!("{case}: warming up"));
    in_turns(&mut near, &mut far, &mut typed, 100).await;
    let mut middles = [const { Vec::new() }; 3];
    let mut tails = [const { Vec::new() }; 3];
    for round in 0..arguments.rounds(15) {
        report.progress(&format!("{case}: round {}", round + 1));
        let times = in_turns(&mut near, &mut far, &mut typed, 400).await;
        for (mut times, (middles, tails)) in
            times.into_iter().zip(middles.iter_mut().zip(&mut tails))
        {
            middles.push(median(&mut times));
            // Sorted by the median.
            tails.push(times[times.len() * 99 / 100]);
        }
    }
    let [ours, direct, typed] = middles.map(|mut times| median(&mut times));
    let [ours_99, direct_99, _] = tails.map(|mut times| median(&mut times));
    let measured = [
        (
            ours,
            direct,
            "the engine directly, p50",
            match case {
                "echo-ws" => "ratio at most 1.4",
                _ => "ratio at most 2",
            },
        ),
        (
            ours_99,
            direct_99,
            "the engine directly, p99",
            "ratio at most 2",
        ),
        (ours, typed, "docker exec, p50", "none"),
    ];
    for (ours, peer, peer_name, bar) in measured {
        report.add(&Measurement {
            case,
            ours,
            peer,
            peer_name,
            unit: "us",
            bar,
        });
    }
}

/// So that all find the machine in the same state.
async fn in_turns(
    near: &mut impl Line,
    far: &mut impl Line,
    typed: &mut impl Line,
    count: usize,
) -> [Vec<f64>; 3] {
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..count {
        times[0].push(echo(near).await);
        times[1].push(echo(far).await);
        times[2].push(echo(typed).await);
    }
    times
}

async fn echo(line: &mut impl Line) -> f64 {
    let start = Instant::now();
    line.put(b"x").await;
    line.expect(1).await;
    let took = start.elapsed().as_secs_f64() * 1e6;
    line.settle().await;
    took
}
