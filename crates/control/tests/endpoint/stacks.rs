//! longshore's own routes for stacks.

use std::sync::Arc;

use http::Method;
use longshore_core::Action;
use serde_json::{Value, json};

use crate::{
    access::Except,
    cluster::{Cluster, Setup},
};

const SHOP: &str = "/longshore/v1/stacks/shop";

fn shop(replicas: u32) -> Value {
    let template = json!({"image": "busybox", "env": ["A=b"], "labels": {"any": "label"}});
    let web = json!({"name": "web", "template": template, "replicas": replicas});
    json!({"name": "shop", "services": [web]})
}

#[tokio::test]
async fn a_stack_is_deployed_listed_and_removed() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    client.call(Method::PUT, SHOP, Some(shop(2))).await.ok(204);
    let stacks = client.get("/longshore/v1/stacks").await.ok(200).json();
    assert_eq!(stacks[0]["name"], "shop");
    assert_eq!(stacks[0]["services"][0]["replicas"], 2);
    client.call(Method::PUT, SHOP, Some(shop(1))).await.ok(204);
    let stacks = client.get("/longshore/v1/stacks").await.ok(200).json();
    assert_eq!(stacks[0]["services"][0]["replicas"], 1);
    client.delete(SHOP).await.ok(204);
    client
        .delete("/longshore/v1/stacks/none")
        .await
        .fails(404, "No such stack: none", "not-found");
    let records = cluster.audit.records();
    let targets: Vec<_> = records.iter().map(|it| &it.event.target.kind).collect();
    assert!(targets.iter().filter(|kind| **kind == "stack").count() >= 8);
}

#[tokio::test]
async fn what_is_no_stack_is_refused_and_named() {
    let cluster = Cluster::new().await;
    let client = cluster.client();
    let with = |change: fn(&mut Value)| {
        let mut stack = shop(1);
        change(&mut stack);
        stack
    };
    for (stack, words) in [
        (json!({}), "missing field `name`"),
        (
            with(|stack| stack["name"] = json!("other")),
            "it is called other, and the path says shop",
        ),
        (
            with(|stack| stack["services"][0]["template"]["imgae"] = json!("nginx")),
            "unknown field services[0].template.imgae",
        ),
        (
            with(|stack| stack["services"][0]["template"]["image"] = json!("")),
            "service web has no image",
        ),
        (
            with(|stack| stack["services"][0]["depends_on"] = json!(["db"])),
            "db",
        ),
    ] {
        let refused = client.call(Method::PUT, SHOP, Some(stack)).await.ok(400);
        assert!(refused.text.contains(words), "{words}: {}", refused.text);
    }
    let stacks = client.get("/longshore/v1/stacks").await.ok(200).json();
    assert_eq!(stacks, json!([]));
}

#[tokio::test]
async fn s25_leave_to_use_registry_credentials_is_asked_for_by_their_name() {
    let cluster = Cluster::with(Setup {
        authorizer: Arc::new(Except(Action::Write, "registry-credentials", &["prod"])),
        ..Setup::default()
    })
    .await;
    let client = cluster.client();
    let with = |credentials: [&str; 2]| {
        let mut stack = shop(0);
        let mut other = stack["services"][0].clone();
        other["name"] = json!("other");
        stack["services"].as_array_mut().unwrap().push(other);
        for (at, name) in credentials.iter().enumerate() {
            stack["services"][at]["registry_credentials"] = json!(name);
        }
        Some(stack)
    };
    // Whoever else's are named beside them.
    for credentials in [["prod", "prod"], ["dev", "prod"], ["prod", "dev"]] {
        client
            .call(Method::PUT, SHOP, with(credentials))
            .await
            .fails(403, "not for you", "permission-denied");
        assert!(cluster.plane.stacks().is_empty());
    }
    client
        .call(Method::PUT, SHOP, with(["dev", "dev"]))
        .await
        .ok(204);
    // Nor by changing what is there.
    client
        .call(Method::PUT, SHOP, with(["dev", "prod"]))
        .await
        .ok(403);
    let stacks = client.get("/longshore/v1/stacks").await.ok(200).text;
    assert!(!stacks.contains("prod"), "{stacks}");
}
