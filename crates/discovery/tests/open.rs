//! What `open` refuses, word for word, and what it opens.
#![cfg(feature = "file")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{sync::Arc, time::Duration};

use longshore_core::{DiscoveryExt, ErrorKind, SystemClock, WatchMode};
use longshore_discovery::{DiscoveryOptions, open};

fn options() -> DiscoveryOptions {
    DiscoveryOptions::new(Arc::new(SystemClock::new()))
}

#[track_caller]
fn refuse(url: &str, kind: ErrorKind, text: &str) {
    let error = open(url, &options()).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (kind, text),
        "{url}"
    );
}

#[tokio::test]
async fn nodes_are_opened_with_and_without_their_scheme() {
    for url in ["nodes://10.0.0.[1:2]:2375", "10.0.0.[1:2]:2375"] {
        let discovery = open(url, &options()).unwrap();
        assert_eq!(discovery.first_set().await.unwrap().len(), 2, "{url}");
        assert_eq!(discovery.describe(), "nodes://10.0.0.1:2375,10.0.0.2:2375");
    }
}

#[tokio::test]
async fn a_file_is_opened_by_absolute_and_relative_path() {
    let discovery = open("file:///etc/cluster/nodes", &options()).unwrap();
    assert_eq!(discovery.describe(), "file:///etc/cluster/nodes");
    assert_eq!(discovery.capabilities().watch, WatchMode::Push);
    assert_eq!(
        open("file://nodes", &options()).unwrap().describe(),
        "file://nodes"
    );
}

#[tokio::test]
async fn an_unreadable_file_is_named_when_it_is_read() {
    let discovery = open("file:///nonexistent/nodes", &options()).unwrap();
    let error = discovery.list().await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (
            ErrorKind::NotFound,
            "failed to read '/nonexistent/nodes': No such file or directory (os error 2)"
        )
    );
}

#[test]
fn bad_urls_are_refused() {
    refuse(
        "zookeeper://a/b",
        ErrorKind::InvalidInput,
        "discovery service not supported (scheme: zookeeper)",
    );
    refuse(
        "://",
        ErrorKind::InvalidInput,
        "discovery service not supported (scheme: )",
    );
    refuse(
        "file://",
        ErrorKind::InvalidInput,
        "file:// names no file; expected for example file:///etc/nodes",
    );
    refuse(
        "host",
        ErrorKind::InvalidInput,
        "address host: missing port in address, please check you are using the correct discovery \
         (missing token:// ?)",
    );
}

#[test]
fn options_without_an_equals_sign_are_named() {
    for bad in ["kv.path", "=x", ""] {
        let error = options().with_pairs(["a=b", bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            format!("--discovery-opt must contain key=value strings (option: {bad})")
        );
    }
}

#[test]
fn unknown_options_are_named() {
    let options = options()
        .with_heartbeat(Duration::from_secs(5))
        .with_pairs(["x.y=1"])
        .unwrap();
    for (url, backend) in [("a:1", "nodes"), ("file:///x", "file")] {
        let error = open(url, &options).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("unknown --discovery-opt for {backend}:// (option: x.y)")
        );
    }
}

#[test]
fn a_store_that_is_left_out_names_its_feature() {
    for (scheme, feature, built) in [
        ("etcd", "etcd", cfg!(feature = "etcd")),
        ("consul", "consul", cfg!(feature = "consul")),
        ("zk", "zookeeper", cfg!(feature = "zookeeper")),
    ] {
        let url = format!("{scheme}://a:1/b");
        if built {
            let path = open(&url, &options()).unwrap().describe();
            assert_eq!(path, format!("{scheme}://a:1/b/docker/swarm/nodes"));
            continue;
        }
        refuse(
            &url,
            ErrorKind::Unsupported,
            &format!(
                "the discovery backend {scheme} was left out: build with the feature `{feature}`"
            ),
        );
    }
}

/// Rule D10.
#[cfg(feature = "etcd")]
#[test]
fn d10_some_tls_files_without_the_others_are_refused() {
    for (pairs, missing) in [
        (&["kv.cacertfile=/ca"][..], "kv.certfile, kv.keyfile"),
        (&["kv.certfile=/c", "kv.keyfile=/k"], "kv.cacertfile"),
    ] {
        let options = options().with_pairs(pairs).unwrap();
        let error = open("etcd://a:1", &options).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_eq!(
            error.to_string(),
            format!(
                "TLS to the store needs kv.cacertfile, kv.certfile and kv.keyfile together; \
                 missing: {missing}"
            )
        );
    }
}

/// Rule D1.
#[cfg(feature = "etcd")]
#[test]
fn d1_the_path_of_the_nodes_is_an_option() {
    let options = options().with_pairs(["kv.path=other/place"]).unwrap();
    let discovery = open("etcd://u:secret@a:1,b:2/pre", &options).unwrap();
    assert_eq!(discovery.describe(), "etcd://a:1,b:2/pre/other/place");
    refuse(
        "etcd://a/x",
        ErrorKind::InvalidInput,
        "address a: missing port in address; expected for example etcd://10.0.0.1:2379/prefix",
    );
}

/// Rule D1: in `manage`, a heartbeat is how often a backend is asked again.
#[cfg(feature = "dns")]
#[test]
fn d1_the_heartbeat_is_how_often_a_backend_is_asked_again() {
    let heartbeat = std::time::Duration::from_secs(7);
    let options = options().with_heartbeat(heartbeat);
    let discovery = open("dns://_docker._tcp.lab?server=127.0.0.1:9", &options).unwrap();
    let watch = longshore_core::WatchMode::Poll(heartbeat);
    assert_eq!(discovery.capabilities().watch, watch);
}

#[cfg(all(feature = "etcd", feature = "consul", feature = "zookeeper"))]
#[test]
fn a_store_is_opened_with_the_prefix_of_its_url() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let _inside = runtime.as_ref().unwrap().enter();
    for url in ["etcd://h:1/a/b", "consul://h:1/a/b/", "zk://h:1/a/b"] {
        let (_, prefix) = longshore_discovery::open_kv(url, &options()).unwrap();
        assert_eq!(prefix, "a/b");
    }
    let error = longshore_discovery::open_kv("file:///x", &options()).unwrap_err();
    assert_eq!(
        error.message(),
        "file:// has no key-value store behind it: etcd://, consul://, zk:// and raft:// do"
    );
}
