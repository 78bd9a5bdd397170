//! Sessions whose client goes away.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;

use longshore::{
    ExecSession,
    exec::{CleanupOutcome, CleanupReport, CleanupRung, DockerExec},
};

use crate::{
    survivors,
    tree::{self, Shedding},
    tunnel::Ends,
    world::{Reports, World, gateway, kinds, plant, stub},
};

/// In waves: each starts its sessions, waits until the trees stand, and lets all go at once. Of three
/// waves one goes directly, one through a tunnel, and with the third the whole gateway goes, with
/// every connection and without a word.
#[test]
fn a_thousand_dropped_sessions_leave_nothing() {
    let Some(world) = World::start("lab exec: 1,000 drops") else {
        return;
    };
    let started = Instant::now();
    let reports = Reports::default();
    let mut times = [const { Vec::new() }; 3];
    let (mut place, mut spoken) = (0, 0);
    for way in Way::ALL.into_iter().cycle() {
        let count = WAVE.min(DROPS - place);
        if count == 0 {
            break;
        }
        let wave = Wave {
            world: &world,
            numbers: (place..place + count)
                .map(|place| survivors::number(world.lab.id(), place))
                .collect(),
        };
        let runtime = runtime();
        let gateway = |connector| reports.hear(gateway(connector)).with_stub(stub());
        times[way as usize].extend(match way {
            Way::Directly => runtime.block_on(wave.dropped(&gateway(world.socket()))),
            Way::Tunnel => {
                let ends = Ends::new(world.lab.gateway()).expect("certificates");
                ends.run(world.host(), &runtime, |connector| {
                    runtime.block_on(async {
                        let times = wave.dropped(&gateway(connector)).await;
                        // They are told through the tunnel, too.
                        reports.wait_for(spoken + count).await;
                        times
                    })
                })
            }
            Way::Vanishing => {
                let sessions = runtime.block_on(wave.plant(&gateway(world.socket())));
                let dropped = Instant::now();
                std::mem::forget(sessions);
                runtime.shutdown_background();
                self::runtime().block_on(wave.vanish(dropped))
            }
        });
        if way != Way::Vanishing {
            spoken += count;
            self::runtime().block_on(reports.wait_for(spoken));
        }
        place += count;
    }
    let kinds = kinds(&reports.take());
    println!(
        "MEASURED {DROPS} drops took {:.0} s; reports: {kinds:?}",
        started.elapsed().as_secs_f64()
    );
    let [directly, tunnel, vanished] = times;
    assert_eq!(directly.len() + tunnel.len() + vanished.len(), DROPS);
    survivors::tell("dropped sessions", directly);
    survivors::tell("dropped sessions, through a tunnel", tunnel);
    survivors::tell("sessions whose gateway vanished", vanished);
    // Seen by the engine as well, and by the stub alone.
    assert_eq!(kinds.get("Clean by [Stub]"), Some(&spoken), "{kinds:?}");
    assert_eq!(survivors::marked(world.host()), 0);
    world.lab.stop().expect("a clean end");
}

/// How sessions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Directly,
    Tunnel,
    Vanishing,
}

impl Way {
    const ALL: [Self; 3] = [Self::Directly, Self::Tunnel, Self::Vanishing];
}

/// Trees that are let go at a time.
struct Wave<'a> {
    world: &'a World,
    numbers: BTreeSet<u64>,
}

impl Wave<'_> {
    /// Starts them, in the three classes, with and without terminals.
    async fn plant(&self, gateway: &DockerExec) -> Vec<Arc<dyn ExecSession>> {
        let classes = &self.world.classes[..3];
        let planting = self.numbers.iter().enumerate().map(|(index, number)| {
            let class = &classes[index % classes.len()];
            plant(
                gateway,
                class,
                *number,
                index % 2 == 0,
                Shedding::Everything,
            )
        });
        let sessions = join_all(planting).await;
        let standing = survivors::count(&self.numbers);
        for number in &self.numbers {
            let size = standing.get(number).copied().unwrap_or_default();
            assert!(size >= tree::SIZE, "tree {number} has {size} processes");
        }
        sessions
    }

    async fn dropped(&self, gateway: &DockerExec) -> Vec<Duration> {
        let sessions = self.plant(gateway).await;
        let dropped = Instant::now();
        drop(sessions);
        self.vanish(dropped).await
    }

    async fn vanish(&self, dropped: Instant) -> Vec<Duration> {
        survivors::vanish(&self.numbers, dropped, LIMIT).await
    }
}

/// The same without a stub: a shell beside the session, in the container or in a helper container.
/// Orphans that shed everything are beyond them; they are named.
#[test]
fn without_a_stub_what_can_be_known_ends_and_what_can_not_is_named() {
    let Some(world) = World::start("lab exec: lifelines and sidecars") else {
        return;
    };
    let reports = Reports::default();
    let runtime = runtime();
    // bash, no shell, read-only, non-root, and dash.
    let classes = [0, 1, 2, 3, 6].map(|at| &world.classes[at]);
    for (wave, shedding) in [
        Shedding::Something,
        Shedding::Something,
        Shedding::Everything,
    ]
    .into_iter()
    .enumerate()
    {
        let numbers: BTreeSet<u64> = (0..classes.len() * 2)
            .map(|place| survivors::number(world.lab.id(), wave * 100 + place))
            .collect();
        runtime.block_on(async {
            let gateway = reports
                .hear(gateway(world.socket()))
                .with_sidecar_image("bash:lab");
            let planting = numbers.iter().enumerate().map(|(index, number)| {
                let class = classes[index % classes.len()];
                plant(&gateway, class, *number, index < classes.len(), shedding)
            });
            let sessions = join_all(planting).await;
            let dropped = Instant::now();
            drop(sessions);
            if shedding == Shedding::Something {
                let times = survivors::vanish(&numbers, dropped, LIMIT).await;
                let times = times.into_iter().enumerate();
                let (helpers, lifelines): (Vec<_>, Vec<_>) =
                    times.partition(|(index, _)| index % classes.len() == 1);
                let times = |of: Vec<(usize, Duration)>| of.into_iter().map(|(_, time)| time);
                survivors::tell("sessions beside lifelines", times(lifelines).collect());
                survivors::tell("sessions beside helpers", times(helpers).collect());
            }
            reports.wait_for(numbers.len()).await;
        });
        let reports = reports.take();
        let kinds = kinds(&reports);
        println!("MEASURED reports: {kinds:?}");
        assert!(
            reports
                .iter()
                .all(|report| report.outcome == CleanupOutcome::Clean),
            "{kinds:?}"
        );
        let by_lifelines =
            |report: &CleanupReport| report.rungs.first() == Some(&CleanupRung::Lifeline);
        assert!(reports.iter().all(by_lifelines), "{kinds:?}");
        let named = |report: &CleanupReport| {
            let mut names = report
                .unattributed
                .iter()
                .map(|process| process.name.as_str());
            // Or the one program that they all are.
            names.any(|name| ["sleep", "busybox"].contains(&name))
        };
        if shedding == Shedding::Everything {
            assert!(reports.iter().all(named), "{reports:?}");
            // One of each tree, and no more.
            let left = survivors::count(&numbers);
            assert!(left.values().all(|count| *count == 1), "{left:?}");
        }
    }
    assert_eq!(survivors::marked(world.host()), 0);
    world.lab.stop().expect("a clean end");
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}

const DROPS: usize = 1000;
const WAVE: usize = 24;
const LIMIT: Duration = Duration::from_secs(30);
