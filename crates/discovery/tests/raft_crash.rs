//! `kill -9` at random points while a member of the replicated store writes: what was acknowledged is
//! there when it starts again, and nothing is half there.
#![cfg(feature = "raft")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use longshore_core::{
    KvStore, PutOptions, Random, Revision, SeededRandom, SystemClock, TransactionOp,
};
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
        let put = |key: String, value: &str| TransactionOp::Put {
            key,
            value: value.to_owned().into(),
            options: PutOptions::default(),
        };
        let steps = vec![
            put(format!("left/{}", number % 8), &value),
            put(format!("right/{}", number % 8), &value),
            put("next".to_owned(), &(number + 1).to_string()),
        ];
        store.transact(steps).await.unwrap();
        let mut out = std::io::stdout().lock();
        // One write, so that a line is whole or not there.
        out.write_all(format!("done {number}\n").as_bytes())
            .unwrap();
        out.flush().unwrap();
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
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "l7_every_acknowledged_write_survives_sixty_kills_of_a_member",
                "--nocapture",
            ])
            .env(CHILD, &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        // Random in the number of answers, and then in time, so also within a write.
        let wanted = random.next_u64() % 8;
        let pause = Duration::from_micros(random.next_u64() % 5000);
        let (mut answers, mut killed) = (0, false);
        for line in lines.lines().map_while(Result::ok) {
            // The runner's own words may stand before it.
            let Some((_, number)) = line.rsplit_once("done ") else {
                continue;
            };
            let number: u64 = number.parse().unwrap();
            newest.insert(number % 8, number);
            answers += 1;
            if answers > wanted && !killed {
                std::thread::sleep(pause);
                child.kill().unwrap();
                killed = true;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(
            killed,
            "seed {SEED}, round {round}: the writer ended by itself"
        );
        acknowledged += answers as usize;

        let store = open(&path);
        let left = store.range("left/", "", 100).await.unwrap();
        let right = store.range("right/", "", 100).await.unwrap();
        let pairs = left.entries.iter().zip(&right.entries);
        assert!(
            left.entries.len() == right.entries.len()
                && pairs.clone().all(|(left, right)| left.value == right.value),
            "seed {SEED}, round {round}: half a transaction"
        );
        for (slot, number) in &newest {
            let key = format!("left/{slot}");
            let found = left.entries.iter().find(|entry| entry.key == key);
            let text = std::str::from_utf8(&found.unwrap().value).unwrap();
            let there: u64 = text.split_once(':').unwrap().0.parse().unwrap();
            assert!(
                there >= *number,
                "seed {SEED}, round {round}: {key} is {there}, not {number}"
            );
        }
        assert!(
            left.revision >= last_revision,
            "seed {SEED}, round {round}: history was lost"
        );
        last_revision = left.revision;
        store.close().await;
    }
    println!("{ROUNDS} kills, {acknowledged} acknowledged transactions, all there");
    assert!(acknowledged > ROUNDS, "hardly anything was written");
}
