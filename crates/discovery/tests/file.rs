//! A watched file, beyond the suite: what is told about bad lines, bad files and mass departures.
#![cfg(feature = "file")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;
use longshore_core::{ClockExt, Discovery, MembershipEvent, MembershipStream, SystemClock};
use longshore_discovery::{FileDiscovery, FileOptions, FileWatch};

struct World {
    directory: tempfile::TempDir,
    discovery: FileDiscovery,
}

const MINUTE: Duration = Duration::from_secs(60);

impl World {
    fn new(text: &str) -> Self {
        Self::with(text, FileOptions::default().with_watch(FileWatch::Poll))
    }

    fn with(text: &str, options: FileOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nodes");
        fs::write(&path, text).unwrap();
        let clock = Arc::new(SystemClock::new());
        Self {
            directory,
            discovery: FileDiscovery::new(path, clock, options),
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("nodes")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }
}

/// The events of a watch within a time, as text.
async fn within(watch: &mut MembershipStream, time: Duration) -> Vec<String> {
    let clock = SystemClock::new();
    let mut told = Vec::new();
    let end = longshore_core::Clock::now(&clock).after(time);
    loop {
        let left = end.since(longshore_core::Clock::now(&clock));
        match clock.timeout(left, "an event", watch.next()).await {
            Ok(event) => told.push(text(event.unwrap())),
            Err(_) => return told,
        }
    }
}

fn text(event: MembershipEvent) -> String {
    match event {
        MembershipEvent::Reset(nodes) => {
            let endpoints: Vec<_> = nodes.iter().map(|node| node.endpoint.to_string()).collect();
            format!("reset {}", endpoints.join(" "))
        }
        MembershipEvent::Added(node) => format!("added {}", node.endpoint),
        MembershipEvent::Removed(endpoint) => format!("removed {endpoint}"),
        MembershipEvent::Problem(error) => format!("problem {error}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn d2_a_bad_line_is_told_once_and_suspends_removals_until_it_is_mended() {
    let world = World::new("a:1\nb:1\nc:1\nd:1\n");
    let mut watch = world.discovery.watch();
    assert_eq!(
        within(&mut watch, MINUTE / 2).await,
        ["reset a:1 b:1 c:1 d:1"]
    );
    world.write("a:1\nb:1\nc:1 # d is gone\ntypo\ne:1\n");
    let path = world.path().display().to_string();
    assert_eq!(
        within(&mut watch, 5 * MINUTE).await,
        [
            "added e:1".to_owned(),
            format!("problem {path}, line 4: address typo: missing port in address"),
        ]
    );
    let listed = world.discovery.list().await.unwrap();
    assert_eq!((listed.nodes.len(), listed.problems.len()), (5, 1));
    world.write("a:1\nb:1\nc:1\ne:1\n");
    assert_eq!(within(&mut watch, 2 * MINUTE).await, ["removed d:1"]);
    world.write("a:1\nb:1\nc:1\ntypo\ne:1\n");
    assert_eq!(
        within(&mut watch, 2 * MINUTE).await.len(),
        1,
        "a problem that returns is told"
    );
}

#[tokio::test(start_paused = true)]
async fn d4_a_reordered_file_is_no_change() {
    let world = World::new("a:1\nb:1\n");
    let mut watch = world.discovery.watch();
    assert_eq!(within(&mut watch, MINUTE / 2).await, ["reset a:1 b:1"]);
    world.write("# in another order\nb:1\nb:1\na:1\n");
    assert!(within(&mut watch, 5 * MINUTE).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn d6_an_emptied_file_removes_nobody_before_it_was_read_again() {
    let world = World::new("a:1\nb:1\n");
    let mut watch = world.discovery.watch();
    assert_eq!(
        within(&mut watch, Duration::from_secs(59)).await,
        ["reset a:1 b:1"]
    );
    world.write("");
    assert!(
        within(&mut watch, MINUTE).await.is_empty(),
        "removed on the first look"
    );
    assert_eq!(
        within(&mut watch, MINUTE).await,
        ["removed a:1", "removed b:1"]
    );
}

#[tokio::test(start_paused = true)]
async fn d6_a_file_that_cannot_be_read_keeps_the_last_good_set() {
    let world = World::new("a:1\nb:1\n");
    let mut watch = world.discovery.watch();
    assert_eq!(within(&mut watch, MINUTE / 2).await, ["reset a:1 b:1"]);
    fs::remove_file(world.path()).unwrap();
    let told = within(&mut watch, 10 * MINUTE).await;
    assert_eq!(told.len(), 1, "{told:?}: one outage, one report");
    assert!(told[0].starts_with("problem failed to read '"), "{told:?}");
    let mut late = world.discovery.watch();
    let told = within(&mut late, MINUTE / 2).await;
    assert_eq!(
        told[0], "reset a:1 b:1",
        "a new watch begins with the last good set"
    );
    world.write("a:1\nb:1\nc:1\n");
    assert_eq!(within(&mut watch, 2 * MINUTE).await, ["reset a:1 b:1 c:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_file_may_come_later() {
    let world = World::new("");
    fs::remove_file(world.path()).unwrap();
    let mut watch = world.discovery.watch();
    let told = within(&mut watch, 5 * MINUTE).await;
    assert!(
        told.len() == 1 && told[0].starts_with("problem "),
        "{told:?}"
    );
    world.write("a:1\n");
    assert_eq!(within(&mut watch, 2 * MINUTE).await, ["reset a:1"]);
}

async fn refused(world: &World, reason: &str) {
    let error = world.discovery.list().await.unwrap_err();
    let path = world.path().display().to_string();
    assert_eq!(
        error.to_string(),
        format!("failed to read '{path}': {reason}")
    );
    assert!(error.is_retryable(), "the file may be mended");
}

#[tokio::test(start_paused = true)]
async fn a_binary_file_is_refused() {
    let world = World::new("a:1\n\0\u{1}b:1\n");
    refused(&world, "it is a binary file, not a list of addresses").await;
    fs::write(world.path(), b"a:1\n\xff\xfe\n").unwrap();
    refused(&world, "it is not UTF-8 text").await;
}

#[tokio::test(start_paused = true)]
async fn a_large_file_is_refused() {
    let options = FileOptions::default().with_max_bytes(8);
    refused(
        &World::with("a:1\nb:1\nc:1\n", options),
        "it is larger than 8 bytes",
    )
    .await;
}

/// 100 MB of addresses: refused without being read to its end, and those who watch keep what they had.
#[tokio::test(start_paused = true)]
async fn a_file_of_100_megabytes_is_refused_and_the_last_good_set_stays() {
    let world = World::new("a:1\nb:1\n");
    let mut watch = world.discovery.watch();
    assert_eq!(within(&mut watch, MINUTE / 2).await, ["reset a:1 b:1"]);
    let line = b"node-1.example.org:2375\n";
    let mut content = line.repeat((100 << 20) / line.len());
    content.truncate(100 << 20);
    fs::write(world.path(), &content).unwrap();
    refused(&world, "it is larger than 4194304 bytes").await;
    let told = within(&mut watch, 5 * MINUTE).await;
    assert_eq!(told.len(), 1, "{told:?}: one outage, one report");
    assert!(told[0].contains("it is larger than"), "{told:?}");
    world.write("a:1\nb:1\nc:1\n");
    assert_eq!(within(&mut watch, 2 * MINUTE).await, ["reset a:1 b:1 c:1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_a_file_is_refused() {
    let world = World::new("");
    fs::remove_file(world.path()).unwrap();
    fs::create_dir(world.path()).unwrap();
    refused(&world, "it is not a regular file").await;
}

/// In real time: an edit is seen long before the interval is over, whether the file is replaced or
/// written in place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d13_an_edit_is_noticed_at_once() {
    let world = World::with(
        "a:1\nb:1\nc:1\n",
        FileOptions::default().with_interval(60 * MINUTE),
    );
    let mut watch = world.discovery.watch();
    assert_eq!(text(watch.next().await.unwrap()), "reset a:1 b:1 c:1");
    world.write("a:1\nb:1\nc:1\nd:1\n");
    let clock = SystemClock::new();
    let soon = Duration::from_secs(10);
    let event = clock
        .timeout(soon, "the first edit", watch.next())
        .await
        .unwrap();
    assert_eq!(text(event.unwrap()), "added d:1");
    let draft = world.directory.path().join("draft");
    fs::write(&draft, "a:1\nb:1\nc:1\n").unwrap();
    fs::rename(draft, world.path()).unwrap();
    let event = clock
        .timeout(soon, "the second edit", watch.next())
        .await
        .unwrap();
    assert_eq!(text(event.unwrap()), "removed d:1");
}

/// Who took the set for stale must learn that it is not, even if nothing changed meanwhile.
#[tokio::test(start_paused = true)]
async fn a_recovery_is_told() {
    let world = World::new("a:1\nb:1\n");
    let mut watch = world.discovery.watch();
    assert_eq!(within(&mut watch, MINUTE).await, ["reset a:1 b:1"]);
    fs::remove_file(world.path()).unwrap();
    let told = within(&mut watch, 5 * MINUTE).await;
    assert!(
        told.len() == 1 && told[0].starts_with("problem "),
        "{told:?}"
    );
    world.write("a:1\nb:1\n");
    assert_eq!(within(&mut watch, 3 * MINUTE).await, ["reset a:1 b:1"]);
}
