//! `open`, `open-stub`, `open-warm`

use std::time::{Duration, Instant};

use longshore::exec::DockerExec;

use crate::{
    line::{Line, Program, Scene},
    peers::beside,
    report::{Arguments, Report, median},
};

const HELLO: Program = Program {
    argv: &["sh", "-c", "echo hello; read line"],
    tty: true,
};

/// Beside all peers; the first is the API's own start of a command.
pub async fn run(case: &'static str, scene: &Scene, arguments: &Arguments, report: &Report) {
    let bar = "ratio at most 1.15";
    measure((case, bar), scene, arguments, report, async || {}).await;
}

/// Where a stub waits for each session. No other is begun while the next one is started.
pub async fn warm(scene: &Scene, waiting: &DockerExec, arguments: &Arguments, report: &Report) {
    // The first is let in by the engine.
    let mut first = scene.through(HELLO).await;
    first.expect(1).await;
    end(first).await;
    let case = ("open-warm", "ratio at most 0.1");
    measure(case, scene, arguments, report, async || {
        while waiting.waiting_stubs() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// `ready`: called before each is begun.
async fn measure(
    (case, bar): (&'static str, &'static str),
    scene: &Scene,
    arguments: &Arguments,
    report: &Report,
    ready: impl AsyncFn(),
) {
    let (mut ours, mut peer, mut typed, mut page) = (vec![], vec![], vec![], vec![]);
    let ttyd = scene.ttyd(HELLO).await;
    let rounds = arguments.rounds(60);
    for round in 0..rounds {
        if round % 10 == 0 {
            report.progress(&format!("{case}: {round} of {rounds}"));
        }
        ready().await;
        let start = Instant::now();
        let mut near = scene.through(HELLO).await;
        near.expect(1).await;
        ours.push(start.elapsed().as_secs_f64() * 1e3);
        end(near).await;
        ready().await;
        let start = Instant::now();
        let mut far = scene.direct.open(&scene.container, HELLO).await;
        far.expect(1).await;
        peer.push(start.elapsed().as_secs_f64() * 1e3);
        end(far).await;
        let start = Instant::now();
        let mut called = scene.client.open(&scene.container, HELLO);
        called.expect(1).await;
        typed.push(start.elapsed().as_secs_f64() * 1e3);
        end(called).await;
        if let Some(ttyd) = &ttyd {
            let start = Instant::now();
            let mut line = ttyd.open().await;
            line.expect(1).await;
            page.push(start.elapsed().as_secs_f64() * 1e3);
            end(line).await;
        }
    }
    beside(
        report,
        (case, median(&mut ours), "ms"),
        &[
            (median(&mut peer), "create, start, first byte", bar),
            (median(&mut typed), "docker exec, first byte", "none"),
            (median(&mut page), "ttyd, docker exec", "ratio at most 1"),
        ],
    );
}

/// Nothing of the session is left when the next one begins.
async fn end(mut line: impl Line) {
    line.put(b"\n").await;
    while !line.get().await.is_empty() {
        line.settle().await;
    }
}
