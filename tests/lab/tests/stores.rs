//! The stores: they start, suffer, come back, and leave nothing.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test may be as blunt as the test"
)]

use std::path::Path;

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
