//! Many sessions of mixed load for a while: nothing grows. Twenty seconds unless
//! `LONGSHORE_SOAK_SECONDS` says how long; `cargo xtask soak exec` does ten minutes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use longshore::{
    core::{OsRandom, Shutdown, SystemClock},
    exec::{
        DockerExec,
        access::{AnybodyMay, StaticDirectory},
        client::{ClientOptions, RemoteExec},
        gateway::{Gateway, GatewayOptions},
        session::{HubLimits, SessionHub, SessionOptions},
    },
};

use crate::{
    drops::runtime,
    figures::Figures,
    load::{Load, Loopback, Times},
    survivors,
    world::{Reports, World, gateway, kinds, stub},
};

#[test]
fn two_hundred_sessions_of_mixed_load_leak_nothing() {
    let Some(world) = World::start("lab exec: soak") else {
        return;
    };
    let seconds = std::env::var("LONGSHORE_SOAK_SECONDS");
    let seconds = seconds.map_or(20, |text| text.parse().expect("whole seconds"));
    let runtime = runtime();
    // Entered by bash, as another user, and where nothing can be written.
    let classes = [0, 2, 3].map(|at| world.classes[at].container.clone());
    let shutdown = Shutdown::new();
    let reports = Reports::default();
    let way = |exec| {
        let _entered = runtime.enter();
        Way::over(reports.hear(exec), &shutdown)
    };
    let by_stub = Arc::new(way(gateway(world.socket()).with_stub(stub())));
    let beside = || Arc::new(way(gateway(world.socket())));
    let (active, most, sessions) = (
        AtomicUsize::new(0),
        AtomicUsize::new(0),
        AtomicUsize::new(0),
    );
    let times = Times::default();
    let work = |ways: [Arc<Way>; 2], worker: usize, until: Instant| {
        let (classes, times) = (&classes, &times);
        let (active, most, sessions) = (&active, &most, &sessions);
        async move {
            // Not all at once: an engine starts a few a second.
            tokio::time::sleep(Duration::from_millis(60) * worker as u32).await;
            let mut round = worker;
            loop {
                let load = Load::ALL[round % Load::ALL.len()];
                let way = &ways[round / Load::ALL.len() % ways.len()];
                let container = &classes[round % classes.len()];
                let remote = match load {
                    Load::Cut => &way.cut,
                    _ => &way.steady,
                };
                most.fetch_max(
                    active.fetch_add(1, Ordering::Relaxed) + 1,
                    Ordering::Relaxed,
                );
                load.run(remote, container, times).await;
                active.fetch_sub(1, Ordering::Relaxed);
                sessions.fetch_add(1, Ordering::Relaxed);
                round += 7;
                if Instant::now() >= until {
                    return;
                }
            }
        }
    };
    // What is made once, and what allocators keep of the first peaks, is no leak. Lifelines stay for a
    // minute, but not without their backend: the way beside has another one behind this.
    let warm = Duration::from_secs(seconds.clamp(20, 120));
    let ways = [Arc::clone(&by_stub), beside()];
    runtime.block_on(loads(
        &|worker, until| work(ways.clone(), worker, until),
        warm,
    ));
    drop(ways);
    let ways = [by_stub, beside()];
    let before = runtime.block_on(Figures::at_rest(&world, &classes, None));
    println!("MEASURED at rest after {warm:?} of it: {before}");
    let started = Instant::now();
    sessions.store(0, Ordering::Relaxed);
    runtime.block_on(async {
        let work = |worker, until| work(ways.clone(), worker, until);
        let loads = loads(&work, Duration::from_secs(seconds));
        let watching = async {
            loop {
                tokio::time::sleep(Duration::from_secs(60)).await;
                let now = Figures::now(&world, &classes).await;
                println!(
                    "MEASURED under load after {:?}: {now}; {times}",
                    started.elapsed()
                );
            }
        };
        tokio::select! {
            () = loads => {}
            () = watching => {}
        }
    });
    let after = runtime.block_on(Figures::at_rest(&world, &classes, Some(&before)));
    println!(
        "MEASURED at rest after {} sessions, at most {} at once, in {:.0} s: {after}; {times}",
        sessions.load(Ordering::Relaxed),
        most.load(Ordering::Relaxed),
        started.elapsed().as_secs_f64()
    );
    assert!(most.load(Ordering::Relaxed) >= SESSIONS * 9 / 10);
    let reports = reports.take();
    println!("MEASURED reports: {:?}", kinds(&reports));
    let unclean: Vec<_> = reports.iter().filter(|report| !report.is_clean()).collect();
    let lines = survivors::marked_lines(world.host());
    let grown = after.grown_since(&before);
    assert!(
        grown.is_empty() && unclean.is_empty(),
        "{grown:?}: {before} and then {after}; {lines:?}; {unclean:?}"
    );
    drop(ways);
    shutdown.trigger();
    runtime.shutdown_background();
    world.lab.stop().expect("a clean end");
}

/// Everybody's sessions, one after another until then.
async fn loads<F: Future<Output = ()>>(work: &impl Fn(usize, Instant) -> F, span: Duration) {
    let until = Instant::now() + span;
    join_all((0..SESSIONS).map(|worker| work(worker, until))).await;
}

/// A gateway, its clients, and the engine behind it.
struct Way {
    steady: RemoteExec,
    /// The same over connections that break.
    cut: RemoteExec,
}

impl Way {
    fn over(exec: DockerExec, shutdown: &Shutdown) -> Self {
        let clock = Arc::new(SystemClock::new());
        let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone())
            .with_limits(HubLimits::default().with_sessions(4 * SESSIONS, 4 * SESSIONS));
        let mut session = SessionOptions::default();
        // Long enough to come back, and short enough to see what is left.
        session.grace = Duration::from_secs(20);
        let directory = StaticDirectory::new().with_engine(Arc::new(exec));
        let gateway = Gateway::new(hub, Arc::new(directory), clock.clone(), shutdown.clone())
            .with_access(Arc::new(AnybodyMay))
            .with_options(GatewayOptions::default().with_session(session));
        let remote = |breaks| {
            let connector = Arc::new(Loopback::new(gateway.clone(), breaks));
            let options = ClientOptions::default();
            RemoteExec::new(connector, options, clock.clone(), Arc::new(OsRandom))
        };
        Self {
            steady: remote(false),
            cut: remote(true),
        }
    }
}

const SESSIONS: usize = 200;
