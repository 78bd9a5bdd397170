//! The replicated store over loopback, with mutual TLS and URLs, and its members as processes that are
//! killed.
#![cfg(feature = "raft")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(unreachable_pub, reason = "a program has no outside")]

#[path = "raft/authority.rs"]
mod authority;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt;
use longshore_core::{
    ClockExt, ErrorKind, KvEvent, KvStore, PutOptions, SystemClock, testkit::kv::Harness,
};
use longshore_discovery::{DiscoveryOptions, open_kv};
use longshore_lab::free_ports;

use authority::Authority;

const NAMES: [&str; 3] = ["a", "b", "c"];

/// Three members of which each has a certificate.
struct Managers {
    directory: tempfile::TempDir,
    authority: Authority,
    list: String,
    members: Vec<Option<Arc<dyn KvStore>>>,
    next: AtomicUsize,
}

impl Managers {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::new(directory.path());
        let ports = free_ports(3).unwrap();
        let list = NAMES.iter().zip(ports);
        let list: Vec<_> = list
            .map(|(name, port)| format!("{name}=127.0.0.1:{port}"))
            .collect();
        Self {
            directory,
            authority,
            list: list.join(","),
            members: vec![None; 3],
            next: AtomicUsize::new(0),
        }
    }

    fn start() -> Self {
        let mut managers = Self::new();
        for number in 0..3 {
            managers.start_member(number);
        }
        managers
    }

    fn start_member(&mut self, number: usize) {
        let files = self.authority.manager(NAMES[number]);
        let (store, prefix) = open_kv(&self.url(number), &with_files(&files)).unwrap();
        assert_eq!(prefix, "cluster");
        self.members[number] = Some(store);
    }

    fn url(&self, number: usize) -> String {
        let directory = self.directory.path().join(NAMES[number]);
        format!(
            "raft://{}/cluster?self={}&dir={}",
            self.list,
            NAMES[number],
            directory.display()
        )
    }

    fn member(&self, number: usize) -> &Arc<dyn KvStore> {
        self.members[number].as_ref().unwrap()
    }

    fn client(&self) -> Arc<dyn KvStore> {
        let options = with_files(&self.authority.client());
        open_kv(&format!("raft://{}/cluster", self.list), &options)
            .unwrap()
            .0
    }
}

fn with_files(files: &[PathBuf; 3]) -> DiscoveryOptions {
    let names = ["kv.cacertfile", "kv.certfile", "kv.keyfile"];
    let pairs = names.iter().zip(files);
    let pairs = pairs.map(|(name, file)| format!("{name}={}", file.display()));
    options().with_pairs(pairs).unwrap()
}

fn options() -> DiscoveryOptions {
    DiscoveryOptions::new(Arc::new(SystemClock::new()))
}

async fn put(store: &dyn KvStore, key: &str, value: &str) {
    for _ in 0..10 {
        let put = store.put(key, value.to_owned().into(), PutOptions::default());
        match put.await {
            Ok(_) => return,
            Err(error) => assert!(error.is_retryable(), "{error:?}"),
        }
    }
    panic!("{key} could not be written");
}

#[async_trait]
impl Harness for Managers {
    /// Members and clients in turn.
    async fn store(&self) -> Arc<dyn KvStore> {
        match self.next.fetch_add(1, Ordering::Relaxed) % 4 {
            3 => self.client(),
            number => self.member(number).clone(),
        }
    }

    fn lease(&self) -> Duration {
        Duration::from_millis(1500)
    }

    fn slack(&self) -> Duration {
        Duration::from_millis(500)
    }
}

/// Only through clients that are no members.
struct Clients(Managers);

#[async_trait]
impl Harness for Clients {
    async fn store(&self) -> Arc<dyn KvStore> {
        self.0.client()
    }

    fn lease(&self) -> Duration {
        self.0.lease()
    }

    fn slack(&self) -> Duration {
        self.0.slack()
    }
}

mod members_over_tls {
    use super::*;
    longshore_core::kv_suite!(live, Managers::start());
}

mod clients_over_tls {
    use super::*;
    longshore_core::kv_suite!(live, Clients(Managers::start()));
}

/// L7: over real sockets, with the leader gone, and with all restarted; a client goes on with another
/// member, and its watch misses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_members_end_and_come_back_over_tls() {
    let mut managers = Managers::start();
    let client = managers.client();
    put(client.as_ref(), "cluster/0", "x").await;
    let from = client.get("cluster/0").await.unwrap().unwrap().revision;
    let mut watch = client.watch("cluster/", Some(from));
    for number in 0..3 {
        // One at a time, so also the leader, and the client's own member.
        managers.members[number] = None;
        put(client.as_ref(), &format!("cluster/{}", number + 1), "x").await;
        SystemClock::new().sleep(Duration::from_millis(300)).await;
        managers.start_member(number);
        // It is back when it reads what it missed.
        let missed = format!("cluster/{}", number + 1);
        let mut found = managers.member(number).get(&missed).await;
        while found.is_err() {
            found = managers.member(number).get(&missed).await;
        }
        assert!(found.unwrap().is_some());
    }
    let mut seen = Vec::new();
    while seen.len() < 3 {
        if let Ok(event) = watch.next().await.unwrap() {
            let KvEvent::Put(entry) = event else {
                panic!("{event:?}");
            };
            seen.push(entry.key);
        }
    }
    assert_eq!(seen, ["cluster/1", "cluster/2", "cluster/3"]);
    managers.members = vec![None; 3];
    SystemClock::new().sleep(Duration::from_millis(300)).await;
    for number in 0..3 {
        managers.start_member(number);
    }
    let mut range = client.range("cluster/", "", 10).await;
    while range.is_err() {
        range = client.range("cluster/", "", 10).await;
    }
    assert_eq!(range.unwrap().entries.len(), 4);
}

/// Who is no manager is no member, and a node is not even a client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_only_managers_are_members_and_nodes_are_nobody() {
    let mut managers = Managers::new();
    managers.start_member(0);
    managers.start_member(1);
    // Two of three that were never together found no cluster.
    let error = managers.member(0).get("a").await.unwrap_err();
    assert!(error.message().contains("waiting for: c"), "{error}");
    // The third with a client's certificate.
    let client = with_files(&managers.authority.client());
    let (impostor, _) = open_kv(&managers.url(2), &client).unwrap();
    assert_eq!(
        impostor.get("a").await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    drop(impostor);
    SystemClock::new().sleep(Duration::from_millis(300)).await;
    managers.start_member(2);
    put(managers.member(2).as_ref(), "a", "x").await;
    let node = with_files(&managers.authority.node());
    let url = format!("raft://{}", managers.list);
    let (node, _) = open_kv(&url, &node).unwrap();
    assert!(node.get("a").await.is_err());
    // Another authority's manager.
    let elsewhere = tempfile::tempdir().unwrap();
    let stranger = with_files(&Authority::new(elsewhere.path()).manager("a"));
    let (stranger, _) = open_kv(&url, &stranger).unwrap();
    assert!(stranger.get("a").await.is_err());
    // And one without TLS.
    let (plain, _) = open_kv(&url, &options()).unwrap();
    assert!(plain.get("a").await.is_err());
    assert!(managers.client().get("a").await.unwrap().is_some());
}

/// Plain text beyond loopback has to be asked for by name.
#[tokio::test]
async fn l7_plain_text_leaves_the_machine_only_when_asked() {
    let directory = tempfile::tempdir().unwrap();
    let url = |host: &str| {
        format!(
            "raft://a={host}:7300?self=a&dir={}",
            directory.path().display()
        )
    };
    let error = open_kv(&url("192.0.2.1"), &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(
        error.message().contains("a=192.0.2.1:7300") || error.message().contains("192.0.2.1:7300:")
    );
    let client = open_kv("raft://a=192.0.2.1:7300", &options()).unwrap_err();
    assert!(client.message().contains("kv.cacertfile"), "{client}");
    let allowed = options().with_pairs(["raft.plaintext=anywhere"]).unwrap();
    assert!(open_kv("raft://a=192.0.2.1:7300", &allowed).is_ok());
    let error = open_kv(
        "raft://a=127.0.0.1:1",
        &options().with_pairs(["raft.x=1"]).unwrap(),
    );
    assert_eq!(error.unwrap_err().kind(), ErrorKind::InvalidInput);
}
