//! The stores: they start, suffer, come back, and leave nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may be as blunt as the test"
)]

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use longshore_lab::{Store, StoreKind, StoreSpec};

fn suffer(kind: StoreKind, members: usize) {
    let suite = format!("store {}", kind.as_str());
    let Some(mut store) = Store::start_or_skip(kind, members, &StoreSpec::default(), &suite) else {
        return;
    };
    assert_eq!(store.addresses().len(), members);
    let pid = store.member(0).pid().unwrap();
    store.member(0).freeze();
    store.member(0).thaw();
    store.await_ready().unwrap();
    store.member(0).kill();
    assert!(!store.member(0).is_running());
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    store.member(0).restart().unwrap();
    assert!(store.member(0).wipe().is_err(), "its data is in use");
    let pid = store.member(0).pid().unwrap();
    drop(store);
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn etcd_suffers_and_comes_back() {
    suffer(StoreKind::Etcd, 1);
}

#[test]
fn three_etcds_suffer_and_come_back() {
    suffer(StoreKind::Etcd, 3);
}

#[test]
fn consul_suffers_and_comes_back() {
    suffer(StoreKind::Consul, 1);
}

#[test]
fn zookeeper_suffers_and_comes_back() {
    suffer(StoreKind::ZooKeeper, 1);
}

/// Set for the process that is killed: it starts a store and waits.
const CHILD: &str = "LONGSHORE_TEST_STORE_OWNER";

#[test]
fn a_store_ends_with_a_process_that_is_killed() {
    let suite = "store of a killed process";
    let (kind, spec) = (StoreKind::Etcd, StoreSpec::default());
    if std::env::var_os(CHILD).is_some() {
        let mut store = Store::start(kind, 1, &spec).unwrap();
        println!("\nstore {}", store.member(0).pid().unwrap());
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    if let Err(reason) = kind.available() {
        longshore_lab::skip(suite, &reason);
        return;
    }
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_store_ends_with_a_process_that_is_killed",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("store ").map(str::to_owned))
        .unwrap();
    let process = format!("/proc/{pid}");
    assert!(Path::new(&process).exists());
    owner.kill().unwrap();
    owner.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Path::new(&process).exists() {
        assert!(Instant::now() < deadline, "etcd {pid} outlived its owner");
        std::thread::sleep(Duration::from_millis(20));
    }
}
