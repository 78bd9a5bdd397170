//! `stdout-tty`, `stdout-raw`, and both with a stub

use std::time::Instant;

use crate::{
    line::{Line, Program, Scene},
    peers::beside,
    report::{Arguments, Report, median},
};

const BYTES: usize = 32 << 20;
pub const TEXT: &[&str] = &[
    "sh",
    "-c",
    "read line; yes 'the quick brown fox jumps over the lazy dog, again and again' | head -c 33554432",
];
pub const ON_TERMINAL: &[&str] = &[
    "sh",
    "-c",
    "stty raw -echo; read line; yes 'the quick brown fox jumps over the lazy dog, again and again' | head -c 33554432",
];

pub async fn run(
    case: &'static str,
    tty: bool,
    scene: &Scene,
    arguments: &Arguments,
    report: &Report,
) {
    let argv = if tty { ON_TERMINAL } else { TEXT };
    let program = Program { argv, tty };
    let (mut ours, mut peer, mut typed, mut page) = (vec![], vec![], vec![], vec![]);
    let ttyd = scene.ttyd(program).await;
    for round in 0..arguments.rounds(7) {
        report.progress(&format!("{case}: round {}", round + 1));
        ours.push(flow(scene.through(program).await).await);
        peer.push(flow(scene.direct.open(&scene.container, program).await).await);
        typed.push(flow(scene.client.open(&scene.container, program)).await);
        if let Some(ttyd) = &ttyd {
            page.push(flow(ttyd.open().await).await);
        }
    }
    beside(
        report,
        (case, median(&mut ours), "MiB/s"),
        &[
            (
                median(&mut peer),
                "the engine directly",
                "ratio at least 0.9",
            ),
            (median(&mut typed), "docker exec", "none"),
            (median(&mut page), "ttyd, docker exec", "ratio at least 1"),
        ],
    );
}

/// MiB per second.
pub async fn flow(mut line: impl Line) -> f64 {
    // Until `stty` has had its turn.
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    line.put(b"\n").await;
    let (mut left, mut start) = (BYTES, None);
    let mut unsettled = 0;
    while left > 0 {
        let piece = line.get().await;
        assert!(!piece.is_empty(), "{left} bytes are missing");
        let start = *start.get_or_insert_with(Instant::now);
        left = left.saturating_sub(piece.len());
        unsettled += piece.len();
        if unsettled >= 16 << 10 {
            line.settle().await;
            unsettled = 0;
        }
        if left == 0 {
            return BYTES as f64 / start.elapsed().as_secs_f64() / f64::from(1 << 20);
        }
    }
    f64::NAN
}
