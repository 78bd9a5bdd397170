//! `kill -9` at random points while a member of the replicated store writes: what was acknowledged is
//! there when it starts again, and nothing is half there.
#![cfg(feature = "raft")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "crash/writer.rs"]
mod writer;

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use longshore_core::{KvStore, Random, Revision, SeededRandom, SystemClock};
use longshore_discovery::{RaftKv, RaftMemoryNetwork, RaftOptions};

const ROUNDS: usize = 60;
const SEED: u64 = 11;

/// Set for the process that is killed: the directory to write to.
const CHILD: &str = "LONGSHORE_TEST_CRASHING_MEMBER";

/// The only member of its cluster, so every acknowledgement stands on this disk alone.
fn open(path: &Path) -> RaftKv {
    let options = RaftOptions::new("a", ["a"], Arc::new(SystemClock::new())).unwrap();
    let network = RaftMemoryNetwork::new().join("a");
    RaftKv::start(options.with_directory(path), network).unwrap()
}

/// Writes pairs of keys, and says each number when its answer came. The values are large enough that
/// snapshots are taken too.
async fn write_for_ever(path: &Path) {
    let store = open(path);
    let next = match store.get("next").await.unwrap() {
        Some(entry) => std::str::from_utf8(&entry.value).unwrap().parse().unwrap(),
        None => 0u64,
    };
    for number in next.. {
        let size = 3000 * (number % 12) as usize;
        let value = format!("{number}:{}", "x".repeat(size));
        let steps = vec![
            writer::put(format!("left/{}", number % 8), value.clone()),
            writer::put(format!("right/{}", number % 8), value),
            writer::put("next".to_owned(), (number + 1).to_string()),
        ];
        store.transact(steps).await.unwrap();
        writer::say_done(number);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_every_acknowledged_write_survives_sixty_kills_of_a_member() {
    if let Some(path) = std::env::var_os(CHILD) {
        return write_for_ever(Path::new(&path)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a");
    let random = SeededRandom::new(SEED);
    let (mut acknowledged, mut last_revision) = (0usize, Revision(0));
    let mut newest: HashMap<u64, u64> = HashMap::new();
    for round in 0..ROUNDS {
        let what = format!("seed {SEED}, round {round}");
        // Random in the number of answers, and then in time, so also within a write.
        let answers = random.next_u64() % 8;
        let pause = Duration::from_micros(random.next_u64() % 5000);
        let said = writer::kill(
            "l7_every_acknowledged_write_survives_sixty_kills_of_a_member",
            (CHILD, &path),
            (answers as usize, pause),
            &what,
        );
        newest.extend(said.iter().map(|number| (number % 8, *number)));
        acknowledged += said.len();

        let store = open(&path);
        let left = store.range("left/", "", 100).await.unwrap();
        let right = store.range("right/", "", 100).await.unwrap();
        let pairs = left.entries.iter().zip(&right.entries);
        assert!(
            left.entries.len() == right.entries.len()
                && pairs.clone().all(|(left, right)| left.value == right.value),
            "{what}: half a transaction"
        );
        writer::check_newest(&left.entries, &newest, &what);
        assert!(left.revision >= last_revision, "{what}: history was lost");
        last_revision = left.revision;
        store.close().await;
    }
    println!("{ROUNDS} kills, {acknowledged} acknowledged transactions, all there");
    assert!(acknowledged > ROUNDS, "hardly anything was written");
}
