//! `kill -9` at random points during writes: what was acknowledged is there, and nothing is half
//! there.
#![cfg(feature = "redb")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "crash/writer.rs"]
mod writer;

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use longshore_core::{KvEvent, KvStore, PutOptions, Random, Revision, SeededRandom, SystemClock};
use longshore_discovery::{KvLimits, RedbKv};

const ROUNDS: usize = 200;
const SEED: u64 = 7;

/// Set for the process that is killed: the file to write to.
const CHILD: &str = "LONGSHORE_TEST_CRASHING_STORE";

fn open(path: &Path) -> RedbKv {
    let limits = KvLimits::default().with_history(500);
    RedbKv::open(path, Arc::new(SystemClock::new()), limits).unwrap()
}

/// Writes pairs of keys in transactions from two tasks, and says each number when its answer came.
async fn write_for_ever(path: &Path) {
    let store = open(path);
    let next = match store.get("next").await.unwrap() {
        Some(entry) => String::from_utf8(entry.value.to_vec())
            .unwrap()
            .parse()
            .unwrap(),
        None => 0u64,
    };
    let writer = |lane: u64| {
        let store = store.clone();
        async move {
            for number in (next + lane..).step_by(2) {
                let value = format!("{number}:{}", "x".repeat((number % 700) as usize));
                let mut steps = vec![
                    writer::put(format!("left/{}", number % 1000), value.clone()),
                    writer::put(format!("right/{}", number % 1000), value),
                ];
                if lane == 0 {
                    steps.push(writer::put("next".to_owned(), (number + 2).to_string()));
                }
                store.transact(steps).await.unwrap();
                writer::say_done(number);
            }
        }
    };
    futures::future::join(writer(0), writer(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_write_survives_two_hundred_kills() {
    if let Some(path) = std::env::var_os(CHILD) {
        return write_for_ever(Path::new(&path)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let random = SeededRandom::new(SEED);
    let (mut acknowledged, mut last_revision) = (0usize, Revision(0));
    let mut newest: HashMap<u64, u64> = HashMap::new();
    for round in 0..ROUNDS {
        let what = format!("seed {SEED}, round {round}");
        // Random in the number of answers, and then in time, so also within a write.
        let answers = random.next_u64() % 24;
        let pause = Duration::from_micros(random.next_u64() % 3000);
        let said = writer::kill(
            "every_acknowledged_write_survives_two_hundred_kills",
            (CHILD, &path),
            (answers as usize, pause),
            &what,
        );
        for number in &said {
            let slot = newest.entry(number % 1000).or_insert(*number);
            *slot = *number.max(slot);
        }
        acknowledged += said.len();

        let store = open(&path);
        let left = store.range("left/", "", 2000).await.unwrap();
        let right = store.range("right/", "", 2000).await.unwrap();
        let values = |range: &longshore_core::KvRange| -> Vec<_> {
            range
                .entries
                .iter()
                .map(|entry| entry.value.clone())
                .collect()
        };
        assert!(
            values(&left) == values(&right),
            "{what}: half a transaction"
        );
        writer::check_newest(&left.entries, &newest, &what);
        assert!(left.revision >= last_revision, "{what}: history was lost");
        last_revision = left.revision;
    }
    println!("{ROUNDS} kills, {acknowledged} acknowledged transactions, all there");
    assert!(acknowledged > ROUNDS, "hardly anything was written");
}

/// The history outlives the process: a watch goes on where it was, or is told that it can't.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_watch_goes_on_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path);
    let put = |store: RedbKv, key: &'static str| async move {
        store
            .put(key, "x".into(), PutOptions::default())
            .await
            .unwrap()
    };
    let from = put(store.clone(), "a").await;
    put(store.clone(), "b").await;
    drop(store);
    let store = open(&path);
    let mut watch = store.watch("", Some(from));
    let event = futures::StreamExt::next(&mut watch).await.unwrap().unwrap();
    assert!(matches!(event, KvEvent::Put(entry) if entry.key == "b"));
    for _ in 0..600 {
        put(store.clone(), "c").await;
    }
    let mut late = store.watch("", Some(from));
    let event = futures::StreamExt::next(&mut late).await.unwrap().unwrap();
    assert!(matches!(event, KvEvent::Resync(_)), "{event:?}");
}

/// Leases count anew after a restart, and then end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.redb");
    let store = open(&path);
    let lease = store.grant(Duration::from_millis(800)).await.unwrap();
    let options = PutOptions::default().with_lease(lease.id);
    store.put("a", "x".into(), options).await.unwrap();
    drop(store);
    let store = open(&path);
    assert_eq!(store.get("a").await.unwrap().unwrap().lease, Some(lease.id));
    store.keep_alive(lease.id).await.unwrap();
    let clock = SystemClock::new();
    longshore_core::ClockExt::sleep(&clock, Duration::from_millis(900)).await;
    assert_eq!(store.get("a").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("text");
    std::fs::write(&path, "10.0.0.1:2375\n".repeat(1000)).unwrap();
    let error = RedbKv::open(&path, Arc::new(SystemClock::new()), KvLimits::default()).unwrap_err();
    assert_eq!(
        error.kind(),
        longshore_core::ErrorKind::InvalidInput,
        "{error:?}"
    );
    let store = open(&directory.path().join("store"));
    let again = RedbKv::open(
        directory.path().join("store"),
        Arc::new(SystemClock::new()),
        KvLimits::default(),
    );
    assert_eq!(
        again.unwrap_err().kind(),
        longshore_core::ErrorKind::AlreadyExists
    );
    drop(store);
}
