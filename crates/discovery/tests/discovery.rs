//! Every discovery backend of this crate passes the conformance suite of core.
#![cfg(feature = "file")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "model/cut_off.rs"]
mod cut_off;

use std::{
    num::NonZeroU32,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cut_off::CutOff;
use longshore_core::{
    Announcement, Backoff, Clock, Discovery, SeededRandom, SystemClock,
    decorate::{Fault, Faulty, LayerExt, Retry, Timeout, Traced},
    testkit::{ManualClock, discovery::Harness},
};
use longshore_discovery::{
    FileDiscovery, FileOptions, FileWatch, MemoryDiscovery, StaticDiscovery,
};

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

#[derive(Default)]
struct Static(Mutex<Vec<Announcement>>);

#[async_trait]
impl Harness for Static {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::new(StaticDiscovery::new(self.0.lock().unwrap().clone()))
    }

    async fn place(&self, nodes: &[Announcement]) {
        *self.0.lock().unwrap() = nodes.to_vec();
    }
}

struct File {
    directory: tempfile::TempDir,
    options: FileOptions,
    settle: Duration,
}

impl File {
    /// Nothing but reading now and then.
    fn polled() -> Self {
        Self::new(
            FileOptions::default().with_watch(FileWatch::Poll),
            Duration::from_secs(180),
        )
    }

    /// The interval is so long that only notifications can explain what is seen.
    fn notified() -> Self {
        let options = FileOptions::default()
            .with_interval(Duration::from_secs(3600))
            .with_grace(Duration::from_millis(300));
        Self::new(options, Duration::from_millis(1000))
    }

    /// Polling on real time.
    fn polled_fast() -> Self {
        let options = FileOptions::default()
            .with_watch(FileWatch::Poll)
            .with_interval(Duration::from_millis(50))
            .with_grace(Duration::from_millis(200));
        Self::new(options, Duration::from_millis(700))
    }

    fn new(options: FileOptions, settle: Duration) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            options,
            settle,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("nodes")
    }
}

#[async_trait]
impl Harness for File {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::new(FileDiscovery::new(
            self.path(),
            clock(),
            self.options.clone(),
        ))
    }

    async fn place(&self, nodes: &[Announcement]) {
        let lines: String = nodes
            .iter()
            .map(|node| format!("{}\n", node.endpoint))
            .collect();
        let draft = self.directory.path().join("draft");
        std::fs::write(&draft, lines).unwrap();
        std::fs::rename(draft, self.path()).unwrap();
    }

    async fn spoil(&self) -> bool {
        let text = std::fs::read_to_string(self.path()).unwrap();
        // The bad line takes the place of a good one: still nobody is removed.
        let (_, rest) = text.split_once('\n').unwrap();
        std::fs::write(self.path(), format!("nonsense\n{rest}")).unwrap();
        true
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        let away = self.directory.path().join("away");
        match reachable {
            true => std::fs::rename(away, self.path()).unwrap(),
            false => std::fs::rename(self.path(), away).unwrap(),
        }
        true
    }

    fn settle(&self) -> Duration {
        self.settle
    }
}

struct Memory(MemoryDiscovery);

impl Memory {
    fn new() -> Self {
        Self(MemoryDiscovery::new(clock()))
    }
}

#[async_trait]
impl Harness for Memory {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::new(self.0.clone())
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        self.0.set_reachable(reachable);
        true
    }
}

/// Short leases, for real time.
struct MemoryLive(Memory);

#[async_trait]
impl Harness for MemoryLive {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        self.0.discovery().await
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        self.0.set_reachable(reachable).await
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(1500)
    }

    fn settle(&self) -> Duration {
        Duration::from_millis(200)
    }
}

/// On a clock that moves only when the test says so.
struct MemoryManual {
    clock: ManualClock,
    memory: MemoryDiscovery,
}

impl MemoryManual {
    fn new() -> Self {
        let clock = ManualClock::default();
        Self {
            memory: MemoryDiscovery::new(Arc::new(clock.clone())),
            clock,
        }
    }
}

#[async_trait]
impl Harness for MemoryManual {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        Arc::new(self.memory.clone())
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        self.memory.set_reachable(reachable);
        true
    }

    async fn pass(&self, by: Duration) {
        // Lets watches run before and after, as real time would.
        for by in [Duration::ZERO, by, Duration::ZERO] {
            self.clock.advance(by);
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        }
    }
}

/// Every third call fails, or is done and loses its answer; retries hide it.
struct Unsteady(Memory);

#[async_trait]
impl Harness for Unsteady {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        let fault = Fault::refusing(0.2).with_lost(0.2);
        let faulty = Faulty::new(clock(), 11, fault).wrap(self.0.discovery().await);
        let pause = Duration::from_millis(1);
        let patient = Retry::new(clock(), Arc::new(SeededRandom::new(3)))
            .with_attempts(NonZeroU32::new(40).unwrap())
            .with_backoff(Backoff::new(pause, pause))
            .wrap(faulty);
        Traced::new(clock()).wrap(Timeout::new(clock(), Duration::from_secs(5)).wrap(patient))
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        self.0.set_reachable(reachable).await
    }
}

mod static_list {
    use super::*;
    longshore_core::discovery_suite!(paused, Static::default());
}

mod file_polled_on_paused_time {
    use super::*;
    longshore_core::discovery_suite!(paused, File::polled());
}

mod file_polled_live {
    use super::*;
    longshore_core::discovery_suite!(live, File::polled_fast());
}

mod file_notified_live {
    use super::*;
    longshore_core::discovery_suite!(live, File::notified());
}

mod memory_on_paused_time {
    use super::*;
    longshore_core::discovery_suite!(paused, Memory::new());
}

mod memory_live {
    use super::*;
    longshore_core::discovery_suite!(live, MemoryLive(Memory::new()));
}

mod memory_on_a_manual_clock {
    use super::*;
    longshore_core::discovery_suite!(paused, MemoryManual::new());
}

mod memory_behind_faults_and_retries {
    use super::*;
    longshore_core::discovery_suite!(paused, Unsteady(Memory::new()));
}

/// Nodes in a key-value store: the one in memory, on paused time, behind a connection.
struct InMemoryKv {
    store: CutOff,
}

impl InMemoryKv {
    fn new() -> Self {
        Self {
            store: CutOff::new(longshore_discovery::MemoryKv::new(clock())),
        }
    }

    /// Its watches look at what is there, as Consul's and ZooKeeper's do.
    fn without_history() -> Self {
        let Self { store } = Self::new();
        Self {
            store: store.without_history(),
        }
    }
}

#[async_trait]
impl Harness for InMemoryKv {
    async fn discovery(&self) -> Arc<dyn Discovery> {
        let options = longshore_discovery::KvDiscoveryOptions::default()
            .with_grace(Duration::from_millis(500));
        let store = Arc::new(self.store.clone());
        Arc::new(longshore_discovery::KvDiscovery::new(store, clock(), options).unwrap())
    }

    async fn spoil(&self) -> bool {
        use longshore_core::{KvStore, PutOptions};
        let key = "docker/swarm/nodes/job";
        let value = bytes::Bytes::from_static(b"\xff");
        let put = self.store.put(key, value, PutOptions::default()).await;
        put.unwrap();
        true
    }

    async fn set_reachable(&self, reachable: bool) -> bool {
        self.store.set_reachable(reachable);
        true
    }
}

mod kv_in_memory {
    use super::*;
    longshore_core::discovery_suite!(paused, InMemoryKv::new());
}

mod kv_without_history {
    use super::*;
    longshore_core::discovery_suite!(paused, InMemoryKv::without_history());
}
