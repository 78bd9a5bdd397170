//! Stores that speak TLS and want our certificate: who is refused learns why, and the view that was
//! good stays.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use longshore_core::{Discovery, Error, ErrorKind};
use longshore_discovery::{DiscoveryOptions, open};
use longshore_lab::{Store, StoreKind, StoreSpec};

use crate::{
    certificates::{ENDED, Pki, VALID},
    follow::Follow,
    register_soon,
    servers::clock,
};

/// What an operator writes: the authority, and a certificate with its key.
fn discovery(
    store: &Store,
    authority: &Path,
    (certificate, key): &(std::path::PathBuf, std::path::PathBuf),
) -> Arc<dyn Discovery> {
    let scheme = match store.kind() {
        StoreKind::ZooKeeper => "zk",
        other => other.as_str(),
    };
    let options = DiscoveryOptions::new(clock())
        .with_heartbeat(Duration::from_secs(1))
        .with_pairs([
            format!("kv.cacertfile={}", authority.display()),
            format!("kv.certfile={}", certificate.display()),
            format!("kv.keyfile={}", key.display()),
        ]);
    open(
        &format!("{scheme}://{}", store.authority()),
        &options.unwrap(),
    )
    .unwrap()
}

#[track_caller]
fn named(error: &Error, text: &str) {
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(error.chain().contains(text), "{}", error.chain());
}

async fn over_tls(kind: StoreKind, configuration: &str) {
    let suite = format!("{} over TLS", kind.as_str());
    let (pki, other) = (Pki::new(), Pki::new());
    let spec = StoreSpec::default()
        .with_tls(pki.server())
        .with_configuration(configuration);
    let Some(mut store) = Store::start_or_skip(kind, 1, &spec, &suite) else {
        return;
    };
    let good = discovery(&store, &pki.authority(), &pki.issue("client", VALID));
    for number in [1, 2, 3] {
        register_soon(&good, number).await;
    }
    let mut follow = Follow::new(&good).await;
    assert_eq!(follow.numbers(), [1, 2, 3]);

    // Neither side takes a certificate of somebody else's authority, or one that has ended.
    let wrong = discovery(&store, &other.authority(), &pki.issue("client", VALID));
    let ours = "was not issued by the authority in kv.cacertfile";
    named(&wrong.list().await.unwrap_err(), ours);
    let refused = "it refused our certificate";
    let stranger = discovery(&store, &pki.authority(), &other.issue("client", VALID));
    named(&stranger.list().await.unwrap_err(), refused);
    let late = discovery(&store, &pki.authority(), &pki.issue("late", ENDED));
    named(&late.list().await.unwrap_err(), refused);

    // The server comes back with a certificate that has ended: nobody is removed.
    pki.issue("server", ENDED);
    store.member(0).restart().unwrap();
    follow
        .until("a problem that names the certificate", |follow| {
            let named = |text: &String| text.contains("its certificate has expired: renew it");
            follow.problems.iter().any(named)
        })
        .await;
    follow.during(Duration::from_secs(3)).await;
    assert_eq!(follow.numbers(), [1, 2, 3]);
    named(&good.list().await.unwrap_err(), "has expired: renew it");

    // Renewed, the view goes on by itself.
    pki.server();
    store.member(0).restart().unwrap();
    register_soon(&good, 4).await;
    follow
        .until("the fourth node", |follow| follow.numbers().contains(&4))
        .await;
    assert_eq!(follow.numbers(), [1, 2, 3, 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_over_tls() {
    over_tls(StoreKind::Etcd, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consul_over_tls() {
    over_tls(StoreKind::Consul, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zookeeper_over_tls() {
    over_tls(StoreKind::ZooKeeper, "").await;
}

/// There, a certificate is judged after the client's part of the handshake.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zookeeper_over_tls_1_3() {
    let only = "ssl.enabledProtocols=TLSv1.3\nssl.ciphersuites=TLS_AES_128_GCM_SHA256";
    over_tls(
        StoreKind::ZooKeeper,
        &format!("ssl.protocol=TLSv1.3\n{only}"),
    )
    .await;
}
