//! What stores refuse, and what is refused of what they hold: a clear error each, and the previous
//! good view stays.
use std::{net::SocketAddr, sync::Arc, time::Duration};

use longshore_core::{ErrorKind, KvStore, PutOptions};
use longshore_discovery::{
    ConsulKv, DiscoveryOptions, EtcdKv, KvDiscovery, KvDiscoveryOptions, StoreCredentials,
    ZooKeeperKv, open,
};
use longshore_lab::{Store, StoreKind, StoreSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::{
    follow::{Follow, node},
    servers::{clock, store_options},
};

const TTL: Duration = Duration::from_secs(60);

/// A request as an administrator makes it, with Consul's token where there is one; its answer's body.
async fn ask(address: SocketAddr, line: &str, token: &str, body: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!(
        "{line} HTTP/1.0\r\nHost: x\r\nX-Consul-Token: {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains(" 200 "), "{line}: {answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcd_wants_the_right_password() {
    let suite = "etcd with passwords";
    let Some(store) = Store::start_or_skip(StoreKind::Etcd, 1, &StoreSpec::default(), suite) else {
        return;
    };
    let address = store.addresses()[0];
    for (path, body) in [
        ("/v3/auth/user/add", r#"{"name":"root","password":"right"}"#),
        ("/v3/auth/role/add", r#"{"name":"root"}"#),
        ("/v3/auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("/v3/auth/enable", "{}"),
    ] {
        ask(address, &format!("POST {path}"), "", body).await;
    }
    let options = || DiscoveryOptions::new(clock());
    for (url, text) in [
        (
            format!("etcd://root:wrong@{address}"),
            "invalid user ID or password",
        ),
        (format!("etcd://{address}"), "user name is empty"),
    ] {
        let error = open(&url, &options()).unwrap().list().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(error.message().contains(text), "{error}");
        assert!(!format!("{error:?}").contains("wrong"), "a secret is shown");
    }
    let discovery = open(&format!("etcd://root:right@{address}"), &options()).unwrap();
    discovery.register(&node(1), TTL).await.unwrap();
    let follow = Follow::new(&discovery).await;
    assert_eq!(follow.numbers(), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn consul_wants_the_right_token() {
    let suite = "consul with tokens";
    let token = "0fb2ba4c-8d8c-4f5d-8ad7-cb3a1b2c3d4e";
    let configuration = format!(
        r#"{{"acl": {{"enabled": true, "default_policy": "deny", "tokens": {{"master": "{token}"}}}}}}"#
    );
    let spec = StoreSpec::default().with_configuration(configuration);
    let Some(store) = Store::start_or_skip(StoreKind::Consul, 1, &spec, suite) else {
        return;
    };
    let client = |token: &str| {
        let options =
            store_options(&store.addresses()).with_credentials(StoreCredentials::new("", token));
        ConsulKv::new(&options).unwrap()
    };
    let wrong = client("11111111-8d8c-4f5d-8ad7-cb3a1b2c3d4e");
    let error = wrong.get("a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
    assert!(
        !format!("{error:?}").contains("11111111-8d8c"),
        "a secret is shown"
    );
    // The first token is made a moment after the leader is elected.
    let clock = longshore_core::SystemClock::new();
    let right = client(token);
    for _ in 0..50 {
        if right.get("a").await.is_ok() {
            break;
        }
        longshore_core::ClockExt::sleep(&clock, Duration::from_millis(200)).await;
    }
    right
        .put("a", "x".into(), PutOptions::default())
        .await
        .unwrap();
    a_token_that_is_taken_back_takes_nobody_away(&store, token).await;
}

/// Who loses access while it watches is told so, and keeps its view.
async fn a_token_that_is_taken_back_takes_nobody_away(store: &Store, master: &str) {
    let address = store.addresses()[0];
    let policies = r#"{"Policies": [{"Name": "global-management"}]}"#;
    let made = ask(address, "PUT /v1/acl/token", master, policies).await;
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let made = |field: &str| made[field].as_str().unwrap().to_owned();
    let open = |token: &str| {
        let options = DiscoveryOptions::new(clock());
        open(&format!("consul://x:{token}@{address}"), &options).unwrap()
    };
    let (administrator, other) = (open(master), open(&made("SecretID")));
    for number in [1, 2, 3] {
        administrator.register(&node(number), TTL).await.unwrap();
    }
    let mut follow = Follow::new(&other).await;
    assert_eq!(follow.numbers(), [1, 2, 3]);
    let delete = format!("DELETE /v1/acl/token/{}", made("AccessorID"));
    ask(address, &delete, master, "").await;
    administrator.register(&node(4), TTL).await.unwrap();
    follow
        .until("a problem that names the token", |follow| {
            let named = |text: &String| text.contains("does not know the ACL token");
            follow.problems.iter().any(named)
        })
        .await;
    assert!([1, 2, 3].iter().all(|it| follow.numbers().contains(it)));
    let error = other.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zookeeper_wants_the_right_password() {
    let suite = "zookeeper with passwords";
    let Some(store) = Store::start_or_skip(StoreKind::ZooKeeper, 1, &StoreSpec::default(), suite)
    else {
        return;
    };
    let client = |password: &str| {
        let credentials = StoreCredentials::new("me", password);
        ZooKeeperKv::new(&store_options(&store.addresses()).with_credentials(credentials))
    };
    let (right, wrong) = (client("right"), client("wrong"));
    right
        .put("d/a", "x".into(), PutOptions::default())
        .await
        .unwrap();
    let error = wrong.get("d/a").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
    assert_eq!(right.get("d/a").await.unwrap().unwrap().value, "x");
}

/// Rule D9. Values of other programs, huge values, and a directory that is far too full.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d9_what_others_wrote_is_reported_and_the_good_view_stays() {
    let suite = "etcd with foreign values";
    let Some(store) = Store::start_or_skip(StoreKind::Etcd, 1, &StoreSpec::default(), suite) else {
        return;
    };
    // Small answers, so that a moderate list is a huge one.
    let options = store_options(&store.addresses()).with_largest_answer(1 << 20);
    let kv: Arc<dyn KvStore> = Arc::new(EtcdKv::new(&options));
    let layout = KvDiscoveryOptions::default().with_grace(Duration::from_secs(1));
    let discovery = KvDiscovery::new(kv.clone(), clock(), layout).unwrap();
    let discovery: Arc<dyn longshore_core::Discovery> = Arc::new(discovery);
    for number in [1, 2, 3] {
        discovery.register(&node(number), TTL).await.unwrap();
    }
    let mut follow = Follow::new(&discovery).await;
    let at = |name: &str| format!("docker/swarm/nodes/{name}");
    let own = at("10.0.0.1:1");
    for (key, value) in [
        (at("job"), "{\"job\":17}".to_owned()),
        (own.clone(), "\u{1}binary".to_owned()),
        (at("large"), "x".repeat(300_000)),
    ] {
        kv.put(&key, value.into(), PutOptions::default())
            .await
            .unwrap();
    }
    follow
        .until("three problems", |follow| follow.problems.len() == 3)
        .await;
    assert_eq!(
        follow.numbers(),
        [1, 2, 3],
        "a node whose value was spoilt stays"
    );
    assert!(
        follow.problems[0].contains("docker/swarm/nodes/job"),
        "{:?}",
        follow.problems
    );
    assert!(follow.problems[1].contains(&own), "{:?}", follow.problems);
    assert!(
        follow.problems[2].contains("more than 65536"),
        "{:?}",
        follow.problems
    );
    // One value that is larger than what is read at all.
    kv.put(
        &at("huge"),
        "x".repeat(1 << 20).into(),
        PutOptions::default(),
    )
    .await
    .unwrap();
    let error = discovery.list().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error:?}");
    follow
        .until("the problem with the huge value", |follow| {
            follow
                .problems
                .iter()
                .any(|text| text.contains("larger than 1048576 bytes"))
        })
        .await;
    assert_eq!(follow.numbers(), [1, 2, 3]);
    kv.delete(&at("huge"), longshore_core::Expect::Any)
        .await
        .unwrap();
    discovery.register(&node(4), TTL).await.unwrap();
    follow
        .until("a node that came later", |follow| {
            follow.numbers().contains(&4)
        })
        .await;
}
