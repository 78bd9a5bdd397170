//! `recording-tty`, `recording-raw`

use std::path::{Path, PathBuf};

use longshore::exec::record::RecordLimits;
use tokio::runtime::Runtime;

use crate::{
    gateway,
    line::{Program, Scene},
    report::{Arguments, Measurement, Report, median},
    stdout::{ON_TERMINAL, TEXT, flow},
};

/// The same text through two gateways, of which one keeps records on disk, in turns. Who goes first
/// changes from round to round. What is told is the middle of all rounds.
pub fn run(
    runtime: &Runtime,
    scene: &Scene,
    engine: &Path,
    arguments: &Arguments,
    report: &Report,
) {
    let records = tempfile::tempdir().expect("a temporary folder");
    let limits = RecordLimits::default();
    let recorded = gateway::recording(engine, records.path(), limits);
    let gateways = [scene.gateway.clone(), recorded.socket.clone()];
    for (case, argv, tty) in [
        ("recording-raw", TEXT, false),
        ("recording-tty", ON_TERMINAL, true),
    ] {
        if !arguments.wants(case) {
            continue;
        }
        let program = Program { argv, tty };
        let mut seen = [vec![], vec![]];
        for round in 0..arguments.rounds(15) {
            report.progress(&format!("{case}: round {}", round + 1));
            for turn in 0..2 {
                let which = (round + turn) % 2;
                let flow = through(scene, &gateways[which], program);
                seen[which].push(runtime.block_on(flow));
            }
        }
        let [mut without, mut with] = seen;
        report.add(&Measurement {
            case,
            ours: median(&mut with),
            peer: median(&mut without),
            peer_name: "without a record",
            unit: "MiB/s",
            bar: "ratio at least 0.95",
        });
    }
    recorded.stop();
}

async fn through(scene: &Scene, gateway: &Path, program: Program) -> f64 {
    let scene = Scene {
        gateway: PathBuf::from(gateway),
        ..scene.clone()
    };
    flow(scene.through(program).await).await
}
