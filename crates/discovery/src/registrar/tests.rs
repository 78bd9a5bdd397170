//! On paused time, over the cluster in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use longshore_core::{
    BoxFuture, SeededRandom, SystemClock,
    decorate::{Layer, LayerExt, Operation},
};

use super::*;
use crate::{MemoryDiscovery, StaticDiscovery};

/// Counts requests, and how close and how far apart they follow each other.
#[derive(Debug)]
struct Meter {
    clock: Arc<dyn Clock>,
    count: AtomicU64,
    last: AtomicU64,
    closest: AtomicU64,
    farthest: AtomicU64,
}

impl Meter {
    fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            count: AtomicU64::new(0),
            last: AtomicU64::new(0),
            closest: AtomicU64::new(u64::MAX),
            farthest: AtomicU64::new(0),
        }
    }
}

impl Layer for Meter {
    async fn call<'a, R, F>(&'a self, _: Operation<'a>, call: F) -> Result<R>
    where
        R: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<R>> + Send + Sync + 'a,
    {
        let now = self.clock.now().as_micros();
        let last = self.last.swap(now, Ordering::SeqCst);
        self.closest.fetch_min(now - last, Ordering::SeqCst);
        if last > 0 {
            self.farthest.fetch_max(now - last, Ordering::SeqCst);
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        call().await
    }
}

fn node(number: usize) -> Announcement {
    let (high, low) = (number / 250, number % 250);
    Announcement::new(Endpoint::new(format!("10.0.{high}.{low}"), 2375).unwrap())
}

struct Lab {
    clock: Arc<dyn Clock>,
    cluster: MemoryDiscovery,
    registrar: Registrar,
    shutdown: Shutdown,
    meter: Arc<longshore_core::decorate::Decorated<MemoryDiscovery, Meter>>,
}

impl Lab {
    fn new(options: RegistrarOptions) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let cluster = MemoryDiscovery::new(clock.clone());
        let meter = Meter::new(clock.clone()).wrap(Arc::new(cluster.clone()));
        let random = Arc::new(SeededRandom::new(5));
        let registrar = Registrar::new(meter.clone(), options, clock.clone(), random).unwrap();
        let (shutdown, keeper) = (Shutdown::new(), registrar.clone());
        let until = shutdown.clone();
        shutdown.spawn(async move { keeper.run(&until).await });
        Self {
            clock,
            cluster,
            registrar,
            shutdown,
            meter,
        }
    }

    async fn listed(&self) -> usize {
        self.cluster.list().await.unwrap().nodes.len()
    }

    async fn pass(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn d12_nodes_stay_registered_and_leave_at_a_clean_exit() {
    let lab = Lab::new(RegistrarOptions::default());
    for number in 1..=3 {
        lab.registrar.add(node(number)).unwrap();
    }
    for _ in 0..20 {
        lab.pass(100).await;
        assert_eq!(lab.listed().await, 3);
    }
    lab.registrar.remove(&node(2).endpoint);
    lab.pass(1).await;
    assert_eq!(lab.listed().await, 2);
    assert!(
        lab.shutdown
            .finish(&*lab.clock, Duration::from_secs(10))
            .await
    );
    assert_eq!(lab.listed().await, 0);
    assert_eq!(lab.registrar.state().registered, 0);
}

#[tokio::test(start_paused = true)]
async fn d5_a_backend_that_cannot_register_is_an_error_at_once() {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let fixed = Arc::new(StaticDiscovery::parse("a:1").unwrap());
    let random = Arc::new(SeededRandom::new(1));
    let error = Registrar::new(fixed, RegistrarOptions::default(), clock, random).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_spread_and_the_rate_is_bounded_whatever_the_node_count() {
    let options = RegistrarOptions::default().with_rate(250, 64);
    let lab = Lab::new(options);
    for number in 0..10_000 {
        lab.registrar.add(node(number)).unwrap();
    }
    lab.registrar
        .wait_for(|state| state.registered == 10_000)
        .await;
    let before = lab.meter.layer().count.load(Ordering::SeqCst);
    lab.pass(600).await;
    assert_eq!(lab.listed().await, 10_000);
    let requests = lab.meter.layer().count.load(Ordering::SeqCst) - before;
    // Ten heartbeats each, and a list.
    assert!((95_000..=105_000).contains(&requests), "{requests}");
    let closest = lab.meter.layer().closest.load(Ordering::SeqCst);
    assert!(closest >= 4000, "two requests within {closest} µs");
    // An outage lets all expire; they come back no faster.
    lab.cluster.set_reachable(false);
    lab.pass(400).await;
    lab.cluster.set_reachable(true);
    lab.registrar.wait_for(|state| state.failing == 0).await;
    assert_eq!(lab.listed().await, 10_000);
    let closest = lab.meter.layer().closest.load(Ordering::SeqCst);
    assert!(closest >= 4000, "two requests within {closest} µs");
}

#[tokio::test(start_paused = true)]
async fn more_nodes_than_the_rate_can_renew_are_refused() {
    let minute = Duration::from_secs(60);
    let options = RegistrarOptions::default()
        .with_heartbeat(minute, minute * 3)
        .with_rate(1, 1);
    let lab = Lab::new(options);
    for number in 0..48 {
        lab.registrar.add(node(number)).unwrap();
    }
    let error = lab.registrar.add(node(48)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted);
}

#[tokio::test(start_paused = true)]
async fn d12_failures_show_and_end_with_the_recovery() {
    let lab = Lab::new(RegistrarOptions::default());
    lab.registrar.add(node(1)).unwrap();
    lab.pass(1).await;
    let first = lab.registrar.state();
    assert_eq!((first.registered, first.failing), (1, 0));
    assert!(first.last_success.is_some() && first.last_error.is_none());
    lab.cluster.set_reachable(false);
    lab.pass(400).await;
    let state = lab.registrar.state_of(&node(1).endpoint).unwrap();
    assert!(!state.registered, "its lease ended meanwhile");
    let failing = lab.registrar.state();
    assert_eq!(failing.failing, 1);
    let (text, _) = failing.last_error.unwrap();
    assert!(text.contains("out of reach"), "{text}");
    lab.cluster.set_reachable(true);
    lab.pass(10).await;
    assert_eq!(lab.listed().await, 1);
    assert_eq!(lab.registrar.state().failing, 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_added_again_with_other_labels_is_announced_anew() {
    let lab = Lab::new(RegistrarOptions::default());
    lab.registrar.add(node(1)).unwrap();
    lab.pass(1).await;
    let labels = longshore_core::Labels::new().with("zone", "eu");
    let labelled = node(1).with_labels(labels);
    lab.registrar.add(labelled.clone()).unwrap();
    lab.pass(1).await;
    assert_eq!(lab.cluster.list().await.unwrap().nodes, [labelled]);
}

#[test]
fn a_ttl_within_the_heartbeat_is_refused_in_swarms_words() {
    let second = Duration::from_secs(1);
    let options = RegistrarOptions::default().with_heartbeat(second, second);
    let error = options.check().unwrap_err();
    assert!(
        error
            .message()
            .starts_with("--ttl must be strictly superior to the heartbeat value")
    );
}

#[tokio::test(start_paused = true)]
async fn d12_heartbeats_are_spread_by_a_tenth_both_ways() {
    let lab = Lab::new(RegistrarOptions::default());
    lab.registrar.add(node(1)).unwrap();
    lab.pass(60 * 200).await;
    let meter = lab.meter.layer();
    let seconds = |time: &AtomicU64| time.load(Ordering::SeqCst) as f64 / 1e6;
    let (least, most) = (seconds(&meter.closest), seconds(&meter.farthest));
    assert!((54.0..55.0).contains(&least), "{least}");
    assert!((65.0..66.1).contains(&most), "{most}");
}

/// The texts of what is logged at these levels.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().contains("registrar")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
                if field.name() == "message" {
                    self.0.lock().unwrap().push(format!("{value:?}"));
                }
            },
        );
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn d12_a_failed_heartbeat_is_logged_once_and_so_is_the_recovery() {
    let log = Log::default();
    let _logged = tracing::subscriber::set_default(log.clone());
    let lab = Lab::new(RegistrarOptions::default());
    for number in 1..=3 {
        lab.registrar.add(node(number)).unwrap();
    }
    lab.pass(1).await;
    for _ in 0..2 {
        lab.cluster.set_reachable(false);
        lab.pass(600).await;
        lab.cluster.set_reachable(true);
        lab.pass(600).await;
    }
    let texts = log.0.lock().unwrap().clone();
    let (failed, again) = ("a heartbeat failed", "all heartbeats succeed again");
    let expected = [failed, again, failed, again];
    assert_eq!(
        texts[1..],
        expected,
        "and what is said at the start: {}",
        texts[0]
    );
}
