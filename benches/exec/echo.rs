//! `echo-ws`, `echo-tunnel`, `echo-stub`

use std::time::Instant;

use crate::{
    line::{Line, Program, Scene, ready},
    peers::beside,
    report::{Arguments, Report, median},
};

const CAT: Program = Program {
    argv: &["sh", "-c", "stty raw -echo; printf READY; exec cat"],
    tty: true,
};

pub async fn run(case: &'static str, scene: &Scene, arguments: &Arguments, report: &Report) {
    let mut near = scene.through(CAT).await;
    let mut far = scene.direct.open(&scene.container, CAT).await;
    let mut typed = scene.client.open(&scene.container, CAT);
    let ttyd = scene.ttyd(CAT).await;
    let mut page = match &ttyd {
        Some(ttyd) => Some(ttyd.open().await),
        None => None,
    };
    ready(&mut near).await;
    ready(&mut far).await;
    ready(&mut typed).await;
    if let Some(page) = &mut page {
        ready(page).await;
    }
    let mut in_turns = async |count: usize| {
        // So that all find the machine in the same state.
        let mut times = [const { Vec::new() }; 4];
        for _ in 0..count {
            times[0].push(echo(&mut near).await);
            times[1].push(echo(&mut far).await);
            times[2].push(echo(&mut typed).await);
            if let Some(page) = &mut page {
                times[3].push(echo(page).await);
            }
        }
        times
    };
    report.progress(&format!("{case}: warming up"));
    in_turns(100).await;
    let mut middles = [const { Vec::new() }; 4];
    let mut tails = [const { Vec::new() }; 4];
    for round in 0..arguments.rounds(15) {
        report.progress(&format!("{case}: round {}", round + 1));
        for (at, mut times) in in_turns(400).await.into_iter().enumerate() {
            middles[at].push(median(&mut times));
            // Sorted by the median.
            tails[at].extend(times.get(times.len() * 99 / 100));
        }
    }
    let [ours, direct, typed, page] = middles.map(|mut times| median(&mut times));
    let [ours_99, direct_99, _, page_99] = tails.map(|mut times| median(&mut times));
    let bar = match case {
        "echo-ws" => "ratio at most 1.4",
        _ => "ratio at most 2",
    };
    beside(
        report,
        (case, ours, "us"),
        &[
            (direct, "the engine directly, p50", bar),
            (typed, "docker exec, p50", "none"),
            (page, "ttyd, docker exec, p50", "ratio at most 0.8"),
        ],
    );
    beside(
        report,
        (case, ours_99, "us"),
        &[
            (direct_99, "the engine directly, p99", "ratio at most 2"),
            (page_99, "ttyd, docker exec, p99", "ratio at most 1"),
        ],
    );
}

async fn echo(line: &mut impl Line) -> f64 {
    let start = Instant::now();
    line.put(b"x").await;
    line.expect(1).await;
    let took = start.elapsed().as_secs_f64() * 1e6;
    line.settle().await;
    took
}
